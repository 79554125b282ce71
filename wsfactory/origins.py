"""Which web pages may connect: the Origin header against the option allowedOrigins (RFC 6455 section 10.2, RFC 6454).

An Origin, a Host and the option go in; yes or no comes out.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from wsfactory.urls import DEFAULT_PORTS, MAX_PORT

__all__ = ["AllowedOrigins", "check_allowed_origins", "is_origin_allowed"]

SAME_ORIGIN = "same-origin"
ANY = "*"

AllowedOrigins = str | Sequence[str]

_HOST = r"\[[0-9a-f:.]+\]|[a-z0-9._~%-]+"
_ORIGIN = re.compile(rf"([a-z][a-z0-9+.-]*)://({_HOST})(?::([0-9]{{1,5}}))?")
_ENTRY = re.compile(rf"([a-z][a-z0-9+.-]*)://(\*\.)?({_HOST})(?::([0-9]{{1,5}}))?")
_HOST_PORT = re.compile(rf"({_HOST})(?::([0-9]{{0,5}}))?")


@dataclass(frozen=True, slots=True)
class _Entry:
    scheme: str
    host: str
    port: int | None
    is_wildcard: bool

    def matches(self, scheme: str, host: str, port: int | None) -> bool:
        if (scheme, port) != (self.scheme, self.port):
            return False
        # The dot belongs to the suffix: *.example.com is neither example.com nor badexample.com, and since it is a
        # suffix of the whole host, not example.com.evil.com either.
        return host.endswith("." + self.host) if self.is_wildcard else host == self.host


def is_origin_allowed(origin: str, host: str, allowed: AllowedOrigins) -> bool:
    """Return whether a page from *origin* may connect to *host* (the Host header's value).

    *allowed* is "same-origin", "*", or a list as ``check_allowed_origins`` passes it.
    """
    if allowed == ANY:
        return True
    if isinstance(allowed, str):
        return allowed == SAME_ORIGIN and _is_same(origin, host)
    return any(_entry_matches(entry, origin) for entry in allowed)


def check_allowed_origins(allowed: AllowedOrigins) -> None:
    """Raise ``ValueError`` unless *allowed* can be used; its text says what is allowed."""
    if isinstance(allowed, str):
        if allowed not in (SAME_ORIGIN, ANY):
            raise ValueError(f'{allowed!r} is neither "same-origin" nor "*" nor a list of origins')
        return
    for entry in allowed:
        if entry.lower() != "null":
            _parse_entry(entry)


def _is_same(origin: str, host: str) -> bool:
    theirs, ours = _ORIGIN.fullmatch(origin.lower()), _HOST_PORT.fullmatch(host.lower())
    if theirs is None or ours is None or theirs[1] not in DEFAULT_PORTS:
        return False
    # The scheme is not compared: behind a proxy that ends TLS we cannot know it.  It gives both their default port.
    default = DEFAULT_PORTS[theirs[1]]
    return (theirs[2], int(theirs[3] or default)) == (ours[1], int(ours[2] or default))


def _entry_matches(entry: str, origin: str) -> bool:
    if "null" in (entry.lower(), origin):
        return entry.lower() == origin
    theirs = _ORIGIN.fullmatch(origin.lower())
    if theirs is None:
        return False
    scheme, host, port = theirs.groups()
    return _parse_entry(entry).matches(scheme, host, _port(scheme, port))


@lru_cache(maxsize=256)
def _parse_entry(entry: str) -> _Entry:
    match = _ENTRY.fullmatch(entry.lower())
    if match is None:
        raise ValueError(
            f'{entry!r} is no origin: allowed are "https://example.com", "https://example.com:8443", '
            '"https://*.example.com" (no path, no slash at the end, the host as browsers send it: xn--...) and "null"'
        )
    scheme, star, host, port = match.groups()
    if port and not 1 <= int(port) <= MAX_PORT:
        raise ValueError(f"{entry!r} is no origin: the port must be 1-{MAX_PORT}")
    return _Entry(scheme, host, _port(scheme, port), star is not None)


def _port(scheme: str, port: str | None) -> int | None:
    return int(port) if port else DEFAULT_PORTS.get(scheme)
