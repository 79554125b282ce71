"""The opening handshake, the client's side (RFC 6455 section 4.1).

A ``URL`` and what the application asks for go into ``ask``; an ``Ask`` comes out, whose ``encode()`` is the request.
The server's ``Response`` goes into ``check_response``; an ``Accepted`` comes out, or ``HandshakeError`` is raised and
names the fault.  No I/O, no clock.
"""

from __future__ import annotations

import os
from base64 import b64encode
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from wsfactory.errors import HandshakeError, Refused
from wsfactory.extensions import ExtensionOffer, parse_extensions
from wsfactory.handshake import VERSION, accept_key, is_own_header
from wsfactory.headers import HeaderPairs
from wsfactory.http11 import Headers, Response, encode_request, escaped, is_token, shown
from wsfactory.urls import URL, basic_auth

__all__ = ["Accepted", "Ask", "ask", "check_response"]


@dataclass(frozen=True, slots=True)
class Ask:
    """One opening request; ``headers`` are all that leave, ``extensions`` is the header text that offers them."""

    url: URL
    key: str
    subprotocols: tuple[str, ...] = ()
    extensions: str = ""
    headers: Headers = field(default_factory=Headers)

    def encode(self) -> bytes:
        """Return the request's bytes; raises ``ValueError`` naming a header that cannot be sent."""
        return encode_request("GET", self.url.resource, self.headers)


@dataclass(frozen=True, slots=True)
class Accepted:
    """What the server agreed to."""

    subprotocol: str | None
    extensions: tuple[ExtensionOffer, ...]
    response: Response


def ask(
    url: URL,
    *,
    subprotocols: Sequence[str] = (),
    headers: HeaderPairs = (),
    extensions: str = "",
    random: Callable[[int], bytes] = os.urandom,
) -> Ask:
    """Return an opening request for *url*, with a fresh key from *random*.

    *headers* may hold Host and Authorization, which then go before those of *url*.  Raises ``ValueError`` for headers
    that are the handshake's own, and for subprotocols that are not different tokens.
    """
    if len(set(subprotocols)) != len(subprotocols) or not all(map(is_token, subprotocols)):
        raise ValueError(f"subprotocols must be different tokens: {subprotocols!r}")
    key = b64encode(random(16)).decode()
    own = [
        ("Upgrade", "websocket"),
        ("Connection", "Upgrade"),
        ("Sec-WebSocket-Key", key),
        ("Sec-WebSocket-Version", VERSION),
        ("Sec-WebSocket-Protocol", ", ".join(subprotocols)),
        ("Sec-WebSocket-Extensions", extensions),
    ]
    given = _checked(headers)
    pairs = [*_host_and_credentials(url, given), *(pair for pair in own if pair[1]), *given.without(["Host"])]
    return Ask(url, key, tuple(subprotocols), extensions, Headers(pairs))


def check_response(asked: Ask, response: Response) -> Accepted:
    """Return what the server agreed to; raises ``HandshakeError`` naming the fault (section 4.1).

    4.1: "the client MUST validate the server's response as follows"
    """
    if response.status != 101:
        raise _error(response, f"the server answered {response.status} {escaped(response.reason)}".rstrip())
    if response.version != "HTTP/1.1":
        raise _error(response, f"the server upgraded in {response.version}")
    if _single(response, "Upgrade").lower() != "websocket":
        raise _error(response, "the Upgrade header is not websocket")
    if "upgrade" not in [token.lower() for token in response.headers.tokens("Connection")]:
        raise _error(response, "the Connection header is not Upgrade")
    if _single(response, "Sec-WebSocket-Accept") != accept_key(asked.key):
        raise _error(response, "Sec-WebSocket-Accept does not belong to our key")
    return Accepted(_read_subprotocol(asked, response), _read_extensions(asked, response), response)


def _checked(headers: HeaderPairs) -> Headers:
    given = Headers(headers)
    for name, _ in given:
        if is_own_header(name):
            raise ValueError(f"the header {name} is the handshake's own")
    for name in ("Host", "Authorization", "Origin"):
        if len(given.get_all(name)) > 1:
            raise ValueError(f"the header {name} is given twice")
    return given


def _host_and_credentials(url: URL, given: Headers) -> list[tuple[str, str]]:
    pairs = [("Host", given.get("Host") or url.host_header)]
    if url.username is not None and "Authorization" not in given:
        pairs.append(("Authorization", basic_auth(url.username, url.password)))
    return pairs


def _read_subprotocol(asked: Ask, response: Response) -> str | None:
    if "Sec-WebSocket-Protocol" not in response.headers:
        return None
    name = _single(response, "Sec-WebSocket-Protocol")
    # 4.1: "indicates the use of a subprotocol that was not present in the client's handshake [...] MUST _Fail_"
    if name not in asked.subprotocols:
        raise _error(response, f"the server chose a subprotocol that was not asked for: {shown(name)}")
    return name


def _read_extensions(asked: Ask, response: Response) -> tuple[ExtensionOffer, ...]:
    offered = {offer.name for offer in parse_extensions([asked.extensions])}
    try:
        agreed = parse_extensions(response.headers.get_all("Sec-WebSocket-Extensions"))
    except Refused as fault:
        raise _error(response, str(fault)) from None
    for extension in agreed:
        if extension.name not in offered:
            raise _error(response, f"the server chose an extension that was not offered: {escaped(extension.name)}")
    return agreed


def _single(response: Response, name: str) -> str:
    values = response.headers.get_all(name)
    if len(values) != 1:
        count = "more than one" if values else "no"
        raise _error(response, f"there is {count} {name} header in the response")
    return values[0]


def _error(response: Response, text: str) -> HandshakeError:
    return HandshakeError(text, response.status, response.reason, response.headers, response.body)
