"""ws://, wss:// and ws+unix:// URLs: text to values (RFC 6455 section 3, RFC 3986).

Text goes into ``parse_url``; a ``URL`` comes out, or ``InvalidURL`` that names the fault.  Everything in a ``URL`` is
ready to be sent: the host as A-labels, the resource percent-encoded, no control character anywhere.
"""

from __future__ import annotations

import re
from base64 import b64encode
from dataclasses import dataclass, field, replace
from ipaddress import IPv6Address
from urllib.parse import quote, unquote

from wsfactory.errors import InvalidURL

__all__ = ["URL", "Authority", "basic_auth", "parse_authority", "parse_listening_url", "parse_url", "split_url"]

DEFAULT_PORTS = {"ws": 80, "http": 80, "wss": 443, "https": 443}
MAX_PORT = 65535

_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://([^/?#]*)([^#]*)(#.*)?")
_HOST_PORT = re.compile(r"(?:\[([^\[\]]*)\]|([^:\[\]]*))(?::([0-9]*))?")
_PORT_ZERO = re.compile(r"(wss?://[^/?#]*):0+(?=[/?]|$)", re.IGNORECASE)
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_LABEL = re.compile(r"[a-z0-9_]|[a-z0-9_][a-z0-9_-]{0,61}[a-z0-9_]")
_ZONE = re.compile(r"[A-Za-z0-9._~-]+")
# All of it up to the last @: in a text that is no URL, who can say where a password ends.
_CREDENTIALS = re.compile(r"([^:/?#@]*:(?://)?)?.*@", re.DOTALL)
_MAX_SHOWN = 200
# RFC 3986 3.3 and 3.4; what is percent-encoded already stays as it is
_RESOURCE_SAFE = "/?:@!$&'()*+,;=-._~%"


@dataclass(frozen=True, slots=True)
class URL:
    """Where a client connects, and what it asks for there; ``str()`` and ``repr()`` leave the credentials out.

    ``host`` has no brackets; ``resource`` is the path and the query, as they are sent.  With a ``unix_path`` the
    connection goes to that socket, and host and port only stand in the Host header.
    """

    secure: bool
    host: str
    port: int
    resource: str = "/"
    username: str | None = field(default=None, repr=False)
    password: str | None = field(default=None, repr=False)
    unix_path: str | None = None

    @property
    def scheme(self) -> str:
        """``ws`` or ``wss``; ``ws+unix`` with a ``unix_path``."""
        if self.unix_path is not None:
            return "ws+unix"
        return "wss" if self.secure else "ws"

    @property
    def host_header(self) -> str:
        """The value of Host: brackets around an IPv6 address, no zone, no port where it is the default one."""
        host = _bracketed(self.host.partition("%")[0])
        return host if self.port == DEFAULT_PORTS["wss" if self.secure else "ws"] else f"{host}:{self.port}"

    @property
    def origin(self) -> tuple[str, str, int]:
        """What credentials belong to: scheme, host and port (RFC 6454 section 4)."""
        if self.unix_path is not None:
            return self.scheme, self.unix_path, 0
        return self.scheme, self.host, self.port

    @property
    def authority(self) -> str:
        """Host and port, the port always spelled: what CONNECT asks for."""
        return f"{_bracketed(self.host.partition('%')[0])}:{self.port}"

    def __str__(self) -> str:
        if self.unix_path is not None:
            return f"ws+unix://{quote(self.unix_path)}:{self.resource}"
        port = "" if self.port == DEFAULT_PORTS[self.scheme] else f":{self.port}"
        return f"{self.scheme}://{_bracketed(self.host.replace('%', '%25'))}{port}{self.resource}"


@dataclass(frozen=True, slots=True)
class Authority:
    """What stands between ``//`` and the path; ``port`` is None where it was not given."""

    host: str
    port: int | None
    username: str | None = field(default=None, repr=False)
    password: str | None = field(default=None, repr=False)


def parse_url(text: str) -> URL:
    """Return the URL in *text*: ``ws://``, ``wss://`` or ``ws+unix:///path/to.sock:/resource``; else ``InvalidURL``."""
    scheme, authority, resource = split_url(text)
    if scheme == "ws+unix":
        return _parse_unix(text, authority, resource)
    if scheme not in ("ws", "wss"):
        raise _invalid(text, "the scheme must be ws, wss or ws+unix")
    found = parse_authority(text, authority)
    port = found.port or DEFAULT_PORTS[scheme]
    encoded = encode_resource(text, resource)
    return URL(scheme == "wss", found.host, port, encoded, found.username, found.password)


def parse_listening_url(text: str) -> URL:
    """Return the URL to listen at; unlike one to connect to, its port may be 0: the system then chooses one."""
    any_port = _PORT_ZERO.match(text)
    return replace(parse_url(any_port[1] + text[any_port.end() :]), port=0) if any_port else parse_url(text)


def split_url(text: str) -> tuple[str, str, str]:
    """Return scheme (lower case), authority and resource of *text*, all still encoded; raises ``InvalidURL``."""
    if _CONTROL.search(text):
        raise _invalid(text, "it contains a control character")
    match = _URL.fullmatch(text)
    if match is None:
        raise _invalid(text, "it must look like scheme://host/path")
    scheme, authority, resource, fragment = match.groups()
    # RFC 6455 3: "Fragment identifiers are meaningless in the context of WebSocket URIs and MUST NOT be used"
    if fragment is not None:
        raise _invalid(text, "it must not have a fragment; a # in the path is written %23")
    return scheme.lower(), authority, resource


def parse_authority(url: str, text: str) -> Authority:
    """Return what the authority *text* of *url* holds; raises ``InvalidURL``."""
    userinfo, at, host_port = text.rpartition("@")
    match = _HOST_PORT.fullmatch(host_port)
    if match is None:
        raise _invalid(url, "host and port cannot be told apart (an IPv6 address is written in brackets)")
    ipv6, name, port = match.groups()
    host = _parse_name(url, name) if ipv6 is None else _parse_ipv6(url, ipv6)
    username, password = _parse_userinfo(url, userinfo) if at else (None, None)
    return Authority(host, _parse_port(url, port), username, password)


def encode_resource(url: str, text: str) -> str:
    """Return path and query of *url*, percent-encoded where needed, with a leading slash; raises ``InvalidURL``."""
    try:
        encoded = quote(text, safe=_RESOURCE_SAFE)
    except UnicodeEncodeError:
        raise _invalid(url, "the path has half a surrogate pair in it") from None
    return encoded if encoded.startswith("/") else "/" + encoded


def basic_auth(username: str, password: str | None) -> str:
    """Return the value of an Authorization header (RFC 7617), in UTF-8."""
    return "Basic " + b64encode(f"{username}:{password or ''}".encode()).decode()


def _parse_unix(url: str, authority: str, rest: str) -> URL:
    path, _, resource = rest.partition(":")
    if authority or len(path) < 2 or "?" in path:
        raise _invalid(url, "a Unix socket is written ws+unix:///path/to.sock:/resource")
    unix_path = unquote(path)
    if "\0" in unix_path:
        raise _invalid(url, "the socket's path contains a NUL")
    encoded = encode_resource(url, resource)
    return URL(False, "localhost", DEFAULT_PORTS["ws"], encoded, unix_path=unix_path)


def _parse_name(url: str, name: str) -> str:
    host = name.lower() if name.isascii() else _to_ascii(url, name)
    labels = host.removesuffix(".").split(".")
    if not host:
        raise _invalid(url, "the host is missing")
    if len(host) > 253 or not all(_LABEL.fullmatch(label) for label in labels):
        raise _invalid(url, f"{_named(url, name)} is not a host name")
    return host


def _parse_ipv6(url: str, text: str) -> str:
    # RFC 6874: [fe80::1%25eth0]
    address, percent, zone = text.partition("%25")
    if "%" in address or (percent and not _ZONE.fullmatch(zone)):
        raise _invalid(url, f"{_named(url, text)} is not an IPv6 address with a zone")
    try:
        return str(IPv6Address(address)) + (f"%{zone}" if zone else "")
    except ValueError:
        raise _invalid(url, f"{_named(url, text)} is not an IPv6 address") from None


def _parse_port(url: str, text: str | None) -> int | None:
    if not text:
        return None
    if len(text) > 5 or not 1 <= int(text) <= MAX_PORT:
        raise _invalid(url, f"the port must be 1-{MAX_PORT}")
    return int(text)


def _parse_userinfo(url: str, text: str) -> tuple[str, str | None]:
    name, colon, word = text.partition(":")
    try:
        username, password = unquote(name, errors="strict"), unquote(word, errors="strict")
        basic_auth(username, password)
    except UnicodeError:
        raise _invalid(url, "user name and password must be UTF-8") from None
    # RFC 7617 2: "a user-id containing a colon character is invalid"; "MUST NOT contain any control characters"
    if "@" in text or ":" in username or _CONTROL.search(username + password):
        raise _invalid(url, "user name or password contain what they must not (an @ is written %40)")
    return username, password if colon else None


def _to_ascii(url: str, name: str) -> str:
    try:
        return _idna(name)
    except UnicodeError:
        raise _invalid(url, f"{_named(url, name)} is not an internationalised host name") from None


def _idna(name: str) -> str:
    try:
        import idna
    except ImportError:
        return name.encode("idna").decode("ascii").lower()
    return idna.encode(name, uts46=True).decode("ascii")


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _invalid(url: str, fault: str) -> InvalidURL:
    return InvalidURL(f"{_shown(url)!r} is not a URL to connect to: {fault}")


def _shown(url: str) -> str:
    redacted = _CREDENTIALS.sub(r"\1...@", url, count=1)
    return redacted if len(redacted) <= _MAX_SHOWN else redacted[:_MAX_SHOWN] + "..."


def _named(url: str, part: str) -> str:
    """Return *part* of *url*, unless it may belong to what is not shown."""
    return repr(part) if part in _shown(url) else "the host"
