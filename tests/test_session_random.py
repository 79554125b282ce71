"""Whatever happens, in whatever order: the promises hold, and nothing is left behind.

Each seed is one story of a connection: peer, application, wire and clock do what a random generator says.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest

from wsfactory.errors import WebSocketError
from wsfactory.http11 import Request
from wsfactory.testing import (
    Alone,
    ClientFactory,
    Frame,
    Future,
    Recorder,
    RecordingClient,
    RecordingServer,
    ServerFactory,
    alone,
    binary,
    close,
    continuation,
    linked_pair,
    ping,
    pong,
    text,
    upgrade_request,
    upgrade_response,
)

OPTIONS: dict[str, Any] = {
    "maxQueue": 2,
    "maxQueueBytes": 100_000,
    "writeLimit": 5_000,
    "readLimit": 1024,
    "closeHandshakeTimeout": 3,
}


class Story:
    """One connection, and what may happen to it."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.futures: list[Future] = []
        self.inside = 0
        base: type[Any] = self.random.choice([RecordingServer, RecordingClient])
        names = self.random.sample(["onConnect", "onOpen", "onMessage", "onPing", "onClose", "onSendPaused"], 3)
        protocol: type[Any] = type("Told", (base,), {name: self.answering(name) for name in names})
        options = {**OPTIONS, "failByDrop": self.random.random() < 0.1}
        if base is RecordingServer:
            self.factory: Any = ServerFactory(protocol, **options)
        else:
            self.factory = ClientFactory("ws://localhost/", protocol, **options)
        self.one: Alone[Any] = alone(self.factory, opened=False)

    def open(self) -> None:
        """Let the peer do its part of the opening handshake; onConnect may take its time."""
        self.one.run()
        if self.one.session.is_client:
            request = self.one.peer.head()
            assert isinstance(request, Request)
            self.one.peer.send(upgrade_response(request))
        else:
            self.one.peer.send(upgrade_request())

    def answering(self, name: str) -> Callable[..., object]:
        """Return a callback that answers at once, later, never, or raises."""

        def callback(session: Recorder, *args: object) -> object:
            assert not self.inside, f"{name} was called inside a call of the user's"
            session.calls.append((name, *args))
            how = self.random.random()
            if how < 0.02:
                raise RuntimeError("told")
            if how < 0.5:
                return None
            self.futures.append(Future())
            return self.futures[-1]

        return callback

    def said(self) -> list[Frame | bytes]:
        """Return what a peer may say: seldom its last words, more seldom what it must not."""
        size = self.random.choice([0, 10, 1000, 30_000])
        usual: list[list[Frame | bytes]] = [
            [text("x" * size)] * self.random.randrange(1, 5),
            [binary(bytes(size)), ping(b"1")],
            [text("x", fin=False), ping(b"2"), continuation(b"y", fin=False), pong(b"3"), continuation(b"z")],
        ]
        last: list[list[Frame | bytes]] = [[close(1000)], [close(4000), text("behind")], [Frame(3)], [b"\xff\xff\xff"]]
        return self.random.choice(usual if self.random.random() < 0.97 else last)

    def end_one(self, error: Exception | None = None) -> None:
        """Let the callback end that has taken longest."""
        if self.futures and error is None:
            self.futures.pop(0).resolve()
        elif self.futures and error is not None:
            self.futures.pop(0).reject(error)

    def user(self, call: Callable[[], object]) -> None:
        """Let the user call something; no callback may run inside."""
        self.inside += 1
        with suppress(WebSocketError):
            call()
        self.inside -= 1

    def step(self) -> None:
        """Let one thing happen."""
        session, wire, peer = self.one.session, self.one.wire, self.one.peer
        likely: list[Callable[[], object]] = [
            lambda: peer.send(*self.said()),
            lambda: peer.send(*self.said(), *self.said()),
            lambda: self.user(lambda: session.sendMessage(bytes(self.random.choice([1, 3_000, 20_000])), True)),
            lambda: self.user(lambda: session.drain()),
            lambda: self.user(session.pauseReceiving),
            lambda: self.user(session.resumeReceiving),
            lambda: self.user(session.flush),
            self.end_one,
            self.end_one,
            lambda: setattr(wire, "room", self.random.choice([0, 5_000, None])),
            lambda: setattr(wire, "capacity", self.random.choice([0, 10_000])),
            lambda: setattr(peer.wire, "read_size", self.random.choice([100, 1000, 65536])),
            self.one.run,
            lambda: self.one.advance(self.random.choice([0.01, 0.5])),
        ]
        seldom: list[Callable[[], object]] = [
            lambda: self.user(session.sendClose),
            lambda: self.user(session.dropConnection),
            lambda: self.user(lambda: session.dropConnection(abort=True)),
            lambda: self.user(self.factory.shutdown),
            lambda: self.end_one(RuntimeError("told")),
            peer.wire.finish,
            peer.wire.abort,
            lambda: self.one.advance(5),
        ]
        self.random.choice(likely if self.random.random() < 0.97 else seldom)()

    def end(self) -> None:
        """Let everything come to its end."""
        self.one.run()
        self.one.lose()
        while self.futures:
            self.end_one()
            self.one.run()
        self.one.advance(1000)


@pytest.mark.parametrize("seed", range(200))
def test_the_promises_hold_in_every_story(seed: int) -> None:
    story = Story(seed)
    story.open()
    for _ in range(60):
        story.step()
    story.end()
    session, counters = story.one.session, story.factory.counters
    names = session.names

    assert names.count("onClose") == (1 if names else 0)
    assert not names or names[-1] == "onClose"
    assert names.count("onOpen") <= 1
    assert "onMessage" not in names[: names.index("onOpen") if "onOpen" in names else None]
    assert session.closeInfo is not None
    assert counters.opened + sum(counters.failed.values()) == 1
    assert sum(counters.closed.values()) == counters.opened
    assert story.factory.connections == story.factory.openings == story.factory._leaving == set()
    assert {str(error) for error in story.factory.log.failures} <= {"told"}
    assert story.one.clock.getDelayedCalls() == []


@pytest.mark.parametrize("seed", range(60))
def test_every_message_arrives_once_and_in_order_however_the_wires_behave(seed: int) -> None:
    """Both ways at once, through full buffers, pauses and slow applications, until a clean close."""
    generator = random.Random(seed)
    futures: list[Future] = []

    class Slow(RecordingServer):
        def onConnect(self, request: Request) -> None: ...

        def onMessage(self, payload: bytes, isBinary: bool) -> Future | None:
            super().onMessage(payload, isBinary)
            futures.append(Future())
            return futures[-1] if generator.random() < 0.7 else None

    factory = ServerFactory(Slow, **OPTIONS)
    pair = linked_pair(factory, ClientFactory("ws://localhost/", RecordingClient, reactor=factory.reactor, **OPTIONS))
    said: tuple[list[str], list[str]] = ([], [])
    for number in range(200):
        for send, into in zip((pair.client.sendMessage, pair.server.sendMessage), said, strict=True):
            into.append(f"{number}" + "x" * generator.choice([0, 10, 3000]))
            send(into[-1])
        for wire in (pair.client_wire, pair.server_wire):
            wire.room = generator.choice([0, 100, 10_000, None])
            wire.capacity = generator.choice([0, 1000, 65536])
        generator.choice([pair.server.pauseReceiving, pair.server.resumeReceiving, pair.run, pair.run])()
        if futures:
            futures.pop(0).resolve()
    pair.client_wire.room = pair.server_wire.room = None
    pair.server.resumeReceiving()
    pair.run()
    while futures:
        futures.pop(0).resolve()
        pair.run()
    pair.client.sendClose(1000)
    pair.run()

    assert (pair.server.messages, pair.client.messages) == said
    assert pair.server.calls[-1] == pair.client.calls[-1] == ("onClose", True, 1000, "")
