"""The outbox: what waits is whole and unframed, control frames come first, the Close frame last, and marks hold."""

from __future__ import annotations

import pytest

from wsfactory._codec import Encoder
from wsfactory.frames import FIN, Opcode
from wsfactory.outbox import MAX_WAITING_PONGS, Outbox

TEXT = int(Opcode.TEXT)
BINARY = int(Opcode.BINARY)
PING = int(Opcode.PING)
PONG = int(Opcode.PONG)
CLOSE = int(Opcode.CLOSE)
LIMIT = 1000
MARKS = (LIMIT, 250)
HEADER = 2  # a small unmasked frame's


class CountingEncoder(Encoder):
    """Frames, and how many it made."""

    def __init__(self) -> None:
        super().__init__(None)
        self.count = 0

    def frame(self, first_byte: int, payload: bytes | bytearray | memoryview) -> bytes:
        self.count += 1
        return super().frame(first_byte, payload)


class Link:
    """An outbox between a transport that notes what it is given and a session that notes what it hears."""

    def __init__(self, marks: tuple[int, int] = MARKS, fragment_size: int = 0, *, room: bool = False) -> None:
        self.encoder = CountingEncoder()
        self.room = room
        self.writes: list[bytes] = []
        self.said: list[str] = []
        self.outbox = Outbox(self, self, self.encoder, marks, fragment_size)  # type: ignore[arg-type]

    # The transport.

    def write(self, chunks: list[bytes]) -> bool:
        assert chunks
        assert all(chunks)
        self.writes.append(b"".join(chunks))
        return self.room

    # The session.

    def send_paused(self) -> None:
        self.said.append("paused")

    def send_resumed(self) -> None:
        self.said.append("resumed")

    def close_sent(self) -> None:
        self.said.append(f"closed after {len(self.writes)}")

    # What a test does.

    def block(self) -> None:
        """Fill the transport: what comes now has to wait."""
        self.outbox.message(TEXT, b"")
        self.writes.clear()
        self.encoder.count = 0

    def drain(self) -> None:
        """Let the transport send all that it is given."""
        seen = -1
        while seen != len(self.writes):
            seen = len(self.writes)
            self.outbox.writable()

    @property
    def frames(self) -> list[tuple[int, bytes]]:
        return frames_in(b"".join(self.writes))


def frames_in(data: bytes) -> list[tuple[int, bytes]]:
    """Return (first byte, payload) of each unmasked frame."""
    found = []
    while data:
        length, start = data[1], 2
        if length > 125:
            start = 4 if length == 126 else 10
            length = int.from_bytes(data[2:start], "big")
        found.append((data[0], data[start : start + length]))
        data = data[start + length :]
    return found


def whole(opcode: int, payload: bytes) -> tuple[int, bytes]:
    return FIN | opcode, payload


# Handing over.


def test_a_message_leaves_at_once_where_nothing_waits() -> None:
    link = Link()
    link.outbox.message(TEXT, b"hello")

    assert link.frames == [whole(TEXT, b"hello")]


def test_all_replies_to_one_read_leave_in_one_write() -> None:
    link = Link()
    link.outbox.cork()
    for number in range(30):
        link.outbox.message(BINARY, b"%d" % number)
    link.outbox.control(PING, b"?")
    corked = list(link.writes)
    link.outbox.uncork()

    assert corked == []
    assert len(link.writes) == 1
    assert len(link.frames) == 31


def test_a_cork_within_a_cork_holds_until_both_are_gone() -> None:
    link = Link()
    link.outbox.cork()
    link.outbox.cork()
    link.outbox.message(TEXT, b"a")
    link.outbox.uncork()
    link.outbox.message(TEXT, b"b")
    inner = list(link.writes)
    link.outbox.uncork()

    assert inner == []
    assert len(link.writes) == 1


def test_a_transport_that_gets_room_during_a_read_waits_for_its_end() -> None:
    link = Link()
    link.block()
    link.outbox.cork()
    link.outbox.message(TEXT, b"a")
    link.outbox.writable()
    link.outbox.message(TEXT, b"b")
    corked = list(link.writes)
    link.outbox.uncork()

    assert corked == []
    assert len(link.writes) == 1


def test_flush_hands_over_amid_a_read() -> None:
    link = Link(room=True)
    link.outbox.cork()
    link.outbox.message(TEXT, b"a")
    link.outbox.flush()
    flushed = list(link.frames)
    link.outbox.message(TEXT, b"b")
    link.outbox.uncork()

    assert flushed == [whole(TEXT, b"a")]
    assert link.frames == [whole(TEXT, b"a"), whole(TEXT, b"b")]


def test_nothing_to_send_writes_nothing() -> None:
    link = Link()
    link.outbox.cork()
    link.outbox.uncork()
    link.outbox.writable()
    link.outbox.flush()

    assert link.writes == []


def test_what_waits_is_whole_and_unframed_until_it_is_handed_over() -> None:
    link = Link()
    link.block()
    for _ in range(5):
        link.outbox.message(TEXT, b"hello")
    framed_before = link.encoder.count
    link.outbox.writable()

    assert framed_before == 0
    assert link.encoder.count == 5


def test_at_most_write_limit_is_handed_over_at_a_time() -> None:
    link = Link()
    link.block()
    for _ in range(10):
        link.outbox.message(BINARY, bytes(298))
    sizes = []
    for _ in range(4):
        link.outbox.writable()
        sizes.append(len(link.writes[-1]))

    assert sizes == [1000, 1000, 1000, 10 * (298 + 4) - 3000]
    assert link.frames == [whole(BINARY, bytes(298))] * 10


def test_only_what_is_handed_over_is_framed() -> None:
    link = Link()
    link.block()
    for _ in range(100):
        link.outbox.message(BINARY, bytes(98))
    link.outbox.writable()

    assert link.encoder.count == 10


def test_a_transport_that_has_room_is_filled_until_it_has_none() -> None:
    link = Link(room=True)
    link.outbox.message(BINARY, bytes(5000))

    assert [len(data) for data in link.writes] == [1000, 1000, 1000, 1000, 1000, 4]
    assert link.outbox.buffered == 0


def test_a_large_frame_leaves_in_slices_that_make_it_whole() -> None:
    link = Link()
    payload = bytes(range(256)) * 300
    link.outbox.message(BINARY, payload)
    link.drain()

    assert max(map(len, link.writes)) == LIMIT
    assert link.frames == [whole(BINARY, payload)]
    assert link.encoder.count == 1


def test_without_a_limit_everything_leaves_at_once() -> None:
    link = Link((0, 0))
    link.block()
    for _ in range(50):
        link.outbox.message(BINARY, bytes(100_000))
    link.outbox.writable()

    assert len(link.writes) == 1
    assert link.said == []


# What comes first.


@pytest.mark.parametrize("opcode", [PING, PONG])
def test_a_control_frame_overtakes_messages_that_wait(opcode: int) -> None:
    link = Link()
    link.block()
    link.outbox.message(TEXT, b"a")
    link.outbox.message(TEXT, b"b")
    link.outbox.control(opcode, b"now")
    link.outbox.writable()

    assert link.frames == [whole(opcode, b"now"), whole(TEXT, b"a"), whole(TEXT, b"b")]


def test_a_control_frame_waits_for_the_frame_that_is_begun_and_no_longer() -> None:
    link = Link()
    link.outbox.message(BINARY, bytes(2500))
    link.outbox.message(TEXT, b"next")
    link.outbox.control(PING, b"now")
    link.drain()

    assert link.frames == [whole(BINARY, bytes(2500)), whole(PING, b"now"), whole(TEXT, b"next")]


def test_of_many_pongs_only_the_most_recent_wait() -> None:
    """5.5.3: it "MAY elect to send a Pong frame for only the most recently processed Ping"."""
    link = Link()
    link.block()
    for number in range(1000):
        link.outbox.control(PONG, b"%d" % number)
    link.drain()

    assert link.frames == [whole(PONG, b"%d" % number) for number in range(1000 - MAX_WAITING_PONGS, 1000)]


def test_pings_of_the_application_are_all_sent() -> None:
    link = Link()
    link.block()
    for number in range(100):
        link.outbox.control(PING, b"%d" % number)
    link.drain()

    assert link.frames == [whole(PING, b"%d" % number) for number in range(100)]


# Fragments.


def test_a_larger_message_leaves_in_frames_of_the_fragment_size() -> None:
    link = Link(fragment_size=100)
    link.outbox.message(TEXT, bytes(250))
    link.drain()

    assert link.frames == [(TEXT, bytes(100)), (0, bytes(100)), (FIN, bytes(50))]


@pytest.mark.parametrize("size", [0, 99, 100])
def test_a_message_that_fits_a_fragment_is_not_fragmented(size: int) -> None:
    link = Link(fragment_size=100)
    link.outbox.message(TEXT, bytes(size))

    assert link.frames == [whole(TEXT, bytes(size))]


def test_the_last_fragment_is_not_empty() -> None:
    link = Link(fragment_size=100)
    link.outbox.message(TEXT, bytes(200))

    assert link.frames == [(TEXT, bytes(100)), (FIN, bytes(100))]


def test_control_frames_find_a_gap_between_fragments_and_messages_do_not() -> None:
    """5.4: control frames may stand amid a fragmented message; another message must not."""
    link = Link(fragment_size=600)
    link.outbox.message(TEXT, bytes(1800))
    link.outbox.message(TEXT, b"next")
    link.outbox.control(PING, b"now")
    link.drain()

    assert link.frames == [
        (TEXT, bytes(600)),
        (0, bytes(600)),
        whole(PING, b"now"),
        (FIN, bytes(600)),
        whole(TEXT, b"next"),
    ]


def test_a_fragment_beyond_the_write_limit_is_sliced_too() -> None:
    link = Link(fragment_size=2500)
    link.outbox.message(BINARY, bytes(6000))
    link.drain()

    assert max(map(len, link.writes)) == LIMIT
    assert link.frames == [(BINARY, bytes(2500)), (0, bytes(2500)), (FIN, bytes(1000))]
    assert link.outbox.buffered == 0


# Closing.


def test_the_close_frame_leaves_behind_everything_and_nothing_follows_it() -> None:
    """5.5.1: "The application MUST NOT send any more data frames after sending a Close frame."."""
    link = Link(fragment_size=100)
    link.block()
    link.outbox.message(TEXT, bytes(250))
    link.outbox.close(b"\x03\xe8bye")
    link.outbox.message(TEXT, b"before it left")
    link.outbox.control(PING, b"before it left")
    link.drain()
    link.outbox.message(TEXT, b"too late")
    link.outbox.control(PING, b"too late")
    link.outbox.control(PONG, b"too late")
    link.drain()

    assert link.frames[0] == whole(PING, b"before it left")
    assert link.frames[-2:] == [whole(TEXT, b"before it left"), whole(CLOSE, b"\x03\xe8bye")]
    assert len(link.frames) == 6
    assert link.outbox.closed


def test_an_empty_close_frame_is_a_frame() -> None:
    link = Link()
    link.outbox.close(b"")

    assert link.frames == [whole(CLOSE, b"")]
    assert link.said == ["closed after 1"]


def test_it_is_told_once_that_the_close_frame_has_been_handed_over() -> None:
    link = Link()
    link.block()
    link.outbox.message(BINARY, bytes(2000))
    link.outbox.close(b"\x03\xe8")
    waiting = [text for text in link.said if "closed" in text]
    link.drain()
    link.drain()

    assert waiting == []
    assert [text for text in link.said if "closed" in text] == ["closed after 3"]


def test_a_close_frame_that_is_cut_counts_once_it_is_whole() -> None:
    link = Link()
    link.block()
    link.outbox.message(BINARY, bytes(LIMIT - 6))
    link.outbox.close(bytes([3, 232]) + b"reason")
    link.outbox.writable()
    cut = [text for text in link.said if "closed" in text]
    link.outbox.message(TEXT, b"too late")
    link.drain()

    assert cut == []
    assert link.frames[-1] == whole(CLOSE, b"\x03\xe8reason")
    assert [text for text in link.said if "closed" in text] == ["closed after 2"]


def test_an_end_without_a_close_frame_comes_behind_what_waits() -> None:
    link = Link()
    link.block()
    link.outbox.message(TEXT, b"last")
    link.outbox.close(None)
    early = list(link.said)
    link.drain()
    link.outbox.control(PONG, b"too late")
    link.drain()

    assert early == []
    assert link.frames == [whole(TEXT, b"last")]
    assert link.said == ["closed after 1"]


def test_an_end_without_a_close_frame_may_have_nothing_to_wait_for() -> None:
    link = Link()
    link.outbox.close(None)

    assert link.writes == []
    assert link.said == ["closed after 0"]


def test_a_close_frame_of_a_read_leaves_with_the_replies_to_it() -> None:
    link = Link()
    link.outbox.cork()
    link.outbox.message(TEXT, b"a")
    link.outbox.close(b"")
    corked = list(link.said)
    link.outbox.uncork()

    assert corked == []
    assert link.said == ["closed after 1"]


# Marks.


def test_it_says_once_that_the_high_mark_was_passed_and_once_that_the_low_one_is_reached() -> None:
    link = Link()
    link.block()
    said = []
    for _ in range(21):
        link.outbox.message(BINARY, bytes(100))
        said.append(list(link.said))

    # With the frame that fills the transport the tenth message makes 1002 bytes.
    assert said[8] == []
    assert said[9] == said[20] == ["paused"]
    assert link.outbox.over
    link.drain()
    assert link.said == ["paused", "resumed"]
    assert not link.outbox.over


def test_between_the_marks_nothing_is_said() -> None:
    link = Link()
    link.block()
    link.outbox.message(BINARY, bytes(2000))
    buffered, said = [], []
    for _ in range(3):
        link.outbox.writable()
        buffered.append(link.outbox.buffered)
        said.append("resumed" in link.said)

    # 1000 handed over and 1004 waiting, 1000 and 4, and then only the last 4.
    assert buffered == [2004, 1004, 4]
    assert said == [False, False, True]


def test_exactly_the_high_mark_is_not_over_it() -> None:
    link = Link()
    link.outbox.cork()
    link.outbox.message(BINARY, bytes(LIMIT))

    assert not link.outbox.over


def test_a_burst_during_a_read_that_leaves_at_its_end_pauses_and_resumes() -> None:
    link = Link(room=True)
    link.outbox.cork()
    link.outbox.message(BINARY, bytes(5000))
    link.outbox.uncork()

    assert link.said == ["paused", "resumed"]


def test_what_is_sent_on_hearing_that_there_is_room_is_sent() -> None:
    link = Link()
    link.send_resumed = lambda: link.outbox.message(TEXT, b"more")  # type: ignore[method-assign]
    link.block()
    link.outbox.message(BINARY, bytes(2000))
    link.drain()

    assert link.frames[-1] == whole(TEXT, b"more")
    assert link.outbox.buffered == 0


# What it counts.


def test_buffered_counts_what_waits_and_what_the_transport_has_not_reported_gone() -> None:
    link = Link()
    amounts = []
    link.outbox.message(TEXT, b"12345")
    amounts.append(link.outbox.buffered)
    link.outbox.message(TEXT, b"678")
    amounts.append(link.outbox.buffered)
    link.outbox.writable()
    amounts.append(link.outbox.buffered)
    link.outbox.writable()
    amounts.append(link.outbox.buffered)

    assert amounts == [5 + HEADER, 5 + HEADER + 3, 3 + HEADER, 0]


@pytest.mark.parametrize("fragment_size", [0, 7, 600, 5000])
def test_when_all_has_left_nothing_is_left(fragment_size: int) -> None:
    link = Link(fragment_size=fragment_size)
    for size in (0, 1, 125, 126, 999, 1000, 1001, 70_000):
        link.outbox.message(BINARY, bytes(size))
        link.outbox.control(PING, bytes(size % 126))
    link.drain()

    assert (link.outbox.waiting, link.outbox.buffered) == (0, 0)
    assert b"".join(payload for byte, payload in link.frames if byte & 15 != PING) == bytes(73_252)


def test_messages_and_their_bytes_are_counted() -> None:
    link = Link(fragment_size=2)
    for payload in (b"12345", b"", b"678"):
        link.outbox.message(TEXT, payload)
    link.outbox.control(PING, b"not counted")
    link.drain()

    assert (link.outbox.messages_sent, link.outbox.bytes_sent) == (3, 8)


@pytest.mark.parametrize("fragment_size", [0, 2])
def test_a_message_counts_once_it_is_taken_out_to_be_sent(fragment_size: int) -> None:
    """What is discarded before that has not been sent."""
    link = Link(fragment_size=fragment_size)
    link.block()
    link.outbox.message(TEXT, b"12345")
    waiting = link.outbox.messages_sent, link.outbox.bytes_sent
    link.outbox.writable()
    begun = link.outbox.messages_sent, link.outbox.bytes_sent
    link.outbox.message(TEXT, b"678")
    link.outbox.discard()

    assert (waiting, begun) == ((1, 0), (2, 5))
    assert (link.outbox.messages_sent, link.outbox.bytes_sent) == begun


# The end.


def test_after_discard_nothing_is_handed_over_or_kept() -> None:
    link = Link(fragment_size=600)
    link.outbox.message(BINARY, bytes(5000))
    link.outbox.control(PING, b"?")
    link.outbox.close(b"")
    link.outbox.discard()
    link.writes.clear()
    link.outbox.writable()
    link.drain()

    assert link.writes == []
    assert link.outbox.buffered == 0


def test_after_discard_nothing_is_said() -> None:
    link = Link()
    link.outbox.cork()
    link.outbox.message(BINARY, bytes(5000))
    link.outbox.close(b"")
    link.outbox.discard()
    link.outbox.uncork()
    link.outbox.writable()

    assert link.said == ["paused"]
    assert not link.outbox.over
