"""The body of a refusal, as a client collects it (RFC 9112 section 6).

Bytes behind a response head go into a ``BodyReader``; ``body`` holds the content, cut at a bound.  Nothing here raises:
a body that is framed wrongly simply ends there, since all it is wanted for is to be shown.
"""

from __future__ import annotations

import re

from wsfactory.http11 import BODILESS, Response

__all__ = ["BodyReader"]

MAX_BODY = 64 * 1024

_MAX_SIZE_LINE = 1024
_CHUNK_SIZE = re.compile(rb"([0-9A-Fa-f]{1,16})[ \t]*(?:;.*)?\r?\n", re.DOTALL)
_LENGTH = re.compile(r"[0-9]{1,18}")


class BodyReader:
    """Collects at most ``limit`` bytes of the body of *response*, whichever way its end is told."""

    def __init__(self, response: Response, limit: int = MAX_BODY) -> None:
        self._body = bytearray()
        self._limit = limit
        self._is_chunked = _is_chunked(response)
        self._line = bytearray()
        # What is left of the body, or of the chunk that is being read; None: until EOF.
        self._left = 0 if self._is_chunked else _content_length(response)
        self.done = response.status < 200 or response.status in BODILESS or (self._left == 0 and not self._is_chunked)

    @property
    def body(self) -> bytes:
        """What was collected so far."""
        return bytes(self._body)

    def feed(self, data: bytes) -> bool:
        """Take the next bytes; return whether the body is complete, or full."""
        position = 0
        while position < len(data) and not self.done:
            if self._is_chunked and self._left == 0:
                position = self._read_size(data, position)
            else:
                position = self._read_content(data, position)
        return self.done

    def _read_content(self, data: bytes, position: int) -> int:
        left = len(data) if self._left is None else self._left
        part = data[position : position + min(left, self._limit - len(self._body))]
        self._body += part
        if self._left is not None:
            self._left -= len(part)
        self.done = len(self._body) >= self._limit or (self._left == 0 and not self._is_chunked)
        return position + len(part)

    def _read_size(self, data: bytes, position: int) -> int:
        end = data.find(b"\n", position, position + _MAX_SIZE_LINE) + 1 or position + _MAX_SIZE_LINE
        self._line += data[position:end]
        if self._line.endswith(b"\n"):
            self._begin_chunk(bytes(self._line))
        self.done = self.done or len(self._line) >= _MAX_SIZE_LINE
        return end

    def _begin_chunk(self, line: bytes) -> None:
        self._line.clear()
        # 7.1: the line end behind a chunk's data; it stands before the next size
        if line == b"\r\n" and self._body:
            return
        size = _CHUNK_SIZE.fullmatch(line)
        self._left = int(size[1], 16) if size else 0
        self.done = self._left == 0


def _is_chunked(response: Response) -> bool:
    codings = response.headers.tokens("Transfer-Encoding")
    return bool(codings) and codings[-1].lower() == "chunked"


def _content_length(response: Response) -> int | None:
    # 6.3: a Transfer-Encoding that is not chunked, or a length that is none, leaves the end of the connection.
    lengths = set(response.headers.tokens("Content-Length"))
    if len(lengths) != 1 or "Transfer-Encoding" in response.headers:
        return None
    length = lengths.pop()
    return int(length) if _LENGTH.fullmatch(length) else None
