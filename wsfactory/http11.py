"""HTTP/1.1 heads: bytes to values and back (RFC 9112, RFC 9110 section 5).

Bytes go into a ``HeadReader``, cut in whatever pieces; a ``Request`` or a ``Response`` comes out, or ``MalformedHead``,
as soon as that is certain.  Values go into ``encode_request`` and ``encode_response``; bytes come out, or
``ValueError``.  Text is str throughout, one character for each byte (latin-1), so that nothing is lost or invented.

The grammar is strict: what two parsers may understand differently is refused (request smuggling, header injection).
No I/O, no clock.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from typing import Generic, TypeVar
from urllib.parse import parse_qs

from wsfactory.errors import InvalidState, MalformedHead
from wsfactory.headers import BLANK, HeaderPairs, Headers, pairs_of

__all__ = [
    "HeadReader",
    "Headers",
    "Request",
    "Response",
    "encode_request",
    "encode_response",
    "escaped",
    "is_token",
    "phrase",
    "request_reader",
    "response_reader",
    "shown",
]

MAX_LINE = 8 * 1024
MAX_HEADERS = 64 * 1024
MAX_FIELDS = 128

# How much of a peer's text a log or an answer repeats.
MAX_SHOWN = 80

# RFC 9110 15.3.5 and 15.4.5: their answers end with the head, whatever it says.
BODILESS = frozenset({204, 304})

# RFC 9110 5.6.2 and 5.5.  [0-9] and not \d, fullmatch and not $: both of those let more through than they seem to.
TOKEN = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"  # noqa: S105 - a pattern
_TOKEN = re.compile(TOKEN)
_TEXT = re.compile(r"[\t\x20-\x7e\x80-\xff]*")

_REQUEST_LINE = re.compile(rf"({TOKEN}) ([\x21-\x7e]+) (HTTP/[0-9]\.[0-9])")
_STATUS_LINE = re.compile(r"(HTTP/1\.[01]) ([1-9][0-9]{2}) ([\t\x20-\x7e\x80-\xff]*)")
# RFC 9112 3.2: origin-form, or absolute-form; (authority, path, query)
_TARGET = re.compile(r"(?:(?i:https?|wss?)://([^/?#@]+))?(/[^?#]*)?(?:\?([^#]*))?")


@dataclass(frozen=True, slots=True)
class Request:
    """A request head, however it was parsed; ``peer`` is the other side's address as the flavour writes it."""

    method: str
    target: str
    headers: Headers = field(default_factory=Headers)
    version: str = "HTTP/1.1"
    peer: str = ""

    @property
    def path(self) -> str:
        """The path as it was sent, still percent-encoded, without the query."""
        return _split_target(self.target)[1] or "/"

    @property
    def query(self) -> dict[str, list[str]]:
        """The query's names, each with its values, percent-decoded."""
        return parse_qs(_split_target(self.target)[2], keep_blank_values=True)

    @property
    def host(self) -> str:
        """The host, and the port if one was given, that the client asked for; "" if it named none."""
        # RFC 9112 3.2.2: with an absolute-form target a server "MUST ignore the received Host header field"
        return _split_target(self.target)[0] or self.headers.get("Host") or ""

    @property
    def origin(self) -> str | None:
        """The Origin header: where the page came from that opened this connection; None outside of browsers."""
        return self.headers.get("Origin")

    @property
    def subprotocols(self) -> tuple[str, ...]:
        """What the client offers in Sec-WebSocket-Protocol, in its order of preference."""
        return tuple(self.headers.tokens("Sec-WebSocket-Protocol"))

    def encode(self) -> bytes:
        """Return the head's bytes; raises ``ValueError`` like ``encode_request``."""
        return encode_request(self.method, self.target, self.headers)


@dataclass(frozen=True, slots=True)
class Response:
    """A response head, with as much of its body as was collected."""

    status: int
    reason: str = ""
    headers: Headers = field(default_factory=Headers)
    body: bytes = b""
    version: str = "HTTP/1.1"

    @property
    def is_interim(self) -> bool:
        """Whether another response follows (100 Continue, 103 Early Hints): a 1xx that is not 101."""
        return self.status < 200 and self.status != HTTPStatus.SWITCHING_PROTOCOLS


Head = TypeVar("Head", bound=Request | Response)


class HeadReader(Generic[Head]):
    """Collects one head; each byte is looked at a fixed number of times, however the bytes are cut.

    ``max_line`` bounds the first line and ``max_headers`` all the others together, in bytes with their line ends;
    ``max_fields`` bounds the number of header lines.  Nothing beyond a bound is kept.
    """

    def __init__(
        self,
        parse_start: Callable[[str], Head],
        *,
        max_line: int = MAX_LINE,
        max_headers: int = MAX_HEADERS,
        max_fields: int = MAX_FIELDS,
    ) -> None:
        self._parse_start = parse_start
        self._max_headers = max_headers
        self._max_fields = max_fields
        self._room = max_line
        self._too_long = HTTPStatus.REQUEST_URI_TOO_LONG
        self._line = bytearray()
        self._start: Head | None = None
        self._fields: list[tuple[str, str]] = []
        self._is_over = False
        self.rest = b""

    def feed(self, data: bytes) -> Head | None:
        """Take the next bytes; return the head when it is complete (``rest`` is what came behind it), else None.

        Raises ``MalformedHead``.  After a head or an exception the reader has done its work.
        """
        if self._is_over:
            raise InvalidState("this head was read already")
        try:
            return self._read(data)
        except MalformedHead:
            self._finish()
            raise

    def _read(self, data: bytes) -> Head | None:
        position = 0
        while position < len(data):
            stop = min(len(data), position + self._room)
            end = data.find(b"\n", position, stop) + 1
            self._keep(data[position : end or stop])
            position = end or stop
            if end:
                head = self._end_line()
                if head is not None:
                    self.rest = bytes(data[end:])
                    return head
            elif position < len(data):
                raise _malformed(self._too_long, "the head is too long")
        return None

    def _keep(self, part: bytes) -> None:
        self._line += part
        self._room -= len(part)

    def _end_line(self) -> Head | None:
        line = self._line.decode("latin-1")
        self._line.clear()
        # RFC 9112 2.2 lets a recipient take a bare LF for a line end.  We do not: the parser before us may not have.
        if not line.endswith("\r\n"):
            raise _malformed(HTTPStatus.BAD_REQUEST, "a line of the head ends in a bare LF")
        if self._start is None:
            self._begin(line[:-2])
        elif len(line) > 2:
            self._add_field(line[:-2])
        else:
            return self._complete(self._start)
        return None

    def _begin(self, line: str) -> None:
        self._start = self._parse_start(line)
        # Only the very first line has room of its own: what follows an interim response shares that of the headers.
        if self._too_long is HTTPStatus.REQUEST_URI_TOO_LONG:
            self._room = self._max_headers
            self._too_long = HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE

    def _add_field(self, line: str) -> None:
        if len(self._fields) == self._max_fields:
            raise _malformed(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "the head has too many header lines")
        self._fields.append(parse_field(line))

    def _complete(self, start: Head) -> Head | None:
        # RFC 9110 15.2: "A client MUST be able to parse one or more 1xx responses received prior to a final response".
        # Ours skips them, at the expense of the room that the final head has.
        if isinstance(start, Response) and start.is_interim:
            self._start = None
            self._fields = []
            return None
        head = replace(start, headers=Headers(self._fields))
        self._finish()
        return head

    def _finish(self) -> None:
        self._is_over = True
        self._line = bytearray()
        self._fields = []


def request_reader() -> HeadReader[Request]:
    """Return a reader for one request head, with the bounds of this module."""
    return HeadReader(parse_request_line)


def response_reader() -> HeadReader[Response]:
    """Return a reader for the head of one final response; interim ones (1xx, but not 101) before it are skipped."""
    return HeadReader(parse_status_line)


def parse_request_line(line: str) -> Request:
    """Return a request without headers; raises ``MalformedHead`` (RFC 9112 section 3).

    HTTP/1.0 is understood, so that it can be answered; it just cannot upgrade.
    """
    # 2.2 asks to skip an empty line before a request, which some old client sent after a body.  Here none came before.
    match = _REQUEST_LINE.fullmatch(line)
    if match is None:
        raise _malformed(HTTPStatus.BAD_REQUEST, f"not an HTTP/1.1 request line: {shown(line)}")
    method, target, version = match.groups()
    if version not in ("HTTP/1.1", "HTTP/1.0"):
        raise _malformed(HTTPStatus.HTTP_VERSION_NOT_SUPPORTED, f"{version} is not spoken here, HTTP/1.1 is")
    if not _is_target(target):
        raise _malformed(HTTPStatus.BAD_REQUEST, f"not a path or an http URL in the request line: {shown(target)}")
    return Request(method, target, version=version)


def parse_status_line(line: str) -> Response:
    """Return a response without headers; raises ``MalformedHead`` (RFC 9112 section 4)."""
    match = _STATUS_LINE.fullmatch(line)
    if match is None:
        raise _malformed(HTTPStatus.BAD_REQUEST, f"not an HTTP/1.1 status line: {shown(line)}")
    version, status, reason = match.groups()
    return Response(int(status), reason, version=version)


def parse_field(line: str) -> tuple[str, str]:
    """Return the (name, value) of one header line; raises ``MalformedHead`` (RFC 9112 section 5)."""
    name, colon, value = line.partition(":")
    # 5.2: "A server that receives an obs-fold in a request message [...] MUST either reject the message [...] or"
    if line[0] in BLANK:
        raise _malformed(HTTPStatus.BAD_REQUEST, "a header line is folded")
    if not colon:
        raise _malformed(HTTPStatus.BAD_REQUEST, "a header line has no colon")
    # 5.1: "No whitespace is allowed between the field name and colon."
    if not is_token(name):
        raise _malformed(HTTPStatus.BAD_REQUEST, f"a header's name is not a token: {shown(name)}")
    if not _TEXT.fullmatch(value):
        # What was read from bytes is latin-1; a line that somebody typed need not be.
        fault = "a control character in its value"
        if max(value) > "\xff":
            fault = "a character in its value that is not latin-1"
        raise _malformed(HTTPStatus.BAD_REQUEST, f"the header {shown(name)} has {fault}")
    return name, value.strip(BLANK)


def encode_request(method: str, target: str, headers: HeaderPairs) -> bytes:
    """Return a request head; raises ``ValueError`` for what its grammar does not allow, naming the part."""
    # RFC 9112 3.2.3: authority-form is "only used for CONNECT requests"
    if not is_token(method) or not (method == "CONNECT" or _is_target(target)):
        raise ValueError(f"not a method and a target of a request: {method!r}, {target!r}")
    line = f"{method} {target} HTTP/1.1"
    if not _REQUEST_LINE.fullmatch(line):
        raise ValueError(f"not a request target: {target!r}")
    return _encode_head(line, headers)


def encode_response(status: int, reason: str, headers: HeaderPairs, body: bytes = b"") -> bytes:
    """Return a response; raises ``ValueError`` for what its grammar does not allow, naming the part.

    The headers are sent as they are: Content-Length is the caller's to give.
    """
    if not 100 <= status <= 599:
        raise ValueError(f"not an HTTP status: {status!r}")
    if not _TEXT.fullmatch(reason):
        raise ValueError(f"not a reason phrase: {reason!r}")
    return _encode_head(f"HTTP/1.1 {status:d} {reason}", headers) + body


def is_token(text: str) -> bool:
    """Return whether *text* is a token (RFC 9110 section 5.6.2): header names, subprotocols and the like are."""
    return _TOKEN.fullmatch(text) is not None


def escaped(text: str) -> str:
    """Return *text* of the peer's as it may stand in a log or on a terminal: cut, and without control characters."""
    return _cut(text).encode("unicode-escape").decode("ascii")


def shown(text: str) -> str:
    """Return the same in quotes."""
    return ascii(_cut(text))


def phrase(status: int) -> str:
    """Return the usual reason phrase of *status*, "" for one that has none."""
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return ""


def _encode_head(line: str, headers: HeaderPairs) -> bytes:
    fields = [_encode_field(name, value) for name, value in pairs_of(headers)]
    return "\r\n".join([line, *fields, "\r\n"]).encode("latin-1")


def _encode_field(name: object, value: object) -> str:
    if not (isinstance(name, str) and is_token(name)):
        raise ValueError(f"not a header name: {name!r}")
    # The value stays out of the text: it may be a password.
    if not (isinstance(value, str) and _TEXT.fullmatch(value) and value == value.strip(BLANK)):
        raise ValueError(f"the header {name} may only hold printable latin-1 text without blanks around it")
    return f"{name}: {value}"


def _cut(text: str) -> str:
    return text if len(text) <= MAX_SHOWN else text[:MAX_SHOWN] + "..."


def _is_target(target: str) -> bool:
    return target[:1] != "?" and _TARGET.fullmatch(target) is not None


def _split_target(target: str) -> tuple[str, str, str]:
    match = _TARGET.fullmatch(target)
    if match is None:
        return "", target, ""
    authority, path, query = match.groups(default="")
    return authority, path, query


def _malformed(status: HTTPStatus, text: str) -> MalformedHead:
    return MalformedHead(status.value, status.phrase, body=text + "\n", log=text)
