"""When callbacks run, and what an exception in them does."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from twisted.internet.defer import Deferred

from wsfactory.testing import (
    Alone,
    Frame,
    Future,
    RecordingClient,
    RecordingServer,
    ServerFactory,
    alone,
    close,
    linked_pair,
    ping,
    pong,
    text,
)

# What a callback that takes its time may return; each is ended by calling what it was made with.


def coroutine(future: Future) -> object:
    async def wait() -> object:
        return await future

    return wait()


def deferred(future: Future) -> object:
    waiting: Deferred[object] = Deferred()

    def end() -> None:
        try:
            waiting.callback(future.result())
        except Exception as error:
            waiting.errback(error)

    future.watch(end)
    return waiting


Kind = Callable[[Future], object]
KINDS: dict[str, Kind] = {"future": lambda future: future, "async def": coroutine, "Deferred": deferred}
kinds = pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)


class Slow(RecordingServer):
    """Its callbacks take until ``end`` is called, in order; see ``slow``."""

    def __init__(self) -> None:
        super().__init__()
        self.futures: list[Future] = []

    def end(self, error: Exception | None = None) -> None:
        """Let the callback end that has taken longest."""
        future = self.futures.pop(0)
        if error is None:
            future.resolve()
        else:
            future.reject(error)


def slow(*names: str, kind: Kind = lambda future: future) -> type[Slow]:
    """Return a server whose callbacks of these *names* take their time."""

    def slowed(name: str) -> Callable[..., object]:
        def callback(self: Slow, *args: object) -> object:
            self.calls.append((name, *args))
            self.futures.append(Future())
            return kind(self.futures[-1])

        return callback

    return type("Slow", (Slow,), {name: slowed(name) for name in names})


# The order.


@kinds
def test_no_message_before_onopen_is_done(kind: Kind) -> None:
    one = alone(slow("onOpen", kind=kind))
    one.exchange(text("a"), text("b"))
    before = one.session.messages
    one.session.end()
    one.run()

    assert before == []
    assert one.session.messages == ["a", "b"]


@kinds
def test_one_message_at_a_time_in_order(kind: Kind) -> None:
    one = alone(slow("onMessage", kind=kind))
    one.exchange(text("a"), text("b"), text("c"))
    seen = [one.session.messages]
    for _ in range(3):
        one.session.end()
        one.run()
        seen.append(one.session.messages)

    assert seen == [["a"], ["a", "b"], ["a", "b", "c"], ["a", "b", "c"]]


def test_a_coroutine_that_never_waits_is_as_good_as_a_plain_function() -> None:
    class Quick(RecordingServer):
        async def onMessage(self, payload: bytes, isBinary: bool) -> None:
            self.sendMessage(payload)

    one = alone(Quick)

    assert one.exchange(text("a"), text("b")) == [text("a"), text("b")]
    assert len(one.wire.writes) == 2, "the 101, and all replies to one read"


@kinds
def test_control_callbacks_overtake_messages_that_wait(kind: Kind) -> None:
    one = alone(slow("onMessage", kind=kind))
    answers = one.exchange(text("a"), text("b"), ping(b"1"), pong(b"2"))

    assert one.session.names[2:] == ["onMessage", "onPing", "onPong"]
    assert answers == [pong(b"1")]


@kinds
def test_control_callbacks_run_while_onopen_is_under_way(kind: Kind) -> None:
    one = alone(slow("onOpen", kind=kind))

    assert one.exchange(text("a"), ping(b"1")) == [pong(b"1")]
    assert one.session.names == ["onConnect", "onOpen", "onPing"]


@kinds
def test_slow_control_callbacks_hold_nothing_up(kind: Kind) -> None:
    one = alone(slow("onPing", "onPong", kind=kind))

    assert one.exchange(ping(b"1"), pong(b"2"), ping(b"3"), text("a")) == [pong(b"1"), pong(b"3")]
    assert one.session.names[2:] == ["onPing", "onPong", "onPing", "onMessage"]


@kinds
def test_messages_received_before_a_close_are_delivered_before_onclose(kind: Kind) -> None:
    one = alone(slow("onMessage", kind=kind))
    one.exchange(text("a"), text("b"), close(1000, "bye"))
    one.peer.wire.finish()
    one.run()
    before = one.session.names[2:]
    for _ in range(2):
        one.session.end()
        one.run()

    assert before == ["onMessage"]
    assert one.session.names[2:] == ["onMessage", "onMessage", "onClose"]
    assert one.session.calls[-1] == ("onClose", True, 1000, "bye")


@kinds
def test_messages_received_before_a_loss_are_delivered_before_onclose(kind: Kind) -> None:
    one = alone(slow("onMessage", kind=kind))
    one.exchange(text("a"), text("b"))
    one.lose()
    before = one.session.names[2:]
    one.session.end()
    between = one.session.names[2:]
    one.session.end()

    assert before == ["onMessage"]
    assert between == ["onMessage", "onMessage"]
    assert one.session.names[2:] == ["onMessage", "onMessage", "onClose"]


@pytest.mark.parametrize("messages", [[], ["a"]])
def test_onclose_waits_for_onopen(messages: list[str]) -> None:
    """Whether or not messages wait behind it."""
    one = alone(slow("onOpen"))
    one.exchange(*map(text, messages))
    one.lose()
    before = one.session.names
    one.session.end()

    assert before == ["onConnect", "onOpen"]
    assert one.session.names == ["onConnect", "onOpen", *("onMessage" for _ in messages), "onClose"]


def test_what_is_under_way_is_not_cancelled_by_a_loss() -> None:
    class Careful(RecordingServer):
        async def onMessage(self, payload: bytes, isBinary: bool) -> None:
            try:
                await future
            finally:
                self.calls.append(("done", future.done))

    future = Future()
    one = alone(Careful)
    one.exchange(text("a"))
    one.lose()
    future.resolve()

    assert one.session.calls[-2:] == [("done", True), ("onClose", False, 1006, "the connection was lost")]


def test_the_first_message_may_come_in_one_read_with_the_request() -> None:
    """A client that sends before it saw the 101 is wrong, but loses nothing by it."""
    one = alone(RecordingServer, opened=False)
    one.wire.other.read_size = 10_000
    one.open()

    assert one.session.names == ["onConnect", "onOpen"]


def test_frames_behind_the_101_are_messages_after_onopen() -> None:
    pair = linked_pair(Greeter, opened=False)
    pair.run()

    assert pair.client.names == ["onConnecting", "onConnect", "onOpen", "onMessage"]


class Greeter(RecordingServer):
    def onOpen(self) -> None:
        self.sendMessage("welcome")


# onClose: exactly once, last.


@pytest.mark.parametrize(
    "end",
    [
        lambda one: one.peer.send(close(1000)),
        lambda one: one.peer.send(close(1000), text("behind")),
        lambda one: one.peer.send(Frame(3)),
        lambda one: one.peer.wire.finish(),
        lambda one: one.peer.wire.abort(),
        lambda one: one.session.sendClose(),
        lambda one: (one.session.sendClose(), one.session.sendClose(1001)),
        lambda one: one.session.dropConnection(),
        lambda one: one.session.dropConnection(abort=True),
        lambda one: (one.session.dropConnection(), one.session.dropConnection(abort=True)),
        lambda one: (one.session.sendClose(), one.session.dropConnection()),
        lambda one: one.session.factory.shutdown(),
        lambda one: (one.session.sendMessage(bytes(100_000), isBinary=True), one.peer.wire.abort()),
        lambda one: (one.session.pauseReceiving(), one.peer.send(text("x")), one.peer.wire.abort()),
        lambda one: (one.session.pauseReceiving(), one.session.resumeReceiving(), one.peer.wire.abort()),
    ],
)
@pytest.mark.parametrize("role", [RecordingServer, RecordingClient])
def test_onclose_is_the_last_call_and_the_only_one(
    role: type[RecordingServer], end: Callable[[Alone[RecordingServer]], object]
) -> None:
    one = alone(role)
    end(one)
    one.run()
    one.peer.wire.finish()
    one.advance(100)

    assert one.session.names.count("onClose") == 1
    assert one.session.names[-1] == "onClose"
    assert one.session.closeInfo is not None
    assert one.session.calls[-1][1:] == (
        one.session.closeInfo.wasClean,
        one.session.closeInfo.code,
        one.session.closeInfo.reason,
    )


# Exceptions.


def broken(*names: str, late: bool = False) -> ServerFactory[RecordingServer]:
    """Return a factory whose servers raise in the callbacks of these *names*: at once, or *late* from a coroutine."""

    def breaking(name: str) -> Callable[..., object]:
        def fail(self: RecordingServer, *args: object) -> None:
            self.calls.append((name, *args))
            raise RuntimeError(f"broken {name}, do not tell")

        async def fail_late(self: RecordingServer, *args: object) -> None:
            fail(self, *args)

        return fail_late if late else fail

    return ServerFactory(type("Broken", (RecordingServer,), {name: breaking(name) for name in names}))


late = pytest.mark.parametrize("late", [False, True])


@late
@pytest.mark.parametrize("name", ["onOpen", "onMessage"])
def test_an_exception_closes_with_1011_and_is_logged(name: str, late: bool) -> None:
    factory = broken(name, late=late)
    one = alone(factory)
    one.exchange(text("a")) if name == "onMessage" else None
    one.run()
    frames = one.peer.frames() or [close(1011, "internal error")]
    one.peer.wire.finish()
    one.run()

    assert frames == [close(1011, "internal error")]
    assert [str(error) for error in factory.log.failures] == [f"broken {name}, do not tell"]
    assert one.session.closeInfo is not None
    assert (one.session.closeInfo.localCode, one.session.closeInfo.cause.name) == (1011, "APPLICATION_ERROR")
    assert one.session.calls[-1] == ("onClose", False, 1006, "internal error")


@late
def test_no_message_is_delivered_behind_one_that_raised(late: bool) -> None:
    one = alone(broken("onMessage", late=late))
    answers = one.exchange(text("a"), text("b"), ping(b"c"))
    one.exchange(text("d"))
    one.lose()

    assert answers == [close(1011, "internal error")]
    assert one.session.names[2:] == ["onMessage", "onClose"]


@late
def test_no_message_is_delivered_when_onopen_raised(late: bool) -> None:
    one = alone(broken("onOpen", late=late))
    one.exchange(text("a"))
    one.lose()

    assert one.session.names == ["onConnect", "onOpen", "onClose"]


@late
@pytest.mark.parametrize("name", ["onPing", "onPong", "onSendPaused", "onSendResumed", "onClose"])
def test_an_exception_elsewhere_is_only_logged(name: str, late: bool) -> None:
    factory = broken(name, late=late)
    one = alone(factory)
    one.exchange(ping(b"1"), pong(b"2"))
    one.wire.capacity = 0
    one.session.sendMessage(bytes(100_000), isBinary=True)
    one.run()
    still_open = one.session.isOpen
    one.peer.send(close(1000))
    one.peer.wire.finish()
    one.run()

    assert still_open
    assert [str(error) for error in factory.log.failures] == [f"broken {name}, do not tell"]
    assert one.session.calls[-1] == ("onClose", True, 1000, "")


@late
def test_counters_add_up_whatever_callbacks_raise(late: bool) -> None:
    factory = broken("onOpen", "onMessage", "onPing", "onClose", late=late)
    for _ in range(3):
        one = alone(factory)
        one.exchange(ping(), text("x"))
        one.lose()
    counters = factory.counters

    assert counters.opened == sum(counters.closed.values()) == 3
    assert factory.connections == factory.openings == set()


def test_sending_on_what_is_closing_is_no_error() -> None:
    """An echo that answers too late is right to try: it is not logged, and what follows is delivered."""

    class Echo(RecordingServer):
        def onMessage(self, payload: bytes, isBinary: bool) -> None:
            super().onMessage(payload, isBinary)
            self.sendMessage(payload)

    factory = ServerFactory(Echo)
    one = alone(factory)
    one.session.sendClose()
    one.exchange(text("a"), text("b"))

    assert one.session.messages == ["a", "b"]
    assert factory.log.failures == []


def test_an_exception_while_it_closes_leaves_the_closing_handshake_alone() -> None:
    """One Close frame is all there is."""
    factory = broken("onMessage")
    one = alone(factory)
    one.session.sendClose(1000)
    one.exchange(text("a"), close(1000))
    one.peer.wire.finish()
    one.run()

    assert len(factory.log.failures) == 1
    assert one.session.calls[-1] == ("onClose", True, 1000, "")


def test_an_exception_behind_the_peers_close_is_only_logged() -> None:
    """Our answer to it may still be waiting: it is the last word."""
    factory = ServerFactory(slow("onMessage"))
    one = alone(factory)
    one.wire.room = one.wire.capacity = 0
    one.session.sendMessage(bytes(100_000), isBinary=True)
    one.exchange(text("a"), close(1000))
    one.session.end(RuntimeError("late"))
    one.wire.room = None
    one.run()
    one.peer.wire.finish()
    one.run()

    assert [str(error) for error in factory.log.failures] == ["late"]
    assert one.session.calls[-1] == ("onClose", True, 1000, "")
