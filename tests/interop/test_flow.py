"""Messages in both directions faster than they are taken, on real sockets: bounded, complete, in order."""

from __future__ import annotations

from typing import Any

import pytest
from ours import Ours, Recorder
from rawsocket import BINARY, FIN, PING, PONG, TEXT, RawPeer, RawServer, close_frame, frame, frames, in_thread
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from waiting import on_reactor

pytestmark = pytest.mark.interop

KIB = 1024
MESSAGE = bytes(20 * KIB)
COUNT = 500
FAR_TOO_MANY = 5000
# maxQueue's 32, and what 64 KiB hold of messages of this size beyond it.
MOST_WAITING = 32 + 4


class Slow(Recorder):
    """Takes a turn of the reactor over each message."""

    handled = 0
    at_work = 0
    most_waiting = 0
    most_at_work = 0

    async def onMessage(self, payload: bytes, isBinary: bool) -> None:
        from twisted.internet import reactor

        self.at_work += 1
        self.most_at_work = max(self.most_at_work, self.at_work)
        self.most_waiting = max(self.most_waiting, self.factory.counters.messagesReceived - self.handled)
        await self.ours.native(deferLater(reactor, 0))
        self.at_work -= 1
        self.handled += 1
        self.messages.put((payload, isBinary))


@on_reactor
async def test_a_slow_application_is_not_flooded(ours: Ours) -> None:
    """An async onMessage is awaited, one at a time; what waits is bounded, nothing is lost, the end is clean."""
    listening = await ours.listen(Slow)

    def conversation() -> bytes:
        with RawPeer.open(listening.url) as peer:
            for _ in range(COUNT):
                peer.send(frame(FIN | BINARY, MESSAGE))
            peer.send(close_frame(1000))
            return peer.read_to_the_end()

    conversing = in_thread(conversation)
    session = await listening.opens.get()
    end = await session.ends.get()

    assert end.clean
    assert session.handled == COUNT
    assert session.most_at_work == 1
    assert session.most_waiting <= MOST_WAITING
    assert await conversing == close_frame(1000, masked=False)


class Stuck(Recorder):
    """Does not finish its first message until it is released."""

    def __init__(self) -> None:
        super().__init__()
        self.released: Deferred[None] = Deferred()

    async def onMessage(self, payload: bytes, isBinary: bool) -> None:
        self.messages.put((payload, isBinary))
        await self.ours.native(self.released)


@on_reactor
async def test_a_sender_is_held_back_and_let_go_again(ours: Ours) -> None:
    """While onMessage hangs, a sender gets stuck as soon as our bounds and the kernels' are full; then it goes on."""
    listening = await ours.listen(Stuck)
    peer = await in_thread(RawPeer.open, listening.url)
    session = await listening.opens.get()
    begun = await in_thread(peer.send_until_stuck, frame(FIN | BINARY, MESSAGE), most=FAR_TOO_MANY)
    assert begun < FAR_TOO_MANY
    assert listening.factory.counters.messagesReceived <= MOST_WAITING

    session.released.callback(None)
    with peer:
        await in_thread(peer.send, close_frame(1000))
        await in_thread(peer.read_to_the_end)
    assert (await session.ends.get()).clean
    assert len(session.messages.pending) == begun


@on_reactor
async def test_a_ping_behind_waiting_messages_is_answered(ours: Ours) -> None:
    """Control frames overtake messages that wait for the application."""
    listening = await ours.listen(Stuck)

    def conversation() -> tuple[int, bytes]:
        with RawPeer.open(listening.url) as peer:
            peer.send(frame(FIN | TEXT, b"hello") * 40 + frame(FIN | PING, b"behind"))
            return peer.read_frame()

    assert await in_thread(conversation) == (FIN | PONG, b"behind")


class Streaming(Recorder):
    """Sends a lot, no faster than it leaves."""

    most_buffered = 0

    def onOpen(self) -> None:
        super().onOpen()
        self.streaming = self.ours.spawn(self.stream())

    async def stream(self) -> None:
        for _ in range(COUNT):
            self.sendMessage(MESSAGE, isBinary=True)
            self.most_buffered = max(self.most_buffered, self.bufferedAmount)
            drained: Any = self.drain()
            await drained
        self.sendClose()


@on_reactor
async def test_drain_keeps_the_backlog_small(ours: Ours) -> None:
    """Whoever awaits drain() has at most writeLimit and one message waiting, and everything arrives."""
    listening = await ours.listen(Streaming)

    def conversation() -> list[tuple[int, bytes]]:
        with RawPeer.open(listening.url) as peer:
            sent = b""
            while not sent.endswith(close_frame(1000, masked=False)):
                sent += peer.read_some(64 * KIB)
            peer.send(close_frame(1000))
            return frames(sent)

    *messages, _ = await in_thread(conversation)
    session = await listening.opens.get()
    assert messages == [(FIN | BINARY, MESSAGE)] * COUNT
    assert session.most_buffered <= 64 * KIB + len(MESSAGE) + KIB
    assert (await session.ends.get()).clean


@on_reactor
async def test_our_client_drains_too(ours: Ours) -> None:
    """The same where we are the client: the backlog is small while the server reads nothing."""
    with RawServer() as server:
        accepting = in_thread(server.open)
        session = await ours.connect(server.url, Streaming)
        peer = await accepting
        assert session.most_buffered <= 64 * KIB + len(MESSAGE) + KIB

        def conversation() -> int:
            count = 0
            with peer:
                while peer.read_frame() == (FIN | BINARY, MESSAGE):
                    count += 1
                peer.send(close_frame(1000, masked=False))
            return count

        assert await in_thread(conversation) == COUNT
        assert session.most_buffered <= 64 * KIB + len(MESSAGE) + KIB
        assert (await session.ends.get()).clean
