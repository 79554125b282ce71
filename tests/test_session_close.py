"""How a connection ends: both closing handshakes, their deadline, and every other way."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from wsfactory.errors import ConnectionClosed
from wsfactory.events import CloseCause, CloseInfo
from wsfactory.testing import (
    Alone,
    ClientFactory,
    Clock,
    Frame,
    Future,
    Pair,
    RecordingClient,
    RecordingServer,
    ServerFactory,
    alone,
    close,
    linked_pair,
    ping,
    text,
)

WORLD = "ws://localhost/"
CLEANLY = "the connection was closed cleanly"


def pair(**options: Any) -> Pair[RecordingServer, RecordingClient]:
    clock = Clock()
    return linked_pair(
        ServerFactory(RecordingServer, reactor=clock, **options),
        ClientFactory(WORLD, RecordingClient, reactor=clock, **options),
    )


def server(**options: Any) -> Alone[Any]:
    return alone(ServerFactory(RecordingServer, **options))


def client(**options: Any) -> Alone[Any]:
    return alone(ClientFactory(WORLD, RecordingClient, **options))


both = pytest.mark.parametrize("role", [server, client])
Role = Callable[..., Alone[Any]]


def info_of(session: Any) -> CloseInfo:
    """Return how it ended; onClose was told the same."""
    assert isinstance(session.closeInfo, CloseInfo)
    info = session.closeInfo
    assert session.calls[-1] == ("onClose", info.wasClean, info.code, info.reason)
    return info


# The closing handshake.


def test_a_server_closes_cleanly() -> None:
    one = pair()
    one.server.sendClose(3000, "bye")
    one.run()

    assert info_of(one.server) == CloseInfo(True, 3000, "", CloseCause.LOCAL_CLOSE, "local", 3000, "bye", 3000, "")
    assert info_of(one.client) == CloseInfo(True, 3000, "bye", CloseCause.REMOTE_CLOSE, "remote", 3000, "", 3000, "bye")


def test_a_client_closes_cleanly() -> None:
    one = pair()
    one.client.sendClose(3000, "bye")
    one.run()

    assert info_of(one.client) == CloseInfo(True, 3000, "", CloseCause.LOCAL_CLOSE, "local", 3000, "bye", 3000, "")
    assert info_of(one.server) == CloseInfo(True, 3000, "bye", CloseCause.REMOTE_CLOSE, "remote", 3000, "", 3000, "bye")


def test_both_close_at_once() -> None:
    one = pair()
    one.server.sendClose(3000)
    one.client.sendClose(4000)
    one.run()

    assert info_of(one.server) == CloseInfo(True, 4000, "", CloseCause.LOCAL_CLOSE, "local", 3000, "", 4000, "")
    assert info_of(one.client) == CloseInfo(True, 3000, "", CloseCause.LOCAL_CLOSE, "local", 4000, "", 3000, "")


@both
def test_nobody_aborts_a_closing_handshake_that_goes_well(role: Role) -> None:
    """No reset: a 1009, say, is read by the peer."""
    one = role()
    one.session.sendClose()
    one.exchange(close(1000))
    one.peer.wire.finish()
    one.run()

    assert not one.wire.aborted
    assert one.peer.lost == CLEANLY


@both
@pytest.mark.parametrize("code", [1000, 1001, 1002, 1003, *range(1007, 1015), 3000, 4999, None])
def test_every_code_an_endpoint_may_send_can_be_sent(role: Role, code: int | None) -> None:
    one = role()
    one.session.sendClose(code)
    one.run()

    assert one.peer.frames() == [close(code)]


@pytest.mark.parametrize("code", [0, 999, 1004, 1005, 1006, 1015, 2000, 5000])
def test_no_other_code_can(code: int) -> None:
    one = server()

    with pytest.raises(ValueError, match=f"{code} may not be sent: allowed are 1000-1003, 1007-1014 or 3000-4999"):
        one.session.sendClose(code)
    assert one.session.isOpen


def test_a_close_without_a_code_is_1005() -> None:
    one = pair()
    one.client.sendClose(None)
    one.run()

    assert info_of(one.server) == CloseInfo(True, 1005, "", CloseCause.REMOTE_CLOSE, "remote", 1005, "", 1005, "")


# Data queued before sendClose arrives.


@pytest.mark.parametrize("begin", ["sendClose", "peer", "dropConnection", "fail"])
def test_data_queued_before_the_end_arrives(begin: str) -> None:
    one = server(writeLimit=10_000)
    one.wire.capacity = 0
    one.wire.room = 0
    for _ in range(3):
        one.session.sendMessage(bytes(1_000_000), isBinary=True)
    if begin == "sendClose":
        one.session.sendClose(1000)
    elif begin == "dropConnection":
        one.session.dropConnection()
    else:
        one.peer.send(close(1000) if begin == "peer" else Frame(3))
    one.run()
    one.wire.room = None
    one.run()
    frames = one.peer.frames()

    assert [frame.payload for frame in frames[:3]] == [bytes(1_000_000)] * 3
    assert [frame.opcode for frame in frames[3:]] == ([] if begin == "dropConnection" else [8])


def test_a_slow_reader_gets_all_of_it_while_there_is_progress() -> None:
    """3 MB at 30 kB a second, with a deadline of two: it runs without progress only."""
    one = server(closeHandshakeTimeout=2)
    one.wire.room = one.wire.capacity = 0
    one.session.sendMessage(bytes(3_000_000), isBinary=True)
    one.session.sendClose()
    for _ in range(101):
        one.wire.room = 30_000
        one.advance(1)
    frames = one.peer.frames()
    one.peer.send(close(1000))
    one.peer.wire.finish()
    one.run()

    assert [len(frame.payload) for frame in frames] == [3_000_000, 2]
    assert info_of(one.session).wasClean


def test_a_reader_that_stops_is_left_at_the_deadline() -> None:
    """It runs from the last progress: late by a twentieth at most, never early."""
    one = server(closeHandshakeTimeout=2)
    one.wire.room = one.wire.capacity = 0
    one.session.sendMessage(bytes(100_000), isBinary=True)
    one.session.sendClose()
    one.advance(1.5)
    one.wire.room = 1000
    one.advance(2)
    before = one.wire.aborted
    one.advance(0.2)

    assert not before
    assert one.wire.aborted
    assert info_of(one.session) == CloseInfo(
        False, 1006, "the closing handshake timed out", CloseCause.CLOSE_TIMEOUT, "local"
    )


@both
def test_a_peer_that_does_not_answer_is_left_at_the_deadline(role: Role) -> None:
    one = role(closeHandshakeTimeout=0.3)
    one.session.sendClose(4000, "why")
    one.advance(0.29)
    before = one.wire.aborted
    one.advance(0.05)

    assert not before
    assert one.wire.aborted
    assert info_of(one.session) == CloseInfo(
        False, 1006, "the closing handshake timed out", CloseCause.CLOSE_TIMEOUT, "local", 4000, "why"
    )


@both
def test_without_a_deadline_nobody_is_left(role: Role) -> None:
    one = role(closeHandshakeTimeout=None)
    one.session.sendClose()
    one.advance(1_000_000)

    assert not one.wire.aborted


@both
def test_the_deadline_is_off_at_the_end(role: Role) -> None:
    one = role()
    one.session.sendClose()
    one.exchange(close(1000))
    one.peer.wire.finish()
    one.run()

    assert one.clock.getDelayedCalls() == []


# Who ends TCP, and what if the other does not.


@both
@pytest.mark.parametrize("begin", ["we", "peer"])
def test_a_peer_that_never_ends_tcp_is_left_at_the_deadline(role: Role, begin: str) -> None:
    """Both Close frames are there: it was clean all the same."""
    one = role(closeHandshakeTimeout=5)
    if begin == "we":
        one.session.sendClose()
    one.exchange(close(1000))
    one.advance(4.9)
    before = one.wire.aborted
    one.advance(0.4)

    assert not before
    assert one.wire.aborted
    assert info_of(one.session).wasClean


def test_a_server_ends_its_side_and_discards_until_eof() -> None:
    """What the client still sends is read, so that nothing is reset."""
    one = server()
    one.exchange(close(1000))
    for _ in range(10):
        one.peer.send(bytes(1_000_000))
        one.run()
    before = (one.peer.eof, one.peer.lost, one.peer.wire.unsent())
    one.peer.wire.finish()
    one.run()

    assert before == (True, None, 0)
    assert one.peer.lost == CLEANLY


def test_a_client_leaves_it_to_the_server_to_end_tcp() -> None:
    one = client()
    one.session.sendClose()
    one.exchange(close(1000))
    before = one.wire.finished
    one.peer.wire.finish()
    one.run()

    assert not before
    assert one.wire.finished
    assert info_of(one.session).wasClean


def test_a_server_that_ends_tcp_right_behind_its_close_is_no_reason_to_wait() -> None:
    """Our answer still waits for room when its EOF is here."""
    one = client()
    one.wire.room = one.wire.capacity = 0
    one.session.sendMessage(bytes(100_000), isBinary=True)
    one.peer.send(close(1000))
    one.peer.wire.finish()
    one.run()
    one.wire.room = None
    one.run()

    assert [frame.opcode for frame in one.peer.frames()] == [2, 8]
    assert info_of(one.session).wasClean
    assert one.clock.seconds() == 0


@both
def test_eof_without_a_close_is_1006(role: Role) -> None:
    one = role()
    one.peer.wire.finish()
    one.run()
    reason = "the peer ended the connection without a Close frame"

    assert one.peer.frames() == []
    assert info_of(one.session) == CloseInfo(False, 1006, reason, CloseCause.CONNECTION_LOST)
    assert not one.wire.aborted


@both
def test_eof_instead_of_an_answer_is_1006(role: Role) -> None:
    one = role()
    one.session.sendClose(4000)
    one.run()
    one.peer.wire.finish()
    one.run()

    assert info_of(one.session).cause is CloseCause.LOCAL_CLOSE
    assert (info_of(one.session).wasClean, info_of(one.session).code) == (False, 1006)


@both
def test_what_waits_still_leaves_after_eof(role: Role) -> None:
    """The peer may have shut down one direction only."""
    one = role()
    one.wire.room = one.wire.capacity = 0
    one.session.sendMessage(bytes(200_000), isBinary=True)
    one.session.sendClose(1000)
    one.peer.wire.finish()
    one.run()
    one.wire.room = None
    one.run()

    assert [frame.opcode for frame in one.peer.frames()] == [2, 8]


@both
def test_a_peer_that_left_and_does_not_read_is_left(role: Role) -> None:
    one = role(closeHandshakeTimeout=5)
    one.wire.room = one.wire.capacity = 0
    one.session.sendMessage(bytes(200_000), isBinary=True)
    one.peer.wire.finish()
    one.advance(5.3)

    assert one.wire.aborted
    assert info_of(one.session).cause is CloseCause.CONNECTION_LOST


@both
def test_a_reset_is_1006(role: Role) -> None:
    one = role()
    one.peer.wire.abort()
    one.run()
    reason = "the connection was reset by the peer"

    assert info_of(one.session) == CloseInfo(False, 1006, reason, CloseCause.CONNECTION_LOST)


@both
def test_a_reset_after_both_closes_is_clean(role: Role) -> None:
    one = role()
    one.exchange(close(1000, "bye"))
    one.peer.wire.abort()
    one.run()

    assert info_of(one.session) == CloseInfo(
        True, 1000, "bye", CloseCause.REMOTE_CLOSE, "remote", 1000, "", 1000, "bye"
    )


# Failing, dropping.


@both
def test_after_a_fault_nobody_waits_for_an_answer(role: Role) -> None:
    one = role()
    one.exchange(Frame(3), close(1000))
    finished = one.wire.finished
    one.peer.wire.finish()
    one.run()
    info = info_of(one.session)

    assert finished
    assert (info.wasClean, info.code, info.localCode, info.remoteCode) == (False, 1006, 1002, None)
    assert (info.cause, info.begunBy) == (CloseCause.PROTOCOL_ERROR, "local")


@both
def test_a_fault_behind_our_close_ends_it(role: Role) -> None:
    one = role()
    one.session.sendClose(1000)
    one.exchange(Frame(3))

    assert one.wire.finished


@both
def test_a_peer_that_stays_after_its_fault_is_left(role: Role) -> None:
    one = role(closeHandshakeTimeout=5)
    one.exchange(Frame(3))
    one.advance(5.3)

    assert one.wire.aborted
    assert info_of(one.session).cause is CloseCause.PROTOCOL_ERROR


@both
def test_with_failByDrop_a_fault_is_answered_by_the_loss_of_the_connection(role: Role) -> None:
    one = role(failByDrop=True)
    answers = one.exchange(Frame(3))

    assert answers == []
    assert one.peer.lost == "the connection was reset by the peer"
    assert info_of(one.session).cause is CloseCause.PROTOCOL_ERROR
    assert info_of(one.session).localCode is None


@both
def test_dropping_ends_tcp_behind_what_waits(role: Role) -> None:
    one = role()
    one.wire.room = one.wire.capacity = 0
    one.session.sendMessage(bytes(200_000), isBinary=True)
    one.session.dropConnection()
    one.run()
    before = one.peer.eof
    one.wire.room = None
    one.run()
    frames = one.peer.frames()
    one.peer.wire.finish()
    one.run()

    assert not before
    assert [len(frame.payload) for frame in frames] == [200_000]
    assert info_of(one.session) == CloseInfo(False, 1006, "dropped by the application", CloseCause.DROPPED)


@both
def test_aborting_ends_it_at_once(role: Role) -> None:
    one = role()
    one.wire.room = one.wire.capacity = 0
    one.session.sendMessage(bytes(200_000), isBinary=True)
    one.session.dropConnection(abort=True)
    one.run()

    assert one.peer.lost == "the connection was reset by the peer"
    assert one.peer.received == b""
    assert info_of(one.session) == CloseInfo(False, 1006, "dropped by the application", CloseCause.DROPPED)


@both
@pytest.mark.parametrize("abort", [False, True])
def test_dropping_does_not_wait_for_the_closing_handshake(role: Role, abort: bool) -> None:
    one = role()
    one.session.sendClose(1000)
    one.run()
    one.session.dropConnection(abort)
    one.run()

    assert one.wire.aborted if abort else one.wire.finished


@both
def test_a_dropped_peer_that_stays_is_left(role: Role) -> None:
    one = role(closeHandshakeTimeout=5)
    one.session.dropConnection()
    one.advance(5.3)

    assert one.wire.aborted
    assert info_of(one.session).cause is CloseCause.DROPPED


@both
def test_after_dropping_nothing_is_received(role: Role) -> None:
    """Also not what came in the same read."""
    one = role()
    one.session.onMessage = lambda payload, isBinary: (
        one.session.calls.append(("onMessage", payload, isBinary)),
        one.session.dropConnection(),
    )[1]
    one.exchange(text("a"), text("b"))
    one.exchange(text("c"))

    assert one.session.messages == ["a"]


# With messages under way.


def test_a_close_reaches_a_peer_whose_application_is_slow() -> None:
    """Its onMessage runs on; the closing handshake does not wait for it long, onClose does."""

    class Slow(RecordingServer):
        def onMessage(self, payload: bytes, isBinary: bool) -> object:
            super().onMessage(payload, isBinary)
            return future

    future = Future()
    one = linked_pair(Slow)
    one.client.sendMessage("a")
    one.run()
    one.client.sendClose(1000)
    one.advance(5.1)
    before = one.server.names[-1]
    future.resolve()

    assert info_of(one.client).wasClean
    assert before == "onMessage"
    assert info_of(one.server).wasClean


class SlowEcho(RecordingServer):
    """Sends each message back once ``step`` is called."""

    def __init__(self) -> None:
        super().__init__()
        self.steps: list[Future] = []

    async def onMessage(self, payload: bytes, isBinary: bool) -> None:
        self.steps.append(Future())
        await self.steps[-1]
        self.sendMessage(payload, isBinary)

    def step(self) -> None:
        self.steps[-1].resolve()


def slow_echo(**options: Any) -> Alone[SlowEcho]:
    """Return one that has got two messages, and a Close behind them."""
    one = alone(ServerFactory(SlowEcho, **options))
    assert one.exchange(text("a"), text("b"), close(3000, "bye")) == []
    return one


def test_a_close_is_answered_behind_the_replies_to_what_came_before_it() -> None:
    """An echo does not lose its tail."""
    one = slow_echo()
    one.session.step()
    one.run()
    early = one.peer.frames(), one.session.isOpen
    one.session.step()
    one.run()
    late = one.peer.frames(), one.session.isOpen
    one.peer.wire.finish()
    one.run()

    assert early == ([text("a")], True)
    assert late == ([text("b"), close(3000)], False)
    assert info_of(one.session) == CloseInfo(
        True, 3000, "bye", CloseCause.REMOTE_CLOSE, "remote", 3000, "", 3000, "bye"
    )


def test_nothing_is_read_behind_a_close_that_is_not_answered_yet() -> None:
    one = slow_echo()
    one.exchange(text("behind"), ping(b"x"), close(1000))
    one.session.step()
    one.session.step()
    one.run()

    assert one.peer.frames() == [text("a"), text("b"), close(3000)]


def test_an_application_that_is_too_slow_replies_in_vain() -> None:
    """The answer leaves at half of the deadline; what the application then sends raises ConnectionClosed, quietly."""
    one = slow_echo(closeHandshakeTimeout=10)
    one.advance(4.9)
    early = one.peer.frames()
    one.advance(0.3)
    one.session.step()
    one.run()

    assert early == []
    assert one.peer.frames() == [close(3000)]
    assert one.session.factory.log.failures == []  # type: ignore[attr-defined]


def test_without_a_deadline_a_close_waits_as_long_as_the_application() -> None:
    one = slow_echo(closeHandshakeTimeout=None)
    one.advance(1000)
    early = one.peer.frames()
    one.session.step()
    one.session.step()
    one.run()

    assert early == []
    assert one.peer.frames() == [text("a"), text("b"), close(3000)]


@pytest.mark.parametrize(
    ("end", "code"),
    [
        (lambda session: session.sendClose(4000), 4000),
        (lambda session: session.steps[-1].reject(RuntimeError("on purpose")), 1011),
        (lambda session: session.factory.shutdown(1001), 1001),
    ],
    ids=["sendClose", "an exception", "shutdown"],
)
def test_what_else_closes_answers_a_close_at_once(end: Callable[[Any], object], code: int) -> None:
    """With a code of our own; the peer's closing is what it was."""
    one = slow_echo()
    end(one.session)
    one.run()
    answers = one.peer.frames()
    one.session.steps[0].resolve()
    one.session.steps[-1].resolve()
    one.peer.wire.finish()
    one.run()

    assert [(frame.opcode, frame.payload[:2]) for frame in answers] == [(8, code.to_bytes(2, "big"))]
    info = info_of(one.session)
    assert (info.wasClean, info.cause, info.localCode, info.remoteCode) == (True, CloseCause.REMOTE_CLOSE, code, 3000)


@pytest.mark.parametrize("end", ["lose", "drop", "abort"])
def test_a_close_that_was_never_answered_is_not_clean(end: str) -> None:
    one = slow_echo()
    drained: Any = one.session.drain()
    ponged: Any = one.session.ping()
    if end == "lose":
        one.lose()
    else:
        one.session.dropConnection(abort=end == "abort")
        one.peer.wire.finish()
        one.run()
    for _ in range(2):
        one.session.step()

    info = info_of(one.session)
    assert (info.wasClean, info.code, info.localCode, info.remoteCode) == (False, 3000, None, 3000)
    assert drained.done
    with pytest.raises(ConnectionClosed):
        ponged.result()


def test_a_client_that_half_closes_behind_its_close_gets_the_replies() -> None:
    one = slow_echo()
    one.peer.wire.finish()
    one.run()
    one.session.step()
    one.session.step()
    one.run()

    assert one.peer.frames() == [text("a"), text("b"), close(3000)]
    assert info_of(one.session).wasClean


def test_messages_received_while_we_close_are_handled() -> None:
    one = server()
    one.session.sendClose(1000)
    one.exchange(text("a"), text("b"), close(1000), text("behind"))

    assert one.session.messages == ["a", "b"]


@both
def test_a_stopped_codec_does_not_keep_a_close_from_ending(role: Role) -> None:
    """We had stopped reading; the deadline ends what the peer's answer cannot."""
    one = role(maxQueue=1, closeHandshakeTimeout=5)
    one.session.pauseReceiving()
    one.exchange(*[text("x" * 1000)] * 1000)
    one.session.sendClose()
    paused = one.wire.paused
    one.advance(5.3)

    assert paused
    assert one.wire.aborted
    assert info_of(one.session).cause is CloseCause.CLOSE_TIMEOUT
    assert one.session.names[-1] == "onClose"
