"""Racing for a connected socket: the order of the addresses, the first that answers, nothing left of the others."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import pytest

from tests.loops import Playing, on_loops
from wsfactory.asyncio import addresses
from wsfactory.asyncio.addresses import connected_socket, interleaved

V4, V6 = socket.AF_INET, socket.AF_INET6


def address(family: int, port: int, host: str = "127.0.0.1") -> Any:
    return family, socket.SOCK_STREAM, 0, "", (host, port)


def test_families_take_turns() -> None:
    found = [address(V6, 1), address(V6, 2), address(V6, 3), address(V4, 4)]

    assert [one[4][1] for one in interleaved(found)] == [1, 4, 2, 3]


@on_loops
async def test_an_address_that_refuses_makes_way_for_the_next_at_once() -> None:
    with socket.socket() as unheard:
        unheard.bind(("127.0.0.1", 0))
        async with Playing() as server:
            handle = await addresses._race([address(V4, unheard.getsockname()[1]), address(V4, server.port)])
            reached = handle.getpeername()[1]
            handle.close()

    assert reached == server.port


@on_loops
async def test_an_address_that_says_nothing_is_overtaken_and_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(addresses, "ATTEMPT_DELAY_SECONDS", 0.01)
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full:
        # Once its queue is full, Linux answers no more.
        fillers = [socket.socket() for _ in range(4)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(full.getsockname())
        async with Playing() as server:
            handle = await addresses._race([address(V4, full.getsockname()[1]), address(V4, server.port)])
            reached = handle.getpeername()[1]
            handle.close()
        for filler in fillers:
            filler.close()

    assert reached == server.port


@on_loops
async def test_when_all_fail_all_reasons_are_told() -> None:
    with socket.socket() as one, socket.socket() as other:
        ports = []
        for unheard in (one, other):
            unheard.bind(("127.0.0.1", 0))
            ports.append(unheard.getsockname()[1])
        with pytest.raises(OSError, match=f"port {ports[0]}; .*port {ports[1]}"):
            await addresses._race([address(V4, port) for port in ports])


@pytest.mark.parametrize("turns", range(8))
@on_loops
async def test_cancelling_leaves_no_socket(turns: int) -> None:
    """At whatever stage: the socket that had been connected is closed, too."""
    async with Playing() as server:
        attempt = asyncio.create_task(connected_socket("127.0.0.1", server.port))
        for _ in range(turns):
            await asyncio.sleep(0)
        attempt.cancel()
        outcome = (await asyncio.gather(attempt, return_exceptions=True))[0]
        if isinstance(outcome, socket.socket):
            outcome.close()
