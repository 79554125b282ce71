"""Masking and UTF-8 as the pure build has them; tests/test_codec_parity.py compares the compiled ones with these."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsfactory import _payload

KEY = b"\x01\x80\xfe\x33"
SIZES = [*range(9), 31, 32, 33, 125, 126, 127, 1023, 1024, 1025, 1026, 1027, 65535, 65536]


def masked(payload: bytes, key: bytes = KEY) -> bytes:
    """Section 5.3, to the letter: "j = i MOD 4; transformed-octet-i = original-octet-i XOR masking-key-octet-j"."""
    return bytes(octet ^ key[i % 4] for i, octet in enumerate(payload))


def some_bytes(size: int) -> bytes:
    return bytes(i * 31 & 0xFF for i in range(size))


@pytest.mark.parametrize("size", SIZES)
def test_the_key_in_front_of_a_payload_unmasks_it(size: int) -> None:
    payload = some_bytes(size)
    data = b"before" + KEY + masked(payload) + b"behind"

    assert _payload.unmasked(data, 10, 10 + size) == payload


@pytest.mark.parametrize("offset", [0, 1, 2, 3, 4, 1001])
@pytest.mark.parametrize("size", SIZES)
def test_a_later_part_is_unmasked_with_the_key_turned(size: int, offset: int) -> None:
    payload = some_bytes(offset + size)
    data = b"<" + masked(payload)[offset:] + b">"
    into = bytearray(payload[:offset])
    _payload.append_unmasked(into, data, 1, 1 + size, KEY, offset)

    assert into == payload


def test_a_plain_part_is_appended_as_it_is() -> None:
    into = bytearray(b"ab")
    _payload.append_plain(into, b"<cd>", 1, 3)

    assert into == b"abcd"


@pytest.mark.parametrize(
    ("text", "whole"),
    [
        (b"", 0),
        (b"abc", 3),
        ("aé€😀".encode(), 10),
        (b"a\xc3", 1),
        (b"a\xe2\x82", 1),
        (b"a\xf0\x9f\x98", 1),
        (b"a\xed\x9f", 1),
        (b"a\xf4\x8f\xbf", 1),
        (b"a\xc3b", -1),
        (b"a\x80", -1),
        (b"a\xed\xa0", -1),
        (b"a\xed\xbf", -1),
        (b"a\xf4\x90", -1),
        (b"a\xe0\x9f", -1),
        (b"a\xf5", -1),
    ],
)
@pytest.mark.parametrize("kind", [bytes, bytearray])
def test_a_prefix_of_utf8_ends_at_a_character(text: bytes, whole: int, kind: type[bytes | bytearray]) -> None:
    """-1 as soon as nothing could make UTF-8 of it, and a surrogate's second byte is such a case."""
    start, end = 5, 5 + len(text)
    data = kind(b"\xff" * start + text + b"\xff")

    assert _payload.utf8_prefix(data, start, end) == (start + whole if whole >= 0 else -1)


@given(st.text(), st.data())
def test_text_checked_in_parts_is_found_whole(text: str, data: st.DataObject) -> None:
    encoded = text.encode()
    checked = 0
    for end in sorted(data.draw(st.lists(st.integers(0, len(encoded))))):
        checked = _payload.utf8_prefix(encoded, checked, max(end, checked))

    assert _payload.utf8_prefix(encoded, checked, len(encoded)) == len(encoded)


LENGTHS = [
    (0, b"\x00"),
    (125, b"\x7d"),
    (126, b"\x7e\x00\x7e"),
    (65535, b"\x7e\xff\xff"),
    (65536, b"\x7f" + bytes(5) + b"\x01\x00\x00"),
]


@pytest.mark.parametrize(("size", "length"), LENGTHS)
def test_a_length_takes_the_fewest_bytes(size: int, length: bytes) -> None:
    """Section 5.2: 7 bits, 7+16 bits, or 7+64 bits."""
    payload = some_bytes(size)

    assert _payload.plain_frame(0x82, payload) == b"\x82" + length + payload


@pytest.mark.parametrize(("size", "length"), LENGTHS)
def test_a_masked_frame_has_its_key_behind_the_length(size: int, length: bytes) -> None:
    payload = some_bytes(size)
    first_length_byte = bytes((length[0] | 0x80,))

    assert _payload.masked_frame(0x81, payload, KEY) == b"\x81" + first_length_byte + length[1:] + KEY + masked(payload)


@pytest.mark.parametrize("first_byte", [0x00, 0x01, 0x80, 0xC2, 0xFF])
def test_the_first_byte_of_a_frame_is_the_callers(first_byte: int) -> None:
    frames = [_payload.plain_frame(first_byte, b"x"), _payload.masked_frame(first_byte, b"x", KEY)]

    assert [frame[0] for frame in frames] == [first_byte, first_byte]
