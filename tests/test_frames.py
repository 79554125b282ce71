"""RFC 6455's vocabulary: opcodes, which close codes may be sent, what a Close frame carries (sections 5.5.1, 7.4)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsfactory.errors import InvalidPayload, ProtocolError
from wsfactory.frames import (
    MAX_CLOSE_REASON_BYTES,
    MAX_CONTROL_PAYLOAD,
    CloseCode,
    Opcode,
    close_payload,
    may_be_sent,
    parse_close,
)

SENDABLE = [*range(1000, 1004), *range(1007, 1015), *range(3000, 5000)]


def test_opcodes_are_those_of_section_5_2() -> None:
    assert {opcode.name: opcode.value for opcode in Opcode} == {
        "CONTINUATION": 0,
        "TEXT": 1,
        "BINARY": 2,
        "CLOSE": 8,
        "PING": 9,
        "PONG": 10,
    }


def test_every_code_an_endpoint_may_send_can_be_sent_and_no_other() -> None:
    """7.4: 1004 is reserved; 1005, 1006 and 1015 must not stand in a Close frame; the rest of 0-2999 is unassigned."""
    assert [code for code in range(-1, 0x10001) if may_be_sent(code)] == SENDABLE


def test_what_is_sent_is_what_arrives() -> None:
    assert [parse_close(close_payload(code, "Grüße")) for code in SENDABLE] == [(code, "Grüße") for code in SENDABLE]


def test_an_empty_close_is_read_as_1005() -> None:
    """7.1.5: "If this Close control frame contains no status code, [the code] is considered to be 1005"."""
    assert close_payload(None) == b""
    assert parse_close(b"") == (CloseCode.NO_STATUS, "")


@pytest.mark.parametrize("code", [0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65536, -1])
def test_a_code_that_may_not_be_sent_is_refused_and_the_allowed_ones_are_named(code: int) -> None:
    with pytest.raises(ValueError, match=rf"{code} may not be sent.*1000-1003, 1007-1014 or 3000-4999"):
        close_payload(code)


def test_a_reason_needs_a_code() -> None:
    with pytest.raises(ValueError, match="needs a close code"):
        close_payload(None, "because")


@pytest.mark.parametrize("code", [0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65535])
def test_a_peer_that_sends_a_forbidden_code_breaks_the_protocol(code: int) -> None:
    with pytest.raises(ProtocolError, match=str(code)) as caught:
        parse_close(code.to_bytes(2, "big"))

    assert caught.value.code == CloseCode.PROTOCOL_ERROR


def test_a_close_of_one_byte_breaks_the_protocol() -> None:
    """5.5.1: "If there is a body, the first two bytes of the body MUST be a 2-byte unsigned integer"."""
    with pytest.raises(ProtocolError, match="one byte"):
        parse_close(b"\x03")


def test_a_reason_that_is_not_utf_8_is_an_invalid_payload() -> None:
    with pytest.raises(InvalidPayload) as caught:
        parse_close(b"\x03\xe8\xff")

    assert caught.value.code == CloseCode.INVALID_PAYLOAD


@given(st.text())
def test_a_reason_of_any_text_fits_a_control_frame_and_is_cut_at_a_character(reason: str) -> None:
    payload = close_payload(1000, reason)
    _, arrived = parse_close(payload)
    said = reason.encode("utf-8", "replace").decode()

    assert len(payload) <= MAX_CONTROL_PAYLOAD
    assert said.startswith(arrived)
    assert arrived == said or len(arrived.encode()) > MAX_CLOSE_REASON_BYTES - 4


def test_a_reason_with_half_a_surrogate_pair_leaves_as_utf_8() -> None:
    assert parse_close(close_payload(1000, "a\ud800b")) == (1000, "a?b")
