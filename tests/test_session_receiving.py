"""What is received: order, the bound of what waits for the application, pausing, the loss behind it."""

from __future__ import annotations

from typing import Any

import pytest

from wsfactory.testing import (
    Alone,
    Frame,
    Future,
    RecordingServer,
    ServerFactory,
    alone,
    binary,
    close,
    continuation,
    ping,
    pong,
    text,
)

KIB = 1024
# What may be parked beyond the high mark, and what a parked message counts beside its length.
PARKED = 64 * KIB
EACH = 64


class Slow(RecordingServer):
    """Handles a message until ``end`` is called."""

    def __init__(self) -> None:
        super().__init__()
        self.futures: list[Future] = []

    def onMessage(self, payload: bytes, isBinary: bool) -> Future:
        self.calls.append(("onMessage", payload, isBinary))
        self.futures.append(Future())
        return self.futures[-1]

    def end(self, count: int = 1) -> None:
        for _ in range(count):
            self.futures.pop(0).resolve()


class Echo(RecordingServer):
    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        super().onMessage(payload, isBinary)
        self.sendMessage(payload, isBinary)


def slow(**options: Any) -> Alone[Slow]:
    return alone(ServerFactory(Slow, **options))


def taken(one: Alone[Slow], size: int, count: int) -> int:
    """Send *count* binary messages of *size* bytes, each in a read of its own; return how many the session takes."""
    frames = [binary(bytes([number % 256]) * size) for number in range(count)]
    one.peer.wire.read_size = len(frames[0].encode(b"abcd"))
    one.exchange(*frames)
    return count - one.peer.wire.unsent() // one.peer.wire.read_size


# What a message is.


def test_text_and_binary_come_as_bytes() -> None:
    one = alone(RecordingServer)
    one.exchange(text("grüße"), binary(b"\xff"), text(""), binary(b""))

    assert one.session.calls[2:] == [
        ("onMessage", "grüße".encode(), False),
        ("onMessage", b"\xff", True),
        ("onMessage", b"", False),
        ("onMessage", b"", True),
    ]


def test_fragments_are_one_message() -> None:
    one = alone(RecordingServer)
    answers = one.exchange(text("a", fin=False), ping(b"between"), continuation(b"b", fin=False), continuation(b"c"))

    assert answers == [pong(b"between")]
    assert one.session.names[2:] == ["onPing", "onMessage"]
    assert one.session.messages == ["abc"]


@pytest.mark.parametrize("size", [1, 2, 3, 7])
def test_it_does_not_matter_how_the_bytes_are_cut(size: int) -> None:
    one = alone(Echo)
    one.peer.wire.read_size = size

    assert one.exchange(text("grüße"), ping(b"x"), binary(bytes(300))) == [
        text("grüße"),
        pong(b"x"),
        binary(bytes(300)),
    ]


def test_all_replies_to_one_read_leave_in_one_write() -> None:
    one = alone(Echo)
    one.wire.writes.clear()
    one.exchange(*[text("hello"), ping(b"x")] * 100)

    assert len(one.wire.writes) == 1


@pytest.mark.parametrize(
    ("fault", "code"), [(Frame(3), 1002), (text(b"\xff"), 1007), (binary(bytes(101)), 1009), (close(1000), 1000)]
)
def test_what_came_before_a_fault_is_answered_before_the_close(fault: Frame, code: int) -> None:
    one = alone(ServerFactory(Echo, maxMessagePayloadSize=100))
    *answers, last = one.exchange(text("a"), ping(b"b"), text("c"), fault, text("d"))

    assert sorted(answers, key=lambda frame: frame.opcode) == [text("a"), text("c"), pong(b"b")]
    assert (last.opcode, last.payload[:2]) == (8, code.to_bytes(2, "big"))


@pytest.mark.parametrize(
    ("options", "frames"),
    [
        ({"maxMessagePayloadSize": 10}, [binary(bytes(11))]),
        ({"maxMessagePayloadSize": 10}, [binary(bytes(6), fin=False), continuation(bytes(5))]),
        ({"maxFramePayloadSize": 10}, [binary(bytes(11))]),
        ({"maxFragments": 3}, [binary(b"", fin=False), *[continuation(b"", fin=False)] * 3]),
    ],
)
def test_what_is_too_big_is_1009(options: dict[str, Any], frames: list[Frame]) -> None:
    one = alone(ServerFactory(RecordingServer, **options))
    (answer,) = one.exchange(*frames)

    assert answer.payload[:2] == (1009).to_bytes(2, "big")
    assert one.session.messages == []


def test_a_limit_is_checked_before_the_payload_is_here() -> None:
    one = alone(ServerFactory(RecordingServer, maxMessagePayloadSize=1000))
    (answer,) = one.exchange(bytes([0x82, 0xFF]) + (2**40).to_bytes(8, "big"))

    assert answer.payload[:2] == (1009).to_bytes(2, "big")


# The bound of what waits.


def test_the_queue_is_bounded_by_its_count() -> None:
    """32 messages count; then 64 KiB more are parked, each with its length and 64 bytes; then reading pauses."""
    one = slow()
    parked = -(-PARKED // (100 + EACH))

    assert taken(one, 100, 10_000) == 32 + parked
    assert one.wire.paused


def test_the_queue_is_bounded_by_its_bytes() -> None:
    one = slow(maxQueue=0, maxQueueBytes=10_000)
    parked = -(-PARKED // (1000 + EACH))

    assert taken(one, 1000, 1000) == 10 + parked
    assert one.wire.paused


def test_without_bounds_there_are_none() -> None:
    one = slow(maxQueue=None, maxQueueBytes=0)

    assert taken(one, 1000, 10_000) == 10_000


def test_reading_goes_on_at_the_low_mark() -> None:
    """A quarter, unless it is given."""
    one = slow(maxQueue=(10, 3))
    count = taken(one, 40_000, 100)
    assert (count, one.wire.paused) == (12, True)
    one.session.end(8)
    above = one.wire.paused
    one.session.end()
    at = one.wire.paused

    assert (above, at) == (True, False)


def test_the_low_mark_of_the_bytes_counts_too() -> None:
    one = slow(maxQueue=100, maxQueueBytes=(100_000, 15_000))
    count = taken(one, 10_000, 100)
    one.session.end(count - 2)
    above = one.wire.paused
    one.session.end()

    assert (above, one.wire.paused) == (True, False)


def test_one_message_larger_than_the_bound_passes_when_nothing_else_waits() -> None:
    one = slow(maxQueueBytes=1000)
    one.exchange(binary(bytes(500_000)))

    assert one.session.messages == [bytes(500_000)]
    one.session.end()
    assert not one.wire.paused
    one.exchange(binary(bytes(500_001)))
    assert len(one.session.messages) == 2


def test_every_message_is_handled_in_order() -> None:
    """Whatever stopped and went on in between."""
    one = slow(maxQueue=4)
    frames = [text(f"{number:03}" + "x" * 20_000) for number in range(100)]
    one.peer.send(*frames)
    one.run()
    stops = 0
    for _ in range(100):
        stops += one.wire.paused
        one.session.end()
        one.run()

    assert [str(message)[:3] for message in one.session.messages] == [f"{number:03}" for number in range(100)]
    assert stops > 10


def test_the_codec_stops_in_the_middle_of_what_was_read() -> None:
    """A read with thousands of small messages brings no more than the bound and what may be parked."""
    one = slow(maxQueue=2, readLimit=1_000_000)
    one.peer.wire.read_size = 1_000_000
    one.exchange(*[text("")] * 100_000)
    conversation = one.session._ws_conversation
    assert conversation is not None

    assert one.peer.wire.unsent() == 0
    assert len(conversation.inbox) == 2 + PARKED // EACH
    assert conversation.connection.decoder.buffered == (100_000 - len(conversation.inbox)) * 6


def test_control_frames_among_what_is_parked_are_answered() -> None:
    one = slow(maxQueue=1)
    answers = one.exchange(text("a"), text("b"), text("c"), ping(b"1"), close(1000))

    assert answers == [pong(b"1")]
    assert one.session.names[2:] == ["onMessage", "onPing"]


def test_control_frames_behind_that_wait_with_the_rest() -> None:
    one = slow(maxQueue=1)
    frames = [text("a"), binary(bytes(PARKED)), ping(b"1")]
    before = one.exchange(*frames)
    one.session.end(1)
    one.session.end(1)
    one.run()

    assert before == []
    assert one.peer.frames() == [pong(b"1")]


def test_a_fast_application_never_stops_its_peer() -> None:
    one = alone(ServerFactory(RecordingServer, maxQueue=1, maxQueueBytes=1))
    one.exchange(*[binary(bytes(10_000))] * 100)

    assert len(one.session.messages) == 100
    assert not one.wire.paused


# Pausing.


class Pausing(RecordingServer):
    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        super().onMessage(payload, isBinary)
        self.pauseReceiving()


def test_pausing_inside_onmessage_stops_frames_that_were_read_already() -> None:
    one = alone(Pausing)
    answers = one.exchange(text("a"), text("b"), ping(b"c"))
    before = one.session.messages
    one.session.resumeReceiving()
    inside = one.session.messages
    one.run()

    assert answers == [pong(b"c")]
    assert before == inside == ["a"]
    assert one.session.messages == ["a", "b"]


def test_pausing_twice_is_pausing_once() -> None:
    one = alone(RecordingServer)
    one.session.pauseReceiving()
    one.session.pauseReceiving()
    one.exchange(text("a"))
    before = one.session.messages
    one.session.resumeReceiving()
    one.session.resumeReceiving()
    one.run()

    assert before == []
    assert one.session.messages == ["a"]


def test_pausing_again_at_once_stays_paused() -> None:
    one = alone(RecordingServer)
    one.session.pauseReceiving()
    one.session.resumeReceiving()
    one.session.pauseReceiving()
    one.exchange(text("a"))

    assert one.session.messages == []


def test_pausing_before_it_is_open_counts() -> None:
    one = alone(RecordingServer, opened=False)
    one.session.resumeReceiving()
    one.session.pauseReceiving()
    one.open()
    one.exchange(text("a"))
    before = one.session.messages
    one.session.resumeReceiving()
    one.run()

    assert before == []
    assert one.session.messages == ["a"]


def test_the_bound_holds_the_peer_back_while_paused() -> None:
    one = alone(ServerFactory(RecordingServer, maxQueue=1))
    one.session.pauseReceiving()
    one.exchange(*[binary(bytes(10_000))] * 100)
    before = one.wire.paused
    one.session.resumeReceiving()
    one.run()

    assert before
    assert not one.wire.paused
    assert len(one.session.messages) == 100


def test_a_pause_ends_with_the_loss() -> None:
    """Whoever paused for good would never hear the end."""
    one = alone(RecordingServer)
    one.session.pauseReceiving()
    one.exchange(text("a"))
    one.lose()

    assert one.session.names[2:] == ["onMessage", "onClose"]


def test_pausing_after_the_loss_holds_nothing_back() -> None:
    one = slow()
    one.exchange(text("a"), text("b"))
    one.lose()
    one.session.pauseReceiving()
    one.session.end()
    one.session.end()

    assert one.session.names[2:] == ["onMessage", "onMessage", "onClose"]


# The end, with messages waiting.


def test_what_the_codec_has_kept_is_delivered_after_a_loss() -> None:
    one = slow(maxQueue=1)
    one.exchange(text("a"), binary(bytes(PARKED)), text("kept"), close(4000, "bye"))
    one.lose()
    before = one.session.names[2:]
    for _ in range(3):
        one.session.end()

    assert before == ["onMessage"]
    assert one.session.messages == ["a", bytes(PARKED), "kept"]
    assert one.session.calls[-1] == ("onClose", False, 4000, "bye")


def test_eof_behind_what_the_codec_has_kept_takes_effect_behind_it() -> None:
    """As where TLS brings the last data and the end in one read."""
    one = slow(maxQueue=1)
    one.exchange(text("a"), binary(bytes(PARKED)), text("kept"), close(4000, "bye"))
    one.session._ws_eof_reached()
    before = one.session.isOpen
    for _ in range(3):
        one.session.end()
    one.run()

    assert before
    assert one.session.messages == ["a", bytes(PARKED), "kept"]
    assert one.peer.frames() == [close(4000)]


def test_a_slow_application_does_not_keep_the_close_from_being_read() -> None:
    """As far as it lies within what may be parked; it is answered while the peer still waits for that."""
    one = slow(maxQueue=1, closeHandshakeTimeout=10)
    early = one.exchange(text("a"), text("b"), close(1000))
    one.peer.wire.finish()
    one.advance(5.1)
    before = one.peer.lost
    one.session.end(1)
    one.session.end(1)

    assert early == []
    assert one.peer.frames() == [close(1000)]
    assert before is not None
    assert one.session.calls[-1] == ("onClose", True, 1000, "")
