"""What the kernel can do beyond the portable interface, on real sockets; elsewhere it is silently nothing."""

from __future__ import annotations

import socket
import sys
from collections.abc import Iterator
from contextlib import closing, suppress

import pytest

from wsfactory.sockets import kernel_unsent, set_tcp_options

linux_only = pytest.mark.skipif(sys.platform != "linux", reason="what Linux tells")

Pair = tuple[socket.socket, socket.socket]


@pytest.fixture
def tcp() -> Iterator[Pair]:
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        left = socket.create_connection(server.getsockname())
        right, _ = server.accept()
    yield left, right
    left.close()
    right.close()


def no_delay(handle: socket.socket) -> bool:
    return handle.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) != 0


def low_water(handle: socket.socket) -> int:
    return handle.getsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT)


@pytest.mark.parametrize("wanted", [True, False])
def test_tcp_no_delay_is_set_as_asked(tcp: Pair, wanted: bool) -> None:
    tcp[0].setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, not wanted)
    set_tcp_options(tcp[0], wanted, 0)

    assert no_delay(tcp[0]) is wanted


@linux_only
def test_the_kernel_is_told_how_much_unsent_it_may_hold(tcp: Pair) -> None:
    set_tcp_options(tcp[0], True, 65536)

    assert low_water(tcp[0]) == 65536


@linux_only
def test_without_a_limit_the_kernel_keeps_its_own(tcp: Pair) -> None:
    before = low_water(tcp[0])
    set_tcp_options(tcp[0], True, 0)

    assert low_water(tcp[0]) == before


@linux_only
def test_a_limit_beyond_the_kernels_integers_is_its_largest(tcp: Pair) -> None:
    set_tcp_options(tcp[0], True, 2**40)

    assert low_water(tcp[0]) == 2**31 - 1


def test_ipv6_is_tcp_too() -> None:
    with socket.socket(socket.AF_INET6) as handle:
        set_tcp_options(handle, True, 0)

        assert no_delay(handle)


def test_nothing_is_set_where_there_is_no_tcp() -> None:
    left, right = socket.socketpair()
    set_tcp_options(left, True, 65536)
    set_tcp_options(None, True, 65536)
    left.close()
    right.close()

    assert left.family != socket.AF_INET


def test_a_socket_that_is_gone_is_left_alone(tcp: Pair) -> None:
    tcp[0].close()
    set_tcp_options(tcp[0], True, 65536)

    assert kernel_unsent(tcp[0]) == 0


@linux_only
def test_what_the_peer_has_not_taken_is_unsent() -> None:
    left, right = socket.socketpair()
    with left, right:
        left.setblocking(False)
        amounts = [kernel_unsent(left)]
        left.send(bytes(5000))
        amounts.append(kernel_unsent(left))
        right.recv(5000)
        amounts.append(kernel_unsent(left))

    assert amounts[0] == amounts[2] == 0
    assert amounts[1] >= 5000


@linux_only
def test_what_a_stalled_tcp_peer_has_not_acknowledged_is_unsent(tcp: Pair) -> None:
    """More than its window and our buffer hold: what is left over stays with us until it reads."""
    left, right = tcp
    left.setblocking(False)
    sent = 0
    with suppress(BlockingIOError):
        while True:
            sent += left.send(bytes(65536))
    stalled = kernel_unsent(left)
    taken = 0
    while taken < sent:
        taken += len(right.recv(1 << 20))

    assert 0 < stalled <= sent


def test_of_no_socket_nothing_is_unsent() -> None:
    assert kernel_unsent(None) == 0
