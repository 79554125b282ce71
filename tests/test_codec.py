"""The codec: bytes in, messages and control frames out (RFC 6455 section 5)."""

from __future__ import annotations

import gc
import os
import threading
import tracemalloc
import weakref
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsfactory._codec import COMPILED, Decoder, Encoder, MaskKeys, is_utf8
from wsfactory.errors import InvalidPayload, MessageTooBig, ProtocolError

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
KEY = b"\x12\x80\xff\x07"

Event = tuple[str, bytes]
NAMES = {CLOSE: "close", PING: "ping", PONG: "pong"}


def length_bytes(length: int, size: int | None = None) -> tuple[int, bytes]:
    """Return the 7-bit length and the bytes behind it; *size* asks for a longer form than is right."""
    if size is None:
        size = 0 if length < 126 else 2 if length < 65536 else 8
    return {0: length, 2: 126, 8: 127}[size], length.to_bytes(size, "big") if size else b""


def head(first: int, length: int, *, key: bytes | None = KEY, size: int | None = None) -> bytes:
    short, extended = length_bytes(length, size)
    return bytes((first, short | (0 if key is None else 0x80))) + extended + (key or b"")


def frame(opcode: int, payload: bytes = b"", *, fin: bool = True, rsv: int = 0, key: bytes | None = KEY) -> bytes:
    body = payload if key is None else bytes(byte ^ key[i % 4] for i, byte in enumerate(payload))
    return head((0x80 if fin else 0) | rsv | opcode, len(payload), key=key) + body


class Receiver:
    """A decoder and all that came out of it; stops after each event that *stops_at* holds for."""

    def __init__(
        self,
        masked: bool = True,
        *,
        limits: tuple[int, int, int] = (0, 0, 0),
        inflate: Callable[[bytes], bytes] | None = None,
        stops_at: Callable[[Event], object] = lambda event: False,
    ) -> None:
        self.events: list[Event] = []
        self.stops_at = stops_at
        message, frame_, fragments = limits
        self.decoder = Decoder(
            masked,
            self.deliver,
            self.control,
            max_message=message,
            max_frame=frame_,
            max_fragments=fragments,
            inflate=inflate,
        )

    def deliver(self, payload: bytes, is_binary: bool) -> object:
        assert type(payload) is bytes
        assert type(is_binary) is bool
        return self.add("binary" if is_binary else "text", payload)

    def control(self, opcode: int, payload: bytes) -> object:
        assert type(payload) is bytes
        return self.add(NAMES[opcode], payload)

    def add(self, name: str, payload: bytes) -> object:
        self.events.append((name, payload))
        return self.stops_at(self.events[-1])

    def feed(self, *pieces: bytes) -> list[Event]:
        for piece in pieces:
            self.decoder.receive(piece)
        return self.events

    def feed_bytewise(self, data: bytes) -> list[Event]:
        return self.feed(*(data[i : i + 1] for i in range(len(data))))


def fault(data: bytes, **options: object) -> tuple[type[ProtocolError], str, int]:
    """Return the class of the error that *data* brings about, its text, and how many bytes it took."""
    receiver = Receiver(**options)  # type: ignore[arg-type]
    for i in range(len(data)):
        try:
            receiver.feed(data[i : i + 1])
        except ProtocolError as error:
            whole = Receiver(**options)  # type: ignore[arg-type]
            with pytest.raises(type(error), match=f"^{error}$"):
                whole.feed(data)
            return type(error), str(error), i + 1
    raise AssertionError("there was no fault")


# Messages.


@pytest.mark.parametrize("length", [0, 1, 3, 125, 126, 127, 65535, 65536, 70000])
@pytest.mark.parametrize("masked", [True, False])
def test_a_message_of_any_length_arrives_whole(length: int, masked: bool) -> None:
    payload = bytes(i * 7 & 0xFF for i in range(length))
    receiver = Receiver(masked)

    assert receiver.feed(frame(BINARY, payload, key=KEY if masked else None)) == [("binary", payload)]


@pytest.mark.parametrize("length", [0, 5, 126, 3000, 65536])
def test_a_message_in_single_bytes_arrives_whole(length: int) -> None:
    text = "hällo".encode() * (length // 5)

    assert Receiver().feed_bytewise(frame(TEXT, text)) == [("text", text)]


def test_many_messages_in_one_read_arrive_in_order() -> None:
    payloads = [b"%d" % i * (i % 50) for i in range(500)]

    events = Receiver().feed(b"".join(frame(TEXT, payload) for payload in payloads))

    assert events == [("text", payload) for payload in payloads]


def test_fragments_are_joined() -> None:
    """Section 5.4, also when a character is cut by the fragments, and when some are empty."""
    text = "grüße".encode()
    fragments = [frame(TEXT, text[:3], fin=False), frame(CONTINUATION, b"", fin=False), frame(CONTINUATION, text[3:])]

    assert Receiver().feed(b"".join(fragments)) == [("text", text)]


def test_control_frames_amid_fragments_arrive_at_once() -> None:
    receiver = Receiver()
    receiver.feed(frame(BINARY, b"a", fin=False) + frame(PING, b"1"))

    assert receiver.events == [("ping", b"1")]
    receiver.feed(frame(PONG, b"2") + frame(CONTINUATION, b"b") + frame(CLOSE, b"\x03\xe8"))
    assert receiver.events[1:] == [("pong", b"2"), ("binary", b"ab"), ("close", b"\x03\xe8")]


@pytest.mark.parametrize("rotation", range(4))
def test_the_key_goes_on_where_a_cut_payload_left_it(rotation: int) -> None:
    """Section 5.3: octet i of the payload belongs to octet i modulo 4 of the key, wherever the reads are cut."""
    payload = bytes(range(256)) * 20
    data = frame(BINARY, payload)
    first = 8 + 1000 + rotation

    assert Receiver().feed(data[:first], data[first : first + 77], data[first + 77 :]) == [("binary", payload)]


# Faults.

MASK = 0x80


@pytest.mark.parametrize(
    ("data", "text", "bytes_needed"),
    [
        (frame(TEXT, rsv=0x40), "a frame has RSV1 set", 1),
        (frame(TEXT, rsv=0x20), "a frame has RSV2 or RSV3 set", 1),
        (frame(TEXT, rsv=0x10), "a frame has RSV2 or RSV3 set", 1),
        (frame(3), "a frame has the reserved opcode 3", 1),
        (frame(7), "a frame has the reserved opcode 7", 1),
        (frame(11), "a frame has the reserved opcode 11", 1),
        (frame(15), "a frame has the reserved opcode 15", 1),
        (frame(PING, fin=False), "a control frame is fragmented", 1),
        (frame(CONTINUATION), "a continuation frame continues no message", 1),
        (frame(TEXT, key=None), "a frame is not masked", 2),
        (head(0x89, 126), "a control frame has more than 125 bytes", 2),
        (head(0x88, 70000), "a control frame has more than 125 bytes", 2),
        (head(0x82, 125, size=2), "the length 125 is not encoded in the fewest bytes", 4),
        (head(0x82, 0, size=2), "the length 0 is not encoded in the fewest bytes", 4),
        (head(0x82, 65535, size=8), "the length 65535 is not encoded in the fewest bytes", 10),
        (head(0x82, 2**63), "a length has its most significant bit set", 10),
        (head(0x82, 2**64 - 1), "a length has its most significant bit set", 10),
    ],
)
def test_a_broken_frame_fails_at_the_first_byte_that_shows_it(data: bytes, text: str, bytes_needed: int) -> None:
    assert fault(data) == (ProtocolError, text, bytes_needed)


def test_a_client_refuses_masked_frames() -> None:
    """Section 5.1: "A client MUST close a connection if it detects a masked frame.\""""
    assert fault(frame(TEXT), masked=False) == (ProtocolError, "a frame is masked", 2)


def test_a_second_message_inside_a_fragmented_one_is_refused() -> None:
    data = frame(TEXT, b"a", fin=False)

    assert fault(data + frame(BINARY, b"b")) == (
        ProtocolError,
        "a new message begins inside a fragmented one",
        len(data) + 1,
    )


def test_what_came_before_a_fault_is_delivered() -> None:
    receiver = Receiver()
    with pytest.raises(ProtocolError):
        receiver.feed(frame(TEXT, b"a") + frame(PING, b"b") + frame(3) + frame(TEXT, b"c"))

    assert receiver.events == [("text", b"a"), ("ping", b"b")]


def test_a_failed_decoder_ignores_the_rest() -> None:
    """Section 7.1.7: an endpoint must not go on processing data once the connection failed."""
    receiver = Receiver()
    with pytest.raises(ProtocolError):
        receiver.feed(frame(3))
    receiver.feed(frame(TEXT, b"a"))
    receiver.decoder.resume()

    assert receiver.events == []
    assert receiver.decoder.buffered == 0


# Limits.


def test_a_message_at_the_limit_passes() -> None:
    limits = (10, 10, 1)

    assert Receiver(limits=limits).feed(frame(BINARY, bytes(10))) == [("binary", bytes(10))]


@pytest.mark.parametrize("length", [11, 200, 70000, 2**31, 2**32 + 1, 2**62, 2**63 - 1])
def test_a_message_beyond_the_limit_is_refused_at_its_head(length: int) -> None:
    error = (MessageTooBig, "a message has more than 10 bytes")
    assert fault(head(0x82, length), limits=(10, 0, 0))[:2] == error


def memory_taken(action: Callable[[], object]) -> int:
    """Return how many bytes more are in use after *action*."""
    tracemalloc.start()
    try:
        action()
        return tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()


def test_an_announced_length_takes_no_memory() -> None:
    receiver = Receiver()
    taken = memory_taken(lambda: receiver.feed(head(0x82, 2**62), b"abc"))

    assert receiver.decoder.buffered == 3
    assert taken < 5000


@pytest.mark.parametrize("fin", [True, False])
def test_the_memory_of_a_big_message_does_not_stay(fin: bool) -> None:
    size = 1 << 20
    data = head(0x82 if fin else 0x02, size, key=None) + bytes(size) + (b"" if fin else frame(CONTINUATION, key=None))
    received: list[int] = []
    decoder = Decoder(
        False,
        lambda payload, is_binary: received.append(len(payload)),
        print,
        max_message=0,
        max_frame=0,
        max_fragments=0,
    )

    def receive() -> None:
        for i in range(0, len(data), 65536):
            decoder.receive(data[i : i + 65536])

    assert memory_taken(receive) < 10_000
    assert received == [size]


@pytest.mark.parametrize("length", [11, 126, 2**63 - 1])
def test_a_frame_beyond_its_limit_is_refused(length: int) -> None:
    error = (MessageTooBig, f"a frame has {length} bytes, more than 10")
    assert fault(head(0x82, length), limits=(0, 10, 0))[:2] == error


def test_fragments_beyond_the_message_limit_are_refused_before_their_payload() -> None:
    data = frame(BINARY, bytes(6), fin=False) + head(0x80, 5)

    assert fault(data, limits=(10, 0, 0)) == (MessageTooBig, "a message has more than 10 bytes", len(data) - 4)


def test_the_limits_do_not_hold_for_control_frames() -> None:
    events = Receiver(limits=(1, 1, 1)).feed(frame(BINARY, b"", fin=False) + frame(PING, bytes(125)))

    assert events == [("ping", bytes(125))]


def test_empty_fragments_count() -> None:
    """Twenty thousand empty continuations must not pass below a limit in bytes."""
    data = frame(TEXT, fin=False) + frame(CONTINUATION, fin=False) * 9
    receiver = Receiver(limits=(100, 100, 10))
    receiver.feed(data)
    with pytest.raises(MessageTooBig, match="more than 10 frames"):
        receiver.feed(frame(CONTINUATION))


def test_the_fragment_count_starts_anew_with_each_message() -> None:
    message = frame(TEXT, b"a", fin=False) + frame(CONTINUATION, b"b")

    assert Receiver(limits=(0, 0, 2)).feed(message * 5) == [("text", b"ab")] * 5


def test_hundreds_of_thousands_of_one_byte_fragments_keep_one_byte_each() -> None:
    """One bytearray, not a list of pieces, whatever the cutting."""
    count = 100_000
    data = frame(BINARY, b"x", fin=False) + frame(CONTINUATION, b"x", fin=False) * count
    receiver = Receiver()
    receiver.feed(data)

    assert receiver.decoder.buffered == count + 1
    assert receiver.feed(frame(CONTINUATION)) == [("binary", b"x" * (count + 1))]


# UTF-8.

INVALID = [
    b"\x80",
    b"\xc0",
    b"\xc1",
    b"\xc2A",
    b"\xe0\x9f",
    b"\xed\xa0",
    b"\xf0\x8f",
    b"\xf4\x90",
    b"\xf5",
    b"\xff",
    b"\xe2\x82A",
    b"\xf0\x9f\x98A",
]


@pytest.mark.parametrize("sequence", INVALID)
@pytest.mark.parametrize("before", [b"", b"plain", "ñandú€😀".encode(), b"x" * 200])
def test_text_fails_at_the_first_impossible_byte_inside_a_partial_frame(sequence: bytes, before: bytes) -> None:
    data = frame(TEXT, before + sequence + bytes(1000))
    bytes_needed = 8 + len(before + sequence)
    receiver = Receiver()
    receiver.feed(data[: bytes_needed - 1])
    with pytest.raises(InvalidPayload, match="a text message is not UTF-8"):
        receiver.feed(data[bytes_needed - 1 : bytes_needed])
    assert receiver.events == []


@pytest.mark.parametrize("sequence", INVALID)
def test_text_fails_at_the_first_impossible_byte_inside_a_fragment(sequence: bytes) -> None:
    begin = frame(TEXT, sequence[:1], fin=False) if len(sequence) > 1 else frame(TEXT, b"", fin=False)
    rest = sequence[1:] if len(sequence) > 1 else sequence
    data = begin + frame(CONTINUATION, rest, fin=False)

    assert fault(data) == (InvalidPayload, "a text message is not UTF-8", len(data))


@pytest.mark.parametrize("end", [b"\xc3", b"\xe2\x82", b"\xf0\x9f\x98"])
def test_text_may_not_end_inside_a_character(end: bytes) -> None:
    assert fault(frame(TEXT, b"abc" + end))[0] is InvalidPayload
    assert fault(frame(TEXT, b"abc", fin=False) + frame(CONTINUATION, end))[0] is InvalidPayload


def test_binary_may_be_anything() -> None:
    payload = bytes(range(256))

    assert Receiver().feed(frame(BINARY, payload[:9], fin=False), frame(CONTINUATION, payload[9:])) == [
        ("binary", payload)
    ]


def reference_is_utf8(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


BOUNDARIES = bytes.fromhex("00417f808f909fa0bfc0c1c2dfe0e1ecedeeeff0f1f3f4f5ff")


@pytest.mark.parametrize("before", [b"", b"x" * 61])
def test_is_utf8_agrees_with_the_standard_library(before: bytes) -> None:
    two = [bytes((a, b)) for a in BOUNDARIES for b in BOUNDARIES]
    three = [pair + bytes((c,)) for pair in two for c in BOUNDARIES]
    four = [triple + bytes((d,)) for triple in three if triple[0] >= 0xEF for d in BOUNDARIES]

    assert [data for data in two + three + four if is_utf8(before + data) != reference_is_utf8(before + data)] == []


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_is_utf8_takes_any_bytes(kind: type[bytes | bytearray | memoryview]) -> None:
    assert is_utf8(kind("grüße".encode()))
    assert not is_utf8(kind(b"gr\xfc\xdfe"))


def may_become_utf8(data: bytes) -> bool:
    """Return whether *data* followed by something is UTF-8; these are the ways in which a character can go on."""
    rests = (b"", b"\x80", b"\x80\x80", b"\xbf\x80", b"\x80\x80\x80", b"\xbf\x80\x80")
    return any(reference_is_utf8(data + rest) for rest in rests)


@given(st.text(), st.binary(), st.data())
def test_text_fails_exactly_where_it_can_no_longer_become_utf8(text: str, garbage: bytes, data: st.DataObject) -> None:
    payload = text.encode()
    at = data.draw(st.integers(0, len(payload)))
    payload = payload[:at] + garbage + payload[at:]
    receiver = Receiver(masked=False)
    receiver.feed(head(0x01, len(payload) + 10, key=None))
    taken = 0
    try:
        for taken in range(1, len(payload) + 1):
            receiver.feed(payload[taken - 1 : taken])
    except InvalidPayload:
        taken -= 1
    viable = [n for n in range(len(payload) + 1) if may_become_utf8(payload[:n])]

    assert taken == len(viable) - 1


# Stopping.


def test_a_truthy_answer_stops_after_the_message() -> None:
    receiver = Receiver(stops_at=lambda event: event == ("text", b"a"))
    receiver.feed(frame(TEXT, b"a") + frame(TEXT, b"b"), frame(PING))
    stopped_with = list(receiver.events), receiver.decoder.stopped
    receiver.decoder.resume()

    assert stopped_with == ([("text", b"a")], True)
    assert receiver.events == [("text", b"a"), ("text", b"b"), ("ping", b"")]
    assert not receiver.decoder.stopped


def test_a_truthy_answer_stops_after_a_control_frame() -> None:
    receiver = Receiver(stops_at=lambda event: event[0] == "close")

    assert receiver.feed(frame(CLOSE) + frame(TEXT, b"after"), frame(TEXT, b"after")) == [("close", b"")]


def test_stop_from_outside_keeps_everything_that_comes() -> None:
    receiver = Receiver()
    receiver.decoder.stop()
    receiver.feed(frame(TEXT, b"a"))

    assert receiver.events == []
    assert receiver.decoder.buffered == len(frame(TEXT, b"a"))


def test_a_resumed_decoder_may_stop_at_every_message() -> None:
    receiver = Receiver(stops_at=lambda event: True)
    data = b"".join(frame(BINARY, b"%d" % i) for i in range(300))
    receiver.feed(data[:100], data[100:200])
    receiver.feed_bytewise(data[200:])
    for i in range(300):
        assert len(receiver.events) == i + 1
        receiver.decoder.resume()

    assert receiver.events == [("binary", b"%d" % i) for i in range(300)]
    assert receiver.decoder.buffered == 0


def test_stop_and_resume_inside_deliver_cancel_each_other() -> None:
    def stop_and_resume(event: Event) -> None:
        receiver.decoder.stop()
        receiver.decoder.resume()

    receiver = Receiver(stops_at=stop_and_resume)

    assert receiver.feed(frame(TEXT, b"a") * 3) == [("text", b"a")] * 3


@pytest.mark.parametrize("cut", range(1, 10))
def test_a_stop_inside_a_frame_loses_nothing(cut: int) -> None:
    data = frame(TEXT, b"abc")
    receiver = Receiver()
    receiver.feed(data[:cut])
    receiver.decoder.stop()
    receiver.feed(data[cut:])
    receiver.decoder.resume()

    assert receiver.events == [("text", b"abc")]


@pytest.mark.parametrize("cut", range(1, 10))
def test_bytes_received_inside_deliver_wait_for_their_turn(cut: int) -> None:
    """A re-entrant call only appends; the call under way reads on, also where the appended bytes complete a frame."""
    second = frame(TEXT, b"abc")

    def receive_more(event: Event) -> None:
        if event == ("text", b"first"):
            receiver.decoder.receive(second[cut:])
            assert receiver.events == [("text", b"first")]

    receiver = Receiver(stops_at=receive_more)

    assert receiver.feed(frame(TEXT, b"first") + second[:cut]) == [("text", b"first"), ("text", b"abc")]


class Boom(Exception):
    pass


@pytest.mark.parametrize("name", ["text", "ping"])
@pytest.mark.parametrize("piece_size", [1, 1000])
def test_an_exception_of_a_callback_passes_through_and_loses_nothing_else(name: str, piece_size: int) -> None:
    def explode(event: Event) -> None:
        if event == (name, b"bad"):
            raise Boom

    receiver = Receiver(stops_at=explode)
    opcode = TEXT if name == "text" else PING
    data = frame(TEXT, b"a") + frame(opcode, b"bad") + frame(TEXT, b"c") + frame(TEXT, b"d")
    raised = 0
    for i in range(0, len(data), piece_size):
        try:
            receiver.feed(data[i : i + piece_size])
        except Boom:
            raised += 1
    receiver.feed(frame(PONG))

    assert raised == 1

    assert receiver.events == [("text", b"a"), (name, b"bad"), ("text", b"c"), ("text", b"d"), ("pong", b"")]


def test_an_exception_keeps_bytes_received_meanwhile_in_order() -> None:
    def receive_and_explode(event: Event) -> None:
        if event[1] == b"bad":
            receiver.decoder.receive(frame(TEXT, b"b"))
            raise Boom

    receiver = Receiver(stops_at=receive_and_explode)
    with pytest.raises(Boom):
        receiver.feed(frame(TEXT, b"bad"))

    assert receiver.feed(frame(TEXT, b"c"))[1:] == [("text", b"b"), ("text", b"c")]


def test_buffered_counts_what_waits() -> None:
    receiver = Receiver()
    counts = []
    for piece in (b"\x82", b"\x85" + KEY, b"ab", b"c", b"de", frame(PING, b"xyz")[:-1]):
        receiver.feed(piece)
        counts.append(receiver.decoder.buffered)

    assert counts == [1, 0, 2, 3, 0, 2]


# Compressed messages: the seam for permessage-deflate.


def reverse(payload: bytes) -> bytes:
    return payload[::-1]


def test_a_compressed_message_is_inflated_before_it_is_checked() -> None:
    text = "grüße".encode()
    fragments = frame(TEXT, text[::-1][:2], fin=False, rsv=0x40) + frame(CONTINUATION, text[::-1][2:])
    receiver = Receiver(inflate=reverse)

    assert receiver.feed(frame(TEXT, text[::-1], rsv=0x40) + fragments) == [("text", text)] * 2
    assert receiver.feed(frame(TEXT, text))[2:] == [("text", text)]


def test_an_inflated_message_must_be_utf8() -> None:
    assert fault(frame(TEXT, b"\xff", rsv=0x40), inflate=reverse)[0] is InvalidPayload


def test_an_empty_compressed_message_must_inflate_to_utf8_too() -> None:
    assert fault(frame(TEXT, b"", rsv=0x40), inflate=lambda payload: b"\xff")[0] is InvalidPayload


def test_rsv1_is_only_for_the_first_frame_of_a_message() -> None:
    begun = frame(TEXT, b"a", fin=False, rsv=0x40)

    assert fault(frame(PING, rsv=0x40), inflate=reverse) == (ProtocolError, "a frame has RSV1 set", 1)
    assert fault(begun + frame(CONTINUATION, rsv=0x40), inflate=reverse)[:2] == (ProtocolError, "a frame has RSV1 set")


def test_the_limit_is_for_the_inflated_size() -> None:
    def double(payload: bytes) -> bytes:
        return payload * 2

    options = {"limits": (10, 0, 0), "inflate": double}
    assert Receiver(limits=(10, 0, 0), inflate=double).feed(frame(BINARY, bytes(5), rsv=0x40))
    assert fault(frame(BINARY, bytes(6), rsv=0x40), **options)[0] is MessageTooBig
    assert fault(head(0xC2, 1000), **options)[0] is MessageTooBig


def test_what_does_not_compress_may_be_longer_than_the_limit_before_inflating() -> None:
    receiver = Receiver(limits=(1000, 0, 0), inflate=lambda payload: payload[:1000])

    assert receiver.feed(frame(BINARY, bytes(1005), rsv=0x40)) == [("binary", bytes(1000))]


def test_a_failing_inflate_fails_the_decoder() -> None:
    def fail(payload: bytes) -> bytes:
        raise InvalidPayload("broken deflate stream")

    receiver = Receiver(inflate=fail)
    with pytest.raises(InvalidPayload, match="broken deflate stream"):
        receiver.feed(frame(TEXT, b"x", rsv=0x40))

    assert receiver.feed(frame(TEXT, b"y")) == []


# Any wire, any cutting.

Wire = tuple[bytes, list[Event]]


@st.composite
def wires(draw: st.DrawFn, masked: bool) -> Wire:
    """Messages in any fragments, with control frames between those: the bytes, and the events in them."""
    data, events = bytearray(), []
    keys = st.binary(min_size=4, max_size=4) if masked else st.none()
    for _ in range(draw(st.integers(0, 5))):
        is_text = draw(st.booleans())
        payload = draw(st.text(max_size=80)).encode() if is_text else draw(st.binary(max_size=300))
        cuts = sorted(draw(st.lists(st.integers(0, len(payload)), max_size=4)))
        bounds = [0, *cuts, len(payload)]
        for i in range(len(bounds) - 1):
            for opcode in draw(st.lists(st.sampled_from(list(NAMES)), max_size=2)):
                control = draw(st.binary(max_size=125))
                data += frame(opcode, control, key=draw(keys))
                events.append((NAMES[opcode], control))
            opcode = (TEXT if is_text else BINARY) if i == 0 else CONTINUATION
            data += frame(opcode, payload[bounds[i] : bounds[i + 1]], fin=i == len(bounds) - 2, key=draw(keys))
        events.append(("text" if is_text else "binary", payload))
    return bytes(data), events


@st.composite
def cut(draw: st.DrawFn, data: bytes) -> list[bytes]:
    """Return *data* in pieces, some of them empty."""
    cuts = sorted(draw(st.lists(st.integers(0, len(data)), max_size=20)))
    return [data[a:b] for a, b in zip([0, *cuts], [*cuts, len(data)], strict=True)]


@given(st.data(), st.booleans())
def test_any_fragmentation_and_any_cutting_decodes_to_the_same_events(data: st.DataObject, masked: bool) -> None:
    wire, events = data.draw(wires(masked))

    assert Receiver(masked).feed(*data.draw(cut(wire))) == events
    assert Receiver(masked).feed_bytewise(wire) == events


@given(st.data())
def test_stopping_anywhere_changes_nothing(data: st.DataObject) -> None:
    wire, events = data.draw(wires(True))
    receiver = Receiver(stops_at=lambda event: data.draw(st.booleans()))
    for piece in data.draw(cut(wire)):
        receiver.feed(piece)
        if data.draw(st.booleans()):
            receiver.decoder.resume()
    while receiver.decoder.stopped:
        receiver.decoder.resume()

    assert receiver.events == events
    assert receiver.decoder.buffered == 0


def plausible() -> st.SearchStrategy[bytes]:
    """Garbage that gets past the first checks more often than random bytes do."""
    first = st.sampled_from([0x81, 0x82, 0x01, 0x02, 0x80, 0x00, 0x88, 0x89, 0x8A, 0xC1])
    piece = st.tuples(first, st.integers(0, 255), st.binary(max_size=20)).map(lambda t: bytes(t[:2]) + t[2])
    return st.one_of(st.binary(), st.lists(piece).map(b"".join))


@given(plausible(), st.data(), st.booleans())
def test_garbage_raises_nothing_but_protocol_errors(garbage: bytes, data: st.DataObject, masked: bool) -> None:
    """And the same one, after the same events, whatever the cutting."""
    outcomes = []
    for pieces in ([garbage], data.draw(cut(garbage)), [garbage[i : i + 1] for i in range(len(garbage))]):
        receiver = Receiver(masked, limits=(500, 300, 3))
        error = None
        try:
            receiver.feed(*pieces)
        except ProtocolError as raised:
            error = type(raised), str(raised)
        outcomes.append((error, receiver.events))

    assert outcomes[0] == outcomes[1] == outcomes[2]


# Sending.


@pytest.mark.parametrize("length", [0, 1, 2, 3, 4, 5, 125, 126, 127, 1023, 1024, 1027, 65535, 65536])
def test_a_server_sends_plain_frames(length: int) -> None:
    payload = bytes(i * 7 & 0xFF for i in range(length))

    assert Encoder(None).frame(0x82, payload) == frame(BINARY, payload, key=None)


@pytest.mark.parametrize("length", [0, 1, 2, 3, 4, 5, 125, 126, 127, 1023, 1024, 1027, 65535, 65536])
def test_a_client_sends_masked_frames(length: int) -> None:
    payload = bytes(i * 7 & 0xFF for i in range(length))
    encoder = Encoder(MaskKeys(lambda size: KEY * (size // 4)))

    assert encoder.frame(0x82, payload) == frame(BINARY, payload)


def test_the_first_byte_is_sent_as_it_is() -> None:
    frames = [Encoder(None).frame(first, b"")[0] for first in range(256)]

    assert frames == list(range(256))


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_any_bytes_can_be_sent(kind: type[bytes | bytearray | memoryview]) -> None:
    assert Encoder(None).frame(0x82, kind(b"abc")) == b"\x82\x03abc"


def test_a_view_with_gaps_is_sent_as_what_it_shows() -> None:
    assert Encoder(None).frame(0x82, memoryview(b"a-b-c-")[::2]) == b"\x82\x03abc"


@pytest.mark.parametrize("payload", ["text", 5, None])
def test_what_is_not_bytes_is_refused(payload: object) -> None:
    with pytest.raises(TypeError):
        Encoder(None).frame(0x81, payload)  # type: ignore[arg-type]


@given(st.binary(max_size=2000), st.sampled_from([TEXT, BINARY, PING]), st.booleans())
def test_what_an_encoder_makes_a_decoder_reads(payload: bytes, opcode: int, masked: bool) -> None:
    data = Encoder(MaskKeys() if masked else None).frame(0x80 | opcode, payload)
    receiver = Receiver(masked)
    try:
        receiver.feed(data)
    except ProtocolError:
        assert (opcode == PING and len(payload) > 125) or (opcode == TEXT and not reference_is_utf8(payload))
        return

    assert [event[1] for event in receiver.events] == [payload]


# Keys.


def test_keys_are_the_bytes_of_the_source_and_never_the_same_ones_twice() -> None:
    pool = iter(range(256))

    def source(size: int) -> bytes:
        return b"".join(next(pool).to_bytes(4, "big") for _ in range(4))

    keys = MaskKeys(source)

    assert [keys.next() for _ in range(50)] == [i.to_bytes(4, "big") for i in range(50)]


def test_keys_differ_from_frame_to_frame() -> None:
    encoder = Encoder(MaskKeys())
    keys = {encoder.frame(0x82, b"")[2:6] for _ in range(5000)}

    # Some 3 in 1000 runs see one pair of equal keys among 5000 random ones: that is what random means.
    assert len(keys) >= 4990


def test_threads_never_share_a_key() -> None:
    keys = MaskKeys(counted())
    taken: list[list[bytes]] = [[] for _ in range(4)]

    def take(into: list[bytes]) -> None:
        into.extend(keys.next() for _ in range(5000))

    threads = [threading.Thread(target=take, args=(into,)) for into in taken]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len({key for into in taken for key in into}) == 20_000


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_child_process_takes_other_keys_than_its_parent() -> None:
    """After fork() both hold the same pool; a key that was used twice is no secret."""
    keys, encoder = MaskKeys(), Encoder(MaskKeys())
    keys.next()
    encoder.frame(0x82, b"")

    def taken() -> bytes:
        return b"".join([keys.next(), encoder.frame(0x82, b"")[2:6]])

    theirs, ours = from_child(taken), taken()

    assert len(theirs) == len(ours)
    assert theirs[:4] != ours[:4]
    assert theirs[4:] != ours[4:]


def from_child(taken: Callable[[], bytes]) -> bytes:
    """Return what *taken* returns in a child of this process."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        try:
            os.write(writing, taken())
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    os.close(writing)
    with os.fdopen(reading, "rb") as told:
        return told.read()


def test_keys_are_not_kept_alive_for_the_sake_of_children() -> None:
    keys = MaskKeys()
    there = weakref.ref(keys)
    del keys
    gc.collect()

    assert there() is None


def counted() -> Callable[[int], bytes]:
    """Return a source of random bytes in which no four are like any others."""
    numbers: Iterator[int] = iter(range(1 << 32))

    def source(size: int) -> bytes:
        return b"".join(next(numbers).to_bytes(4, "big") for _ in range(size // 4))

    return source


def test_compiled_is_told() -> None:
    assert type(COMPILED) is bool


def test_it_counts_what_it_delivers() -> None:
    """Messages and their bytes are counted; control frames are not, and an unfinished message is not yet."""
    codec = Decoder(False, lambda *_: None, lambda *_: None, max_message=0, max_frame=0, max_fragments=0)
    codec.receive(b"\x82\x03abc\x89\x02hi\x01\x01a\x80\x01b\x81\x02o")

    assert (codec.messages, codec.payload_bytes) == (2, 5)
