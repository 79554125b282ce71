"""The end of a connection on real sockets, where the peer does not do its part."""

from __future__ import annotations

import struct
import time
from collections.abc import Callable, Coroutine
from functools import partial
from queue import Queue
from typing import Any

import pytest
from ours import End, Listening, Ours
from rawsocket import BINARY, CLOSE, CUT_OFF, FIN, TEXT, RawPeer, RawServer, close_frame, frame, frames, in_thread
from scenarios import pattern
from waiting import on_reactor

from wsfactory import CloseCause

pytestmark = pytest.mark.interop

MIB = 2**20
SOON = 0.2
# Long enough that a busy machine is no standstill.
PATIENCE = 0.5
SMALL_BUFFER = 16 * 1024


Listen = Callable[..., Coroutine[Any, Any, Listening]]


@pytest.fixture(params=["tcp", "tls"])
def listen(request: pytest.FixtureRequest, ours: Ours) -> Listen:
    """Return what makes a server of ours, in the clear and with TLS."""
    if request.param == "tcp":
        return ours.listen
    return partial(ours.listen, certificate=request.getfixturevalue("authority").issue("127.0.0.1"))


def codes(received: bytes) -> list[int]:
    """Return the codes of Close frames; *received* must hold nothing else."""
    found = frames(received)
    assert [first_byte for first_byte, _ in found] == [FIN | CLOSE] * len(found)
    return [struct.unpack("!H", payload[:2])[0] for _, payload in found]


def flood(peer: RawPeer, too_big: bytes, masked: bool) -> bytes:
    """Send what is too big, go on sending without a look at the answer, then read it."""
    peer.send(frame(FIN | BINARY, too_big, masked=masked))
    for _ in range(8):
        peer.send(frame(FIN | BINARY, bytes(MIB), masked=masked))
    return peer.read_to_the_end()


@on_reactor
async def test_a_client_that_keeps_sending_can_read_our_1009(listen: Listen) -> None:
    """Our server's end of the connection does not reset it: what follows the fault is read and discarded."""
    listening = await listen(maxMessagePayloadSize=1000)

    def conversation() -> bytes:
        with RawPeer.open(listening.url) as peer:
            return flood(peer, bytes(1001), masked=True)

    assert codes(await in_thread(conversation)) == [1009]
    session = await listening.opens.get()
    await session.ends.get()
    assert session.closeInfo.cause is CloseCause.PROTOCOL_ERROR


@on_reactor
async def test_a_server_that_keeps_sending_can_read_our_1009(ours: Ours) -> None:
    """Our client's end of the connection does not reset it either."""
    with RawServer() as server:

        def conversation() -> bytes:
            with server.open() as peer:
                return flood(peer, bytes(1001), masked=False)

        conversing = in_thread(conversation)
        session = await ours.connect(server.url, maxMessagePayloadSize=1000)

        assert codes(await conversing) == [1009]
        await session.ends.get()
        assert session.closeInfo.localCode == 1009


@on_reactor
async def test_our_client_does_not_hang_where_the_server_keeps_tcp_after_its_close(ours: Ours) -> None:
    """A server that closes but never ends TCP costs closeHandshakeTimeout; the end is clean all the same."""
    with RawServer() as server:

        def conversation() -> bytes:
            with server.open() as peer:
                peer.send(close_frame(3000, masked=False))
                return peer.read_until_gone()

        conversing = in_thread(conversation)
        session = await ours.connect(server.url, closeHandshakeTimeout=SOON)

        assert await session.ends.get() == End(True, 3000, "")
        assert codes(await conversing) == [3000]


@on_reactor
async def test_our_client_does_not_hang_where_the_server_keeps_tcp_after_our_close(ours: Ours) -> None:
    """The same where we began the closing handshake."""
    with RawServer() as server:

        def conversation() -> bytes:
            with server.open() as peer:
                peer.read_frame()
                peer.send(close_frame(1000, masked=False))
                return peer.read_until_gone()

        conversing = in_thread(conversation)
        session = await ours.connect(server.url, closeHandshakeTimeout=SOON)
        session.sendClose(1000)

        assert await session.ends.get() == End(True, 1000, "")
        assert await conversing == b""


@on_reactor
async def test_our_server_does_not_hang_where_the_client_keeps_tcp(listen: Listen) -> None:
    """Our server ends TCP after the closing handshake, and drops a client that does not."""
    listening = await listen(closeHandshakeTimeout=SOON)

    def conversation() -> bytes:
        with RawPeer.open(listening.url) as peer:
            peer.send(close_frame(1000))
            return peer.read_until_gone()

    conversing = in_thread(conversation)
    session = await listening.opens.get()

    assert await session.ends.get() == End(True, 1000, "")
    assert codes(await conversing) == [1000]
    assert not listening.factory.connections


@on_reactor
async def test_a_client_that_does_not_answer_our_close_is_dropped(listen: Listen) -> None:
    """Without an answer to our Close the end is unclean, and its cause the timeout."""
    listening = await listen(closeHandshakeTimeout=SOON)

    def conversation() -> bytes:
        with RawPeer.open(listening.url) as peer:
            return peer.read_until_gone()

    conversing = in_thread(conversation)
    session = await listening.opens.get()
    session.sendClose(1001)

    assert (await session.ends.get())[:2] == (False, 1006)
    assert session.closeInfo.cause is CloseCause.CLOSE_TIMEOUT
    assert codes(await conversing) == [1001]


@on_reactor
async def test_a_stalled_peers_socket_is_gone_with_its_connection(listen: Listen) -> None:
    """A peer that takes nothing is dropped after closeHandshakeTimeout, its socket and our backlog with it."""
    listening = await listen(closeHandshakeTimeout=SOON)
    peer = await in_thread(RawPeer.open, listening.url, SMALL_BUFFER)
    session = await listening.opens.get()
    session.sendMessage(bytes(16 * MIB), isBinary=True)
    session.sendClose()

    assert (await session.ends.get())[:2] == (False, 1006)
    assert session.closeInfo.cause is CloseCause.CLOSE_TIMEOUT
    assert session.bufferedAmount == 0
    assert not listening.factory.connections
    with peer, pytest.raises(CUT_OFF):
        await in_thread(peer.read_to_the_end)


BACKLOG = pattern(3_000_000)


def read_slowly(peer: RawPeer, masked: bool) -> list[tuple[int, bytes]]:
    """Take the backlog and the Close in small bites for several times PATIENCE, then answer; return the frames."""
    expected = len(frame(FIN | BINARY, BACKLOG, masked=masked) + close_frame(1000, masked=masked))
    deadline = time.monotonic() + 3 * PATIENCE
    received = bytearray()
    while len(received) < expected:
        received += peer.read_some(SMALL_BUFFER)
        # The pace is what is tested here: it takes longer than any timeout, without ever standing still.
        time.sleep(0.01 if time.monotonic() < deadline else 0)
    peer.send(close_frame(1000, masked=not masked))
    return frames(bytes(received))


@on_reactor
async def test_a_backlog_to_a_slow_client_arrives_whole_before_the_close(listen: Listen) -> None:
    """closeHandshakeTimeout is time without progress: a reader that takes several times as long gets everything."""
    listening = await listen(closeHandshakeTimeout=PATIENCE)

    def conversation() -> list[tuple[int, bytes]]:
        with RawPeer.open(listening.url, SMALL_BUFFER) as peer:
            return read_slowly(peer, masked=False)

    conversing = in_thread(conversation)
    session = await listening.opens.get()
    session.sendMessage(BACKLOG, isBinary=True)
    session.sendClose()

    assert await conversing == [(FIN | BINARY, BACKLOG), (FIN | CLOSE, struct.pack("!H", 1000))]
    assert await session.ends.get() == End(True, 1000, "")


@on_reactor
async def test_a_backlog_to_a_slow_server_arrives_whole_before_the_close(ours: Ours) -> None:
    """The same where we are the client."""
    with RawServer(SMALL_BUFFER) as server:

        def conversation() -> list[tuple[int, bytes]]:
            with server.open() as peer:
                return read_slowly(peer, masked=True)

        conversing = in_thread(conversation)
        session = await ours.connect(server.url, closeHandshakeTimeout=PATIENCE)
        session.sendMessage(BACKLOG, isBinary=True)
        session.sendClose()

        assert await conversing == [(FIN | BINARY, BACKLOG), (FIN | CLOSE, struct.pack("!H", 1000))]
        assert await session.ends.get() == End(True, 1000, "")


@on_reactor
async def test_messages_close_and_fin_in_one_packet(ours: Ours) -> None:
    """What came with the end is delivered, and the end is clean."""
    listening = await ours.listen()

    def conversation() -> bytes:
        with RawPeer.open(listening.url) as peer:
            peer.send(frame(FIN | TEXT, b"one") + frame(FIN | TEXT, b"two") + close_frame(1000))
            peer.shut_down_sending()
            return peer.read_to_the_end()

    assert codes(await in_thread(conversation)) == [1000]
    session = await listening.opens.get()
    assert await session.ends.get() == End(True, 1000, "")
    assert session.messages.pending == [(b"one", False), (b"two", False)]


def fin(peer: RawPeer) -> None:
    """Leave with FIN."""
    peer.shut_down_sending()
    peer.read_to_the_end()


@pytest.mark.parametrize("leave", [fin, RawPeer.reset])
@on_reactor
async def test_a_client_that_vanishes_is_a_1006(ours: Ours, leave: Callable[[RawPeer], None]) -> None:
    """The end of TCP without a Close frame, by FIN or by RST, ends the connection at once; what came is delivered."""
    listening = await ours.listen()
    received: Queue[None] = Queue()

    def conversation() -> None:
        with RawPeer.open(listening.url) as peer:
            peer.send(frame(FIN | TEXT, b"the last") + frame(TEXT, b"half a mess"))
            received.get()
            leave(peer)

    conversing = in_thread(conversation)
    session = await listening.opens.get()
    assert await session.messages.get() == (b"the last", False)
    received.put(None)

    assert (await session.ends.get())[:2] == (False, 1006)
    assert session.closeInfo.cause is CloseCause.CONNECTION_LOST
    await conversing


@pytest.mark.parametrize("leave", [fin, RawPeer.reset])
@on_reactor
async def test_a_server_that_vanishes_is_a_1006(ours: Ours, leave: Callable[[RawPeer], None]) -> None:
    """The same on the client's side."""
    with RawServer() as server:

        def conversation() -> None:
            with server.open() as peer:
                peer.read_frame()
                leave(peer)

        conversing = in_thread(conversation)
        session = await ours.connect(server.url)
        session.sendMessage("hello")

        assert (await session.ends.get())[:2] == (False, 1006)
        assert session.closeInfo.cause is CloseCause.CONNECTION_LOST
        await conversing
