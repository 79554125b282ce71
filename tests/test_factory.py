"""What the connections of one factory share: options, the set of them, counters, shutting down."""

from __future__ import annotations

from typing import Any

import pytest

from wsfactory.errors import ConnectionDeny, OptionError
from wsfactory.events import CloseCause
from wsfactory.factory import Counters
from wsfactory.http11 import Request, Response
from wsfactory.testing import (
    Alone,
    ClientFactory,
    Clock,
    Frame,
    Future,
    Log,
    RecordingClient,
    RecordingServer,
    ServerFactory,
    alone,
    binary,
    close,
    ping,
    text,
    upgrade_request,
)


def factory(protocol: type[RecordingServer] = RecordingServer, **options: Any) -> ServerFactory[RecordingServer]:
    return ServerFactory(protocol, **options)


def done(future: object) -> bool:
    assert isinstance(future, Future)
    return future.done


def result(future: object) -> object:
    assert isinstance(future, Future)
    return future.result()


class Slow(RecordingServer):
    """Handles messages until ``future`` is resolved."""

    def __init__(self) -> None:
        super().__init__()
        self.future = Future()

    def onMessage(self, payload: bytes, isBinary: bool) -> Future:
        super().onMessage(payload, isBinary)
        return self.future


# Options.


def test_an_option_that_does_not_exist_is_named() -> None:
    with pytest.raises(OptionError, match="maxQue"):
        factory(maxQue=1)


def test_options_change_for_later_connections_only() -> None:
    made = factory(maxMessagePayloadSize=10)
    early = alone(made)
    made.setProtocolOptions(maxMessagePayloadSize=100)
    late = alone(made)

    assert early.exchange(binary(bytes(50)))[0].opcode == 8
    assert late.exchange(binary(bytes(50))) == []
    assert late.session.messages == [bytes(50)]


def test_options_that_are_not_named_stay() -> None:
    """Autobahn's turns allowNullOrigin off, whatever it is called with."""
    made = factory(allowedOrigins=["null"], maxQueue=5)
    before = made.options
    made.setProtocolOptions(openHandshakeTimeout=1)

    assert made.options.allowedOrigins == before.allowedOrigins == ("null",)
    assert made.options.maxQueue == before.maxQueue
    assert made.options.openHandshakeTimeout == 1


def test_a_bad_option_changes_nothing() -> None:
    made = factory()
    before = made.options
    with pytest.raises(OptionError, match="maxQueue=-1"):
        made.setProtocolOptions(openHandshakeTimeout=1, maxQueue=-1)

    assert made.options is before


@pytest.mark.parametrize("subprotocols", ["chat", ["a b"], ["a", "a"], [""], [5], ["a,b"]])
@pytest.mark.parametrize("make", [factory, lambda **options: ClientFactory("ws://x/", RecordingClient, **options)])
def test_bad_subprotocols_are_told_when_the_factory_is_made(make: Any, subprotocols: Any) -> None:
    """And not by every connection that fails for them."""
    with pytest.raises(OptionError, match="subprotocols"):
        make(subprotocols=subprotocols)


@pytest.mark.parametrize("headers", [{"a b": "x"}, {"X": "a\r\nb"}, {"X": 5}, [("X",)], 5, {"Upgrade": "x"}])
@pytest.mark.parametrize("make", [factory, lambda **options: ClientFactory("ws://x/", RecordingClient, **options)])
def test_bad_headers_are_told_when_the_factory_is_made(make: Any, headers: Any) -> None:
    with pytest.raises(OptionError, match="headers"):
        make(headers=headers)


def test_a_protocol_needs_no_init_of_ours() -> None:
    """Whatever it has set before it belongs to a factory is still there."""

    class Own(RecordingServer):
        def __init__(self) -> None:
            self.name = "mine"
            self.calls = []

    one = alone(factory(Own))
    one.exchange(text("a"), close(1000))

    assert one.session.name == "mine"  # type: ignore[attr-defined]
    assert one.session.messages == ["a"]


def test_a_protocol_knows_its_factory() -> None:
    made = factory()

    assert alone(made).session.factory is made


# The set of connections.


def test_a_connection_is_in_the_set_while_it_is_open() -> None:
    made = factory()
    one = alone(made, opened=False)
    connecting = (set(made.openings), set(made.connections))
    one.open()
    opened = (set(made.openings), set(made.connections))
    one.lose()

    assert connecting == ({one.session}, set())
    assert opened == (set(), {one.session})
    assert (made.openings, made.connections) == (set(), set())


def test_it_is_out_of_the_set_before_onclose_and_in_it_at_onopen() -> None:
    class Looking(RecordingServer):
        def onOpen(self) -> None:
            self.calls.append(("in", self in self.factory.connections))

        def onClose(self, wasClean: bool, code: int, reason: str) -> None:
            self.calls.append(("in", self in self.factory.connections))
            raise RuntimeError("broken")

    one = alone(factory(Looking))
    one.lose()

    assert one.session.calls[1:] == [("in", True), ("in", False)]


def test_a_refused_connection_does_not_stay() -> None:
    made = factory()
    one = alone(made, opened=False)
    one.exchange(b"GET / HTTP/1.1\r\n\r\n")
    one.lose()

    assert made.openings == made.connections == set()


# Counters.


def test_ends_are_counted_by_code_and_cause() -> None:
    made = factory()
    for frame in (close(1000), close(4000), close(4000), Frame(3)):
        one = alone(made)
        one.exchange(frame)
        one.lose()
    alone(made).lose()
    counters = made.counters

    assert counters.opened == 5
    assert dict(counters.closed) == {
        (1000, CloseCause.REMOTE_CLOSE): 1,
        (4000, CloseCause.REMOTE_CLOSE): 2,
        (1006, CloseCause.PROTOCOL_ERROR): 1,
        (1006, CloseCause.CONNECTION_LOST): 1,
    }
    assert counters.failed == {}


def test_what_never_opened_is_counted_by_cause() -> None:
    class Denying(RecordingServer):
        def onConnect(self, request: Request) -> None:
            raise ConnectionDeny(403)

    made = factory(Denying, openHandshakeTimeout=3)
    refused = alone(made, opened=False)
    refused.exchange(upgrade_request())
    refused.lose()
    late = alone(made, opened=False)
    late.advance(4)
    late.lose()
    alone(made, opened=False).lose()
    counters = made.counters

    assert (counters.opened, dict(counters.closed)) == (0, {})
    assert dict(counters.failed) == {
        CloseCause.HANDSHAKE_REFUSED: 1,
        CloseCause.OPEN_TIMEOUT: 1,
        CloseCause.CONNECTION_LOST: 1,
    }


def test_a_snapshot_does_not_change() -> None:
    made = factory()
    before = made.counters
    alone(made).lose()

    assert before == Counters()
    assert made.counters != before


@pytest.mark.parametrize("ended", [False, True])
def test_messages_and_bytes_are_counted(ended: bool) -> None:
    """Those of ended connections and of open ones; payloads, as the application sees them; no control frames."""
    made = factory()
    for _ in range(2):
        one = alone(made)
        one.exchange(text("12345"), Frame(2, b"67", fin=False), ping(b"x"), Frame(0, b"8"))
        one.session.sendMessage("123")
        one.session.sendPing(b"x")
        one.run()
        if ended:
            one.lose()
    counters = made.counters

    assert (counters.messagesReceived, counters.bytesReceived) == (4, 16)
    assert (counters.messagesSent, counters.bytesSent) == (2, 6)


# Shutting down.


def test_nothing_to_shut_down_is_done_at_once() -> None:
    made = factory()

    assert result(made.shutdown()) == []
    assert made.shuttingDown
    assert made.reactor.getDelayedCalls() == []


def test_shutting_down_closes_every_connection_with_1001() -> None:
    made = factory()
    ones = [alone(made) for _ in range(3)]
    future = made.shutdown()
    for one in ones:
        one.run()
        assert one.peer.frames() == [close(1001)]
        one.exchange(close(1001))
    before = done(future)
    for one in ones:
        one.peer.wire.finish()
        one.run()

    assert not before
    assert result(future) == []
    assert {one.session.closeInfo.cause for one in ones if one.session.closeInfo} == {CloseCause.SHUTDOWN}
    assert all(one.session.calls[-1] == ("onClose", True, 1001, "") for one in ones)


def test_another_code_may_be_given() -> None:
    made = factory()
    one = alone(made)
    made.shutdown(1012)
    one.run()

    assert one.peer.frames() == [close(1012)]


def test_what_is_queued_is_sent_before_the_close() -> None:
    made = factory()
    one = alone(made)
    one.wire.room = one.wire.capacity = 0
    one.session.sendMessage(bytes(200_000), isBinary=True)
    made.shutdown()
    one.run()
    one.wire.room = None
    one.run()

    assert [frame.opcode for frame in one.peer.frames()] == [2, 8]


def test_new_connections_are_refused_meanwhile_and_after() -> None:
    made = factory()
    stays = alone(made)
    made.shutdown()
    heads = []
    for lose in (stays.lose, lambda: None):
        one = alone(made, opened=False)
        one.peer.send(upgrade_request())
        one.run()
        heads.append(one.peer.head())
        one.lose()
        lose()

    for head in heads:
        assert isinstance(head, Response)
        assert (head.status, head.headers["Retry-After"]) == (503, "5")


def stuck(made: ServerFactory[RecordingServer]) -> Alone[RecordingServer]:
    """Return a connection whose peer never answers."""
    return alone(made)


def test_what_is_left_at_the_timeout_is_aborted_and_reported() -> None:
    made = factory(closeHandshakeTimeout=None)
    one, good = stuck(made), alone(made)
    future = made.shutdown(timeout=5)
    good.exchange(close(1001))
    good.peer.wire.finish()
    good.run()
    one.advance(4.99)
    before = (one.wire.aborted, done(future))
    one.advance(0.02)

    assert before == (False, False)
    assert one.wire.aborted
    assert result(future) == [one.session]


def test_a_second_call_aborts_at_once() -> None:
    """Each call gets the same answer, and nobody is reported twice."""
    made = factory(closeHandshakeTimeout=None)
    one = stuck(made)
    futures = [made.shutdown(timeout=5), made.shutdown()]
    before = [done(future) for future in futures]
    one.run()

    assert one.wire.aborted
    assert before == [False, False]
    assert [result(future) for future in futures] == [[one.session]] * 2
    assert result(made.shutdown()) == [one.session]


def test_without_a_timeout_it_waits() -> None:
    made = factory(closeHandshakeTimeout=None)
    one = stuck(made)
    future = made.shutdown(timeout=None)
    one.advance(1_000_000)

    assert not done(future)


def test_the_timer_is_off_when_all_are_gone() -> None:
    made = factory()
    one = alone(made)
    made.shutdown()
    one.lose()

    assert made.reactor.getDelayedCalls() == []


def test_it_waits_for_a_handler_that_runs() -> None:
    made = factory(Slow)
    one = alone(made)
    one.exchange(text("a"))
    future = made.shutdown()
    one.exchange(close(1001))
    one.peer.wire.finish()
    one.run()
    before = done(future)
    assert isinstance(one.session, Slow)
    one.session.future.resolve()

    assert not before
    assert result(future) == []


def test_it_does_not_wait_for_ever_for_a_handler_that_never_ends() -> None:
    made = factory(Slow)
    one = alone(made)
    one.exchange(text("a"))
    future = made.shutdown(timeout=5)
    one.advance(5.02)

    assert result(future) == [one.session]
    assert "onClose" not in one.session.names


@pytest.mark.parametrize("late", [False, True])
def test_it_is_done_after_the_last_onclose(late: bool) -> None:
    """Whoever then stops the reactor cuts nothing off, also no coroutine."""

    class Last(RecordingServer):
        def onClose(self, wasClean: bool, code: int, reason: str) -> object:
            self.calls.append(("onClose", done(future)))
            return saved if late else None

    saved = Future()
    made = factory(Last)
    one = alone(made)
    future = made.shutdown()
    one.lose()
    before = done(future)
    saved.resolve()

    assert one.session.calls[-1] == ("onClose", False)
    assert before is not late
    assert done(future)


def test_it_waits_for_an_onclose_that_is_under_way() -> None:
    """Of a connection that had ended before."""

    class Saving(RecordingServer):
        def onClose(self, wasClean: bool, code: int, reason: str) -> Future:
            return saved

    saved = Future()
    made = factory(Saving)
    alone(made).lose()
    future = made.shutdown()
    before = done(future)
    saved.resolve()

    assert not before
    assert result(future) == []


def test_it_does_not_wait_for_ever_for_an_onclose_that_never_ends() -> None:
    """Such a connection is gone: it was not aborted."""

    class Saving(RecordingServer):
        def onClose(self, wasClean: bool, code: int, reason: str) -> Future:
            return Future()

    made = factory(Saving)
    alone(made).lose()
    refused = alone(made, opened=False)
    refused.lose()
    future = made.shutdown(timeout=5)
    made.reactor.advance(5.02)

    assert result(future) == []


def test_it_does_not_wait_for_those_who_come_too_late() -> None:
    """They are refused; if they were waited for, a stream of them would hold it up."""
    made = factory()
    one = alone(made)
    future = made.shutdown()
    late = alone(made, opened=False)
    one.lose()

    assert result(future) == []
    assert late.session in made.openings


def test_a_code_that_may_not_be_sent_shuts_nothing_down() -> None:
    made = factory()
    one = alone(made)
    with pytest.raises(ValueError, match="1006"):
        made.shutdown(1006)

    assert one.session.isOpen
    assert not made.shuttingDown


def test_a_client_that_is_connecting_is_not_waited_for() -> None:
    made = ClientFactory("ws://localhost/", RecordingClient)
    one = alone(made, opened=False)
    future = made.shutdown()
    one.run()

    assert result(future) == []
    assert one.session.names == ["onConnecting", "onHandshakeFailed", "onClose"]


def test_no_factory_shares_its_log_or_its_connections_with_another() -> None:
    clock = Clock()
    first, second = factory(reactor=clock), factory(reactor=clock)
    alone(first)

    assert second.connections == set()
    assert isinstance(first.flavour.log, Log)
    assert first.flavour.log is not second.flavour.log
