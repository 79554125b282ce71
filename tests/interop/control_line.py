"""The line between a test and a peer in its own process: JSON, a value a line, over a socket that is the peer's stdin.

Commands go to the peer (``{"id": 1, "do": "send", ...}``); answers and events come back (``{"answer": 1, ...}``,
``{"event": "message", "connection": 2, ...}``).  Imported on both sides, so it needs the standard library only.
"""

from __future__ import annotations

import json
from base64 import b64decode, b64encode

__all__ = ["MAX_LINE", "from_line", "packed", "to_line", "unpacked"]

MAX_LINE = 64 * 2**20

Packed = dict[str, str]


def to_line(value: dict[str, object]) -> bytes:
    """Return *value* as one line."""
    return json.dumps(value).encode() + b"\n"


def from_line(line: bytes) -> dict[str, object]:
    """Return what one line says."""
    value = json.loads(line)
    assert isinstance(value, dict)
    return value


def packed(payload: str | bytes) -> Packed:
    """Return a message's payload, text or binary, as JSON can hold it."""
    return {"text": payload} if isinstance(payload, str) else {"binary": b64encode(payload).decode()}


def unpacked(payload: Packed) -> str | bytes:
    """Return what ``packed`` was given."""
    return payload["text"] if "text" in payload else b64decode(payload["binary"])
