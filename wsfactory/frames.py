"""RFC 6455's vocabulary: opcodes, close codes, the payload of a Close frame.

Values only: no state, no I/O.  This module is never compiled.
"""

from __future__ import annotations

from enum import IntEnum

from wsfactory.errors import InvalidPayload, ProtocolError

__all__ = [
    "CloseCode",
    "Opcode",
    "close_payload",
    "may_be_sent",
    "parse_close",
]

FIN = 0x80
RSV1 = 0x40

MAX_CONTROL_PAYLOAD = 125
MAX_CLOSE_REASON_BYTES = MAX_CONTROL_PAYLOAD - 2


class Opcode(IntEnum):
    """Section 5.2: what a frame carries."""

    CONTINUATION = 0x0
    TEXT = 0x1
    BINARY = 0x2
    CLOSE = 0x8
    PING = 0x9
    PONG = 0xA


class CloseCode(IntEnum):
    """Section 7.4.1, and the registry it opened."""

    NORMAL = 1000
    GOING_AWAY = 1001
    PROTOCOL_ERROR = 1002
    UNSUPPORTED_DATA = 1003
    NO_STATUS = 1005
    ABNORMAL = 1006
    INVALID_PAYLOAD = 1007
    POLICY_VIOLATION = 1008
    MESSAGE_TOO_BIG = 1009
    MANDATORY_EXTENSION = 1010
    INTERNAL_ERROR = 1011
    SERVICE_RESTART = 1012
    TRY_AGAIN_LATER = 1013
    BAD_GATEWAY = 1014
    TLS_HANDSHAKE = 1015


# 7.4.1: 1004 is reserved; 1005, 1006 and 1015 "MUST NOT be set as a status code in a Close control frame".
_REGISTERED = frozenset({1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014})
SENDABLE = "1000-1003, 1007-1014 or 3000-4999"


def may_be_sent(code: int) -> bool:
    """Return whether *code* may stand in a Close frame (sections 7.4.1 and 7.4.2)."""
    return code in _REGISTERED or 3000 <= code <= 4999


def close_payload(code: int | None, reason: str = "") -> bytes:
    """Return the payload of a Close frame; a long *reason* is cut at a character, to 123 bytes (section 5.5).

    Raises ``ValueError`` for a code that an endpoint may not send, or a reason without a code.
    """
    if code is None:
        if reason:
            raise ValueError("a close reason needs a close code")
        return b""
    if not may_be_sent(code):
        raise ValueError(f"close code {code!r} may not be sent: allowed are {SENDABLE}")
    return code.to_bytes(2, "big") + _cut(reason)


def parse_close(payload: bytes) -> tuple[int, str]:
    """Return the (code, reason) of a Close frame; an empty payload gives (1005, "").

    Raises ``ProtocolError`` for a one-byte payload or a forbidden code, ``InvalidPayload`` for a reason not in UTF-8.
    """
    if not payload:
        return int(CloseCode.NO_STATUS), ""
    # 5.5.1: "If there is a body, the first two bytes of the body MUST be a 2-byte unsigned integer"
    if len(payload) == 1:
        raise ProtocolError("a Close frame has a payload of one byte")
    code = int.from_bytes(payload[:2], "big")
    if not may_be_sent(code):
        raise ProtocolError(f"a Close frame carries the code {code}")
    try:
        return code, str(payload[2:], "utf-8")
    except UnicodeDecodeError:
        raise InvalidPayload("a close reason is not UTF-8") from None


def _cut(reason: str) -> bytes:
    return reason.encode("utf-8", "replace")[:MAX_CLOSE_REASON_BYTES].decode("utf-8", "ignore").encode()
