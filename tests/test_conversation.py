"""An open connection and its application: names, calls that wait, an application that is stuck."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import pytest

from wsfactory.errors import ConnectionClosed
from wsfactory.events import CloseCause
from wsfactory.testing import (
    Alone,
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
    pong,
    text,
)

KIB = 1024
PARKED = 64 * KIB


class Slow(RecordingServer):
    """Handles a message until ``end`` is called."""

    def __init__(self) -> None:
        super().__init__()
        self.futures: list[Future] = []

    def onMessage(self, payload: bytes, isBinary: bool) -> Future:
        self.calls.append(("onMessage", payload, isBinary))
        self.futures.append(Future())
        return self.futures[-1]

    def end(self) -> None:
        self.futures.pop(0).resolve()


def slow(**options: Any) -> Alone[Slow]:
    return alone(ServerFactory(Slow, **options))


def test_a_protocol_may_use_names_that_ours_use_inside() -> None:
    """What the connection reports to is an object of its own."""

    class Own(RecordingServer):
        message = pong = closing = drop = handle = watch = "mine"

    one = alone(ServerFactory(Own))

    assert [frame.opcode for frame in one.exchange(text("a"), ping(b"b"), close(1000))] == [10, 8]
    assert one.session.messages == ["a"]


# Not inside a call that the user makes.


def stalled() -> Alone[RecordingServer]:
    """Return a server whose wire takes nothing."""
    one = alone(RecordingServer)
    one.wire.capacity = one.wire.room = 0
    return one


@pytest.mark.parametrize(
    "call",
    [
        lambda session: session.sendMessage(bytes(200_000), isBinary=True),
        lambda session: session.sendPing(b"x"),
        lambda session: session.sendClose(),
        lambda session: session.dropConnection(),
        lambda session: session.dropConnection(abort=True),
        lambda session: session.resumeReceiving(),
        lambda session: session.pauseReceiving(),
        lambda session: session.drain(),
        lambda session: session.flush(),
        lambda session: session.factory.shutdown(),
        lambda session: (session.factory.shutdown(), session.factory.shutdown()),
    ],
)
def test_no_callback_runs_inside_a_call_that_the_user_makes(call: Callable[[RecordingServer], object]) -> None:
    one = stalled()
    one.session.pauseReceiving()
    one.exchange(text("waits"))
    before = one.session.names
    call(one.session)

    assert one.session.names == before


@pytest.mark.parametrize(
    "call", [lambda s: s.sendClose(), lambda s: s.dropConnection(), lambda s: s.factory.shutdown()]
)
def test_who_waits_in_drain_does_not_go_on_inside_a_call_of_another(call: Callable[[RecordingServer], object]) -> None:
    async def wait() -> None:
        try:
            await one.session.drain()
        except ConnectionClosed:
            one.session.calls.append(("closed",))

    one = stalled()
    one.session.sendMessage(bytes(200_000), isBinary=True)
    waiting = one.session.factory.flavour.futures.from_result(wait())
    before = [*one.session.names]
    call(one.session)
    during = [*one.session.names]
    one.run()

    assert waiting is not None
    assert during == before
    assert "closed" in one.session.names


def test_dropping_a_client_that_is_not_connected_calls_back_later() -> None:
    class Impatient(RecordingClient):
        def onConnecting(self, details: object) -> None:
            super().onConnecting(details)
            self.dropConnection()
            self.calls.append(("dropped",))

    one = alone(Impatient, opened=False)
    one.run()

    assert one.session.names == ["onConnecting", "dropped", "onHandshakeFailed", "onClose"]


def test_nothing_is_called_for_the_send_buffer_after_the_loss() -> None:
    """Neither that it is full, when the loss comes first, nor that it is empty, for what waited is gone."""
    one = stalled()
    one.session.sendMessage(bytes(200_000), isBinary=True)
    one.session._ws_transport_lost("gone")
    one.clock.advance(1)

    assert one.session.names[2:] == ["onSendPaused", "onClose"]


# An application that is stuck.


def stuck_lines(one: Alone[Slow]) -> list[str]:
    log = one.session.factory.flavour.log
    assert isinstance(log, Log)
    return [line for level, line in log.lines if level == "warn"]


def test_a_message_that_is_handled_for_30_s_with_the_queue_full_is_logged_once() -> None:
    one = slow(maxQueue=1)
    one.exchange(text("a"), binary(bytes(PARKED)))
    one.advance(29.9)
    before = stuck_lines(one)
    one.advance(0.2)
    after = stuck_lines(one)
    one.advance(1000)

    assert before == []
    assert len(after) == 1
    assert "Slow: onMessage has been handling one message for 30 s" in after[0]
    assert stuck_lines(one) == after


def test_messages_that_each_take_less_are_not_logged() -> None:
    """However long the queue stays full."""
    one = slow(maxQueue=3)
    one.exchange(*[binary(bytes(PARKED))] * 4)
    for _ in range(2):
        one.advance(29)
        one.session.end()
    still_full = one.wire.paused
    one.advance(29)

    assert still_full
    assert stuck_lines(one) == []


def test_the_time_of_each_message_counts_by_itself() -> None:
    one = slow(maxQueue=3)
    one.exchange(*[binary(bytes(PARKED))] * 4)
    one.advance(20)
    one.session.end()
    one.advance(29.9)
    before = stuck_lines(one)
    one.advance(0.2)

    assert before == []
    assert len(stuck_lines(one)) == 1


def test_a_pause_of_the_application_is_no_fault_of_it() -> None:
    one = slow(maxQueue=1)
    one.session.pauseReceiving()
    one.exchange(text("a"), binary(bytes(PARKED)))
    full = one.wire.paused
    one.advance(100)

    assert full
    assert stuck_lines(one) == []


def test_a_long_time_with_room_in_the_queue_is_not_logged() -> None:
    one = slow()
    one.exchange(text("a"))
    one.advance(100)

    assert stuck_lines(one) == []


def test_onclose_after_a_loss_with_everything_stuck() -> None:
    one = slow(maxQueue=1)
    one.exchange(text("a"), binary(bytes(PARKED)), text("b"))
    one.lose("gone")
    for _ in range(3):
        one.session.end()

    assert one.session.calls[-1] == ("onClose", False, 1006, "gone")
    assert one.session.closeInfo is not None
    assert one.session.closeInfo.cause is CloseCause.CONNECTION_LOST
    assert one.clock.getDelayedCalls() == []


@pytest.mark.parametrize(("name", "frame"), [("onPing", ping), ("onPong", pong)])
def test_control_frames_without_end_do_not_pile_up_callbacks(name: str, frame: Callable[[bytes], Frame]) -> None:
    """Each Ping is answered; the application is told of the newest once it keeps up again, of none after onClose."""

    class Busy(RecordingServer):
        futures: ClassVar[list[Future]] = []

        def _control(self, payload: bytes) -> Future:
            self.calls.append(("told", payload))
            self.futures.append(Future())
            return self.futures[-1]

        onPing = onPong = _control

    one = alone(ServerFactory(Busy))
    pongs = [answer for number in range(100) for answer in one.exchange(frame(b"%d" % number))]
    before = len(one.session.calls)
    Busy.futures[0].resolve()
    after = one.session.calls[-1]
    one.exchange(frame(b"last"), close(1000))
    one.lose()
    for future in Busy.futures:
        future.resolve()

    assert len(pongs) == (100 if name == "onPing" else 0)
    assert before == 2 + 32
    assert after == ("told", b"99")
    assert one.session.names[-1] == "onClose"
