"""Where a redirect leads a client, and what it may take along (RFC 9110 section 15.4, RFC 6455 section 4.1).

A URL and a 3xx ``Response`` go in; the next URL and the headers to send there come out, or ``HandshakeError``.
"""

from __future__ import annotations

import re
from dataclasses import replace
from urllib.parse import quote, urljoin

from wsfactory.errors import HandshakeError, InvalidURL, OptionError
from wsfactory.headers import HeaderPairs
from wsfactory.http11 import Headers, Response, escaped
from wsfactory.urls import URL, encode_resource, parse_url

__all__ = ["REDIRECTS", "check_max_redirects", "redirected"]

REDIRECTS = frozenset({301, 302, 303, 307, 308})

_SCHEMES = {"http": "ws", "https": "wss", "ws": "ws", "wss": "wss"}
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*")
_ASCII = "".join(map(chr, range(0x21, 0x7F)))
# They were meant for the server that sent us away.  Host too, where the application had given one.
_DROPPED = ("Authorization", "Cookie", "Proxy-Authorization", "Host")


def check_max_redirects(count: object) -> None:
    """Raise ``OptionError`` unless *count*, which a factory is given, is how many redirects to follow."""
    if not isinstance(count, int) or isinstance(count, bool) or count < 0:
        raise OptionError(f"maxRedirects={count!r} is not allowed: maxRedirects takes a whole number, 0 or more")


def redirected(url: URL, response: Response, headers: HeaderPairs = ()) -> tuple[URL, Headers]:
    """Return where *response* to a request for *url* leads, and which of the application's *headers* go there.

    http and https are read as ws and wss; a relative Location is allowed, one from wss to ws is not.  Credentials (the
    URL's, Authorization and Cookie) stay behind when scheme, host or port changes, and are never taken from a Location.
    """
    try:
        target = _resolve(url, _location(response))
    except InvalidURL as fault:
        raise _error(response, f"the server redirects to a place that is none: {fault}") from None
    if url.secure and not target.secure:
        raise _error(response, f"the server redirects from wss to ws: {escaped(str(target))}")
    if target.origin != url.origin:
        return replace(target, username=None, password=None), Headers(headers).without(_DROPPED)
    return replace(target, username=url.username, password=url.password), Headers(headers)


def _location(response: Response) -> str:
    locations = response.headers.get_all("Location")
    if response.status not in REDIRECTS or len(locations) != 1:
        raise _error(response, f"the server answered {response.status} without one Location to go to")
    # A header's text is latin-1 of whatever the server wrote: its bytes are what to percent-encode.
    return quote(locations[0].encode("latin-1"), safe=_ASCII).partition("#")[0]


def _resolve(url: URL, location: str) -> URL:
    scheme, colon, rest = location.partition(":")
    if location.startswith("//"):
        return parse_url(f"{'wss' if url.secure else 'ws'}:{location}")
    if not (colon and _SCHEME.fullmatch(scheme)):
        return replace(url, resource=encode_resource(location, urljoin(url.resource, location)))
    if scheme.lower() not in _SCHEMES:
        raise InvalidURL(f"its scheme is {escaped(scheme)}, not http, https, ws or wss")
    return parse_url(f"{_SCHEMES[scheme.lower()]}:{rest}")


def _error(response: Response, text: str) -> HandshakeError:
    return HandshakeError(text, response.status, response.reason, response.headers, response.body)
