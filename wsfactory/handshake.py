"""The opening handshake, the server's side (RFC 6455 section 4.2).

A ``Request`` goes in, however it was parsed; an ``Offer`` comes out, or ``Refused`` is raised.  An ``Offer`` and the
application's choices go into ``accept``, a ``Refused`` into ``refusal``: the bytes of the answer come out.
No I/O, no clock.
"""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha1

from wsfactory.errors import Refused
from wsfactory.extensions import MAX_LIST, ExtensionOffer, parse_extensions
from wsfactory.headers import HeaderPairs
from wsfactory.http11 import BODILESS, Headers, Request, encode_response, is_token, phrase, shown
from wsfactory.origins import AllowedOrigins, is_origin_allowed

__all__ = [
    "Offer",
    "accept",
    "accept_key",
    "choose_subprotocol",
    "internal_error",
    "is_own_header",
    "is_upgrade",
    "not_an_upgrade",
    "read_offer",
    "refusal",
    "sendable",
]

GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
VERSION = "13"

_KEY = re.compile(r"[A-Za-z0-9+/]{22}==")
_HOST = re.compile(r"(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._~!$&'()*+,;=%-]+)(?::[0-9]{0,5})?")

# What the handshake says by itself, so that an application cannot contradict it.
_OWN_HEADERS = frozenset({"connection", "content-length", "transfer-encoding", "upgrade"})
_OWN_PREFIX = "sec-websocket-"
_FRAMING_HEADERS = ("Connection", "Content-Length", "Transfer-Encoding")


@dataclass(frozen=True, slots=True)
class Offer:
    """A valid opening request: what the client asks for, each list in the client's order of preference."""

    request: Request
    key: str
    subprotocols: tuple[str, ...] = ()
    extensions: tuple[ExtensionOffer, ...] = ()


def accept_key(key: str) -> str:
    """Return the Sec-WebSocket-Accept value for *key* (section 4.2.2)."""
    return b64encode(sha1((key + GUID).encode(), usedforsecurity=False).digest()).decode()


def is_own_header(name: str) -> bool:
    """Return whether the header *name* is the handshake's own, on either side: an application cannot give it."""
    return name.lower() in _OWN_HEADERS or name.lower().startswith(_OWN_PREFIX)


def is_upgrade(request: Request) -> bool:
    """Return whether *request* asks for a WebSocket at all; what does not is a plain HTTP request."""
    # RFC 9110 7.8: "A server MUST ignore an Upgrade header field that is received in an HTTP/1.0 request."
    return request.version != "HTTP/1.0" and "websocket" in _lowered(request, "Upgrade")


def not_an_upgrade(request: Request) -> Refused:
    """Return the answer to a request that is none for a WebSocket; its body says why (RFC 9110 section 15.5.22)."""
    why = "there is no Upgrade: websocket header in this request"
    if request.version == "HTTP/1.0":
        why = "this is an HTTP/1.0 request, and only HTTP/1.1 can upgrade (nginx: proxy_http_version 1.1)"
    return _refuse(426, f"This is a WebSocket endpoint: {why}", [("Upgrade", "websocket")])


def read_offer(request: Request, *, allowed_origins: AllowedOrigins = "same-origin") -> Offer:
    """Return what *request* asks for; raises ``Refused`` with the answer to give (section 4.2.1)."""
    for check in (_check_upgrade, _check_host, _check_no_body, _check_version):
        check(request)
    key = _read_key(request)
    _check_origin(request, allowed_origins)
    extensions = parse_extensions(request.headers.get_all("Sec-WebSocket-Extensions"))
    return Offer(request, key, _read_subprotocols(request), extensions)


def choose_subprotocol(offer: Offer, preferred: Sequence[str]) -> str | None:
    """Return the first of *preferred* that the client offers, None if there is none (section 4.2.2)."""
    return next((name for name in preferred if name in offer.subprotocols), None)


def accept(
    offer: Offer, subprotocol: str | None = None, headers: HeaderPairs = (), extensions: str | None = None
) -> bytes:
    """Return the 101 response; *extensions* is the header text of those agreed upon.

    Raises ``Refused`` (500, the fault only in its log text) for a subprotocol that the client did not offer, and for
    headers that cannot be sent or are the handshake's own.
    """
    if subprotocol is not None and subprotocol not in offer.subprotocols:
        offered = shown(", ".join(offer.subprotocols))
        raise internal_error(f"the subprotocol {subprotocol!r} was chosen, but the client offers {offered}")
    try:
        return encode_response(101, phrase(101), _accept_headers(offer, subprotocol, headers, extensions))
    except (TypeError, ValueError, AttributeError) as error:
        raise internal_error(f"the response headers cannot be sent: {error}") from None


def refusal(error: Refused, method: str = "GET") -> bytes:
    """Return the response that *error* asks for; one that cannot be sent becomes a plain 500 (see ``sendable``).

    *method* is the request's: RFC 9110 9.3.2: "the server MUST NOT send content in the response" to HEAD.
    """
    return _encode_refusal(sendable(error), sends_body=method != "HEAD")


def sendable(error: Refused) -> Refused:
    """Return *error*, or a plain 500 if it cannot be sent; the text of that one is for the log and says why."""
    try:
        _encode_refusal(error)
    except (TypeError, ValueError, AttributeError) as fault:
        return internal_error(f"a refusal cannot be sent: {fault}")
    return error


def internal_error(log: str) -> Refused:
    """Return a plain 500; *log* says why, to nobody but the log."""
    return Refused(500, phrase(500), body="Internal Server Error\n", log=log)


def _check_upgrade(request: Request) -> None:
    if not is_upgrade(request):
        raise not_an_upgrade(request)
    if request.method != "GET":
        raise _refuse(405, "A WebSocket is opened with GET", [("Allow", "GET")])
    if "upgrade" not in _lowered(request, "Connection"):
        raise _refuse(400, "There is no Connection: Upgrade header; a proxy on the way may have dropped it")


def _check_host(request: Request) -> None:
    _single(request, "Host")
    if not _HOST.fullmatch(request.host):
        raise _refuse(400, "The Host header is not a host")


def _check_no_body(request: Request) -> None:
    # Its bytes would be taken for frames, by us or by a proxy before us.
    lengths = request.headers.get_all("Content-Length")
    if "Transfer-Encoding" in request.headers or lengths not in ([], ["0"]):
        raise _refuse(400, "An opening request has no body")


def _check_version(request: Request) -> None:
    # 4.4: "the server MUST respond with a Sec-WebSocket-Version header field [...] indicating the versions"
    if _single(request, "Sec-WebSocket-Version") != VERSION:
        headers = [("Upgrade", "websocket"), ("Sec-WebSocket-Version", VERSION)]
        raise _refuse(426, f"The version spoken here is Sec-WebSocket-Version: {VERSION}", headers)


def _read_key(request: Request) -> str:
    key = _single(request, "Sec-WebSocket-Key")
    # 4.2.1: "a base64-encoded value that, when decoded, is 16 bytes in length"
    if not _KEY.fullmatch(key):
        raise _refuse(400, "Sec-WebSocket-Key is not 16 bytes in base64")
    return key


def _check_origin(request: Request, allowed: AllowedOrigins) -> None:
    origins = request.headers.get_all("Origin")
    if len(origins) > 1:
        raise _refuse(400, "There is more than one Origin header")
    if origins and not is_origin_allowed(origins[0], request.host, allowed):
        values = f"Origin {shown(origins[0])} may not connect to Host {shown(request.host)}"
        raise _refuse(403, f"{values} (option allowedOrigins)")


def _read_subprotocols(request: Request) -> tuple[str, ...]:
    values = request.headers.get_all("Sec-WebSocket-Protocol")
    if sum(value.count(",") for value in values) > MAX_LIST:
        raise _refuse(400, "Sec-WebSocket-Protocol is too long")
    names = [name.strip(" \t") for value in values for name in value.split(",")]
    # 4.1: "non-empty strings with characters in the range U+0021 to U+007E not including separator characters [...]
    # and MUST all be unique strings"
    if len(set(names)) != len(names) or not all(map(is_token, names)):
        raise _refuse(400, "Sec-WebSocket-Protocol is not a list of different names")
    return tuple(names)


def _accept_headers(
    offer: Offer, subprotocol: str | None, headers: HeaderPairs, extensions: str | None
) -> list[tuple[str, str]]:
    pairs = [("Upgrade", "websocket"), ("Connection", "Upgrade"), ("Sec-WebSocket-Accept", accept_key(offer.key))]
    if subprotocol is not None:
        pairs.append(("Sec-WebSocket-Protocol", subprotocol))
    if extensions:
        pairs.append(("Sec-WebSocket-Extensions", extensions))
    for name, value in Headers(headers):
        if is_own_header(name):
            raise ValueError(f"{name} is the handshake's own")
        pairs.append((name, value))
    return pairs


def _encode_refusal(error: Refused, sends_body: bool = True) -> bytes:
    if not 200 <= error.status <= 599:
        raise ValueError(f"{error.status!r} is not the status of a refusal")
    given = Headers(error.headers).without(_FRAMING_HEADERS)
    # RFC 9110 7.8: "A sender of Upgrade MUST also send an 'Upgrade' connection option in the Connection header field"
    pairs = [*given, ("Connection", "close, Upgrade" if "Upgrade" in given else "close")]
    body = b"" if error.status in BODILESS else error.body
    if body and "Content-Type" not in given:
        pairs.append(("Content-Type", "text/plain; charset=utf-8"))
    if error.status not in BODILESS:
        pairs.append(("Content-Length", str(len(body))))
    return encode_response(error.status, error.reason or phrase(error.status), pairs, body if sends_body else b"")


def _single(request: Request, name: str) -> str:
    values = request.headers.get_all(name)
    if len(values) != 1:
        count = "more than one" if values else "no"
        raise _refuse(400, f"There is {count} {name} header")
    return values[0]


def _lowered(request: Request, name: str) -> list[str]:
    return [token.lower() for token in request.headers.tokens(name)]


def _refuse(status: int, text: str, headers: HeaderPairs = ()) -> Refused:
    return Refused(status, phrase(status), headers, text + "\n", log=text)
