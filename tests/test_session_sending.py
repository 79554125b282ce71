"""What is sent: what may be, in which order, and how a sender learns that it is too fast."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from wsfactory.errors import ConnectionClosed, InvalidPayload, InvalidState, WebSocketError
from wsfactory.testing import (
    Alone,
    Frame,
    Future,
    RecordingClient,
    RecordingServer,
    ServerFactory,
    alone,
    binary,
    close,
    linked_pair,
    ping,
    pong,
    text,
)


def stalled(**options: Any) -> Alone[RecordingServer]:
    """Return a server whose wire takes one write, and passes nothing on until it has room."""
    one = alone(ServerFactory(RecordingServer, **options))
    one.wire.capacity = one.wire.room = 0
    return one


def frames(one: Alone[RecordingServer]) -> list[Frame]:
    one.wire.room = None
    one.run()
    return one.peer.frames()


def outcome(future: object) -> Future:
    assert isinstance(future, Future)
    return future


# What may be sent.


@pytest.mark.parametrize(
    "payload", ["grüße", "grüße".encode(), bytearray("grüße".encode()), memoryview("grüße".encode())]
)
def test_text_is_str_or_utf8(payload: Any) -> None:
    one = alone(RecordingServer)
    one.session.sendMessage(payload)

    assert frames(one) == [text("grüße")]


@pytest.mark.parametrize(
    "payload", [b"\xff\x00", bytearray(b"\xff\x00"), memoryview(b"\xff\x00"), memoryview(b"\xff.\x00")[::2]]
)
def test_binary_is_anything_made_of_bytes(payload: Any) -> None:
    one = alone(RecordingServer)
    one.session.sendMessage(payload, isBinary=True)

    assert frames(one) == [binary(b"\xff\x00")]


@pytest.mark.parametrize("payload", [b"\xff", bytearray(b"\xc3"), memoryview(b"\xed\xa0\x80"), "\ud800"])
def test_text_that_is_not_utf8_is_refused(payload: Any) -> None:
    """And nothing of it is sent."""
    one = alone(RecordingServer)

    with pytest.raises(InvalidPayload, match="UTF-8"):
        one.session.sendMessage(payload)
    assert frames(one) == []
    assert one.session.isOpen


@pytest.mark.parametrize(
    ("payload", "is_binary"), [("text", True), (None, False), (5, True), ([b"x"], True), ({"a": 1}, False)]
)
def test_what_is_no_payload_is_a_typeerror_that_says_what_is(payload: Any, is_binary: bool) -> None:
    one = alone(RecordingServer)

    with pytest.raises(TypeError, match=f"bytes, bytearray or memoryview, not {type(payload).__name__}"):
        one.session.sendMessage(payload, is_binary)


def test_what_changes_later_is_sent_as_it_was() -> None:
    one = stalled()
    one.session.sendMessage("first")
    payload = bytearray(b"before")
    one.session.sendMessage(payload)
    one.session.sendMessage(memoryview(payload), isBinary=True)
    payload[:] = b"after!"

    assert frames(one) == [text("first"), text("before"), binary(b"before")]


def test_a_message_of_a_client_is_masked_with_a_key_of_its_own() -> None:
    pair = linked_pair(RecordingServer)
    for _ in range(2):
        pair.client.sendMessage(bytes(4), isBinary=True)
    first, second = pair.client_wire.writes[-2:]

    assert first[:2] == second[:2] == b"\x82\x84"
    assert first[2:6] == first[6:]
    assert first != second


# When it may be sent.


SENDING: dict[str, Callable[[RecordingServer], object]] = {
    "sendMessage": lambda session: session.sendMessage("x"),
    "sendPing": lambda session: session.sendPing(b"x"),
    "sendPong": lambda session: session.sendPong(b"x"),
    "drain": lambda session: outcome(session.drain()).result(),
}
sending = pytest.mark.parametrize("send", SENDING.values(), ids=SENDING)


@sending
def test_before_onopen_there_is_nobody_to_send_to(send: Callable[[RecordingServer], object]) -> None:
    one = alone(RecordingServer, opened=False)

    with pytest.raises(InvalidState, match="from onOpen on"):
        send(one.session)


def test_onopen_may_send() -> None:
    class Greeter(RecordingServer):
        def onOpen(self) -> None:
            self.sendMessage("welcome")

    pair = linked_pair(Greeter)

    assert pair.client.messages == ["welcome"]


@sending
@pytest.mark.parametrize(
    "begin",
    [
        lambda one: one.session.sendClose(),
        lambda one: one.exchange(close(1000)),
        lambda one: one.exchange(Frame(3)),
        lambda one: one.session.dropConnection(),
        lambda one: one.session.dropConnection(abort=True),
        lambda one: (one.peer.wire.finish(), one.run()),
        lambda one: one.lose(),
        lambda one: one.session.factory.shutdown(),
    ],
)
def test_once_closing_has_begun_sending_raises(
    send: Callable[[RecordingServer], object], begin: Callable[[Alone[RecordingServer]], object]
) -> None:
    """Whoever began it, and whatever of it has left."""
    one = stalled()
    begin(one)

    with pytest.raises(ConnectionClosed) as closed:
        send(one.session)
    assert closed.value.closeInfo is not None
    assert not one.session.isOpen


def test_closing_needs_an_open_connection_once() -> None:
    one = alone(RecordingServer, opened=False)
    with pytest.raises(InvalidState):
        one.session.sendClose()
    one.open()
    one.session.sendClose(1000)
    one.session.sendClose(1001)

    assert frames(one) == [close(1000)]


# The order.


def test_messages_leave_in_their_order() -> None:
    one = stalled()
    for number in range(100):
        one.session.sendMessage(str(number))

    assert frames(one) == [text(str(number)) for number in range(100)]


def test_control_frames_overtake_messages_that_wait() -> None:
    one = stalled(writeLimit=1000)
    for number in range(3):
        one.session.sendMessage(bytes([number]) * 1000, isBinary=True)
    one.session.sendPing(b"now")
    answered = one.exchange(ping(b"asked"))

    assert answered == []
    assert [frame.payload[:5] for frame in frames(one)] == [b"\0" * 5, b"asked", b"now", b"\1" * 5, b"\2" * 5]


def test_control_frames_find_a_gap_in_a_large_message() -> None:
    one = stalled(autoFragmentSize=1000, writeLimit=1000)
    one.session.sendMessage(bytes(10_000), isBinary=True)
    one.session.sendPing(b"now")
    sent = frames(one)

    assert [frame.opcode for frame in sent] == [2, 9, *[0] * 9]
    assert b"".join(frame.payload for frame in sent if frame.opcode != 9) == bytes(10_000)
    assert [frame.fin for frame in sent if frame.opcode != 9] == [False] * 9 + [True]


@pytest.mark.parametrize("send", ["sendPing", "sendPong"])
def test_a_control_frame_has_at_most_125_bytes(send: str) -> None:
    one = alone(RecordingServer)
    getattr(one.session, send)(bytes(125))

    with pytest.raises(ValueError, match="126 bytes: 125 are allowed"):
        getattr(one.session, send)(bytes(126))
    assert [frame.payload for frame in frames(one)] == [bytes(125)]


@pytest.mark.parametrize("send", ["sendPing", "sendPong"])
@pytest.mark.parametrize("payload", [bytearray(b"x"), memoryview(b"x")])
def test_a_control_frame_carries_anything_made_of_bytes(send: str, payload: Any) -> None:
    one = alone(RecordingServer)
    getattr(one.session, send)(payload)

    assert frames(one) == [ping(b"x") if send == "sendPing" else pong(b"x")]
    with pytest.raises(TypeError, match="not str"):
        getattr(one.session, send)("x")


# Pongs.


class Ponging(RecordingServer):
    """Sends a Pong of its own for each Ping."""

    later: Future | None = None

    async def onPing(self, payload: bytes) -> None:
        super().onPing(payload)
        if self.later is not None:
            await self.later
        self.sendPong(bytearray(payload))


def test_the_pong_of_onping_is_not_sent_twice() -> None:
    """Autobahn's onPing had to send it; ours is called when it has been."""
    one = alone(Ponging)

    assert one.exchange(ping(b"a"), ping(b"b"), ping(b"a")) == [pong(b"a"), pong(b"b"), pong(b"a")]


def test_a_coroutine_of_onping_may_take_its_time_to_send_it() -> None:
    one = alone(Ponging)
    one.session.later = Future()
    answers = one.exchange(ping(b"a"), ping(b"b"))
    one.session.later.resolve()
    one.run()

    assert answers == [pong(b"a"), pong(b"b")]
    assert one.peer.frames() == []


def test_any_other_pong_is_sent() -> None:
    class Chatty(RecordingServer):
        def onPing(self, payload: bytes) -> None:
            self.sendPong(b"other")

    one = alone(Chatty)
    answers = one.exchange(ping(b"a"))
    one.session.sendPong(b"a")
    one.run()

    assert answers == [pong(b"a"), pong(b"other")]
    assert one.peer.frames() == [pong(b"a")]


# How much waits.


def test_what_is_accepted_and_not_gone_is_counted() -> None:
    one = stalled()
    before = one.session.bufferedAmount
    one.session.sendMessage(bytes(100_000), isBinary=True)
    one.session.sendMessage(bytes(100_000), isBinary=True)
    waiting = one.session.bufferedAmount
    frames(one)

    assert before == 0
    assert 200_000 <= waiting <= 200_020
    assert one.session.bufferedAmount == 0


def test_no_more_than_the_limit_is_handed_over_at_once() -> None:
    one = stalled(writeLimit=10_000)
    one.wire.writes.clear()
    one.session.sendMessage(bytes(35_000), isBinary=True)
    frames(one)

    assert [len(write) for write in one.wire.writes] == [10_000, 10_000, 10_000, 5_004]


def test_flush_hands_over_during_a_read() -> None:
    class Flushing(RecordingServer):
        def onMessage(self, payload: bytes, isBinary: bool) -> None:
            self.sendMessage(payload)
            self.flush()

    one = alone(Flushing)
    one.wire.writes.clear()
    one.exchange(text("a"), text("b"))

    assert len(one.wire.writes) == 2


def test_the_send_buffer_tells_of_its_marks() -> None:
    """Once each, and neither inside sendMessage."""
    one = stalled(writeLimit=(10_000, 2_000))
    one.session.sendMessage(bytes(9_000), isBinary=True)
    one.run()
    below = one.session.names[2:]
    for _ in range(5):
        one.session.sendMessage(bytes(9_000), isBinary=True)
    inside = one.session.names[2:]
    one.run()
    above = one.session.names[2:]
    frames(one)

    assert (below, inside, above) == ([], [], ["onSendPaused"])
    assert one.session.names[2:] == ["onSendPaused", "onSendResumed"]


def test_the_low_mark_is_a_quarter() -> None:
    one = stalled(writeLimit=10_000)
    one.session.sendMessage(bytes(20_000), isBinary=True)
    one.wire.room = 0
    amounts = []
    while "onSendResumed" not in one.session.names:
        amounts.append(one.session.bufferedAmount)
        one.wire.room = 10_000
        one.run()

    assert min(amounts) > 2_500
    assert one.session.bufferedAmount <= 2_500


def test_without_a_limit_nobody_is_told() -> None:
    one = stalled(writeLimit=None)
    one.session.sendMessage(bytes(1_000_000), isBinary=True)
    one.run()

    assert one.session.names[2:] == []
    assert outcome(one.session.drain()).done


# drain().


def test_drain_is_done_while_there_is_room() -> None:
    one = stalled()
    one.session.sendMessage(bytes(60_000), isBinary=True)

    assert outcome(one.session.drain()).done


def test_drain_waits_until_the_low_mark() -> None:
    one = stalled(writeLimit=(10_000, 2_000))
    one.session.sendMessage(bytes(30_000), isBinary=True)
    drained = [outcome(one.session.drain()) for _ in range(2)]
    one.wire.room = 20_000
    one.run()
    early = [future.done for future in drained]
    one.wire.room = None
    one.run()

    assert early == [False, False]
    assert [future.result() for future in drained] == [None, None]


def test_a_sender_that_awaits_drain_never_holds_much_more_than_the_limit() -> None:
    highest = 0

    class Sender(RecordingServer):
        async def onOpen(self) -> None:
            nonlocal highest
            for _ in range(1000):
                self.sendMessage(bytes(1000), isBinary=True)
                highest = max(highest, self.bufferedAmount)
                await self.drain()

    one = alone(ServerFactory(Sender, writeLimit=10_000), opened=False)
    one.wire.capacity = 0
    one.open()

    assert len(one.peer.frames()) == 1000
    assert highest <= 11_020


@pytest.mark.parametrize(
    "begin",
    [
        lambda one: one.session.sendClose(),
        lambda one: one.session.dropConnection(),
        lambda one: one.session.dropConnection(abort=True),
        lambda one: one.exchange(close(1000)),
        lambda one: one.exchange(Frame(3)),
        lambda one: one.peer.wire.finish(),
        lambda one: one.lose(),
    ],
)
def test_who_waits_in_drain_learns_that_it_is_closing(begin: Callable[[Alone[RecordingServer]], object]) -> None:
    one = stalled()
    one.session.sendMessage(bytes(200_000), isBinary=True)
    drained = outcome(one.session.drain())
    begin(one)
    one.run()

    assert drained.done
    with pytest.raises(WebSocketError, match="closing or closed"):
        drained.result()


def test_a_client_sends_as_a_server_does() -> None:
    one = alone(RecordingClient)
    one.session.sendMessage("a")
    one.session.sendPing(b"b")
    one.session.sendMessage(b"c", isBinary=True)
    one.run()

    assert one.peer.frames() == [text("a"), ping(b"b"), binary(b"c")]
