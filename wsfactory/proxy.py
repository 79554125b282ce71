"""A tunnel through an HTTP proxy: CONNECT (RFC 9110 section 9.3.6, RFC 6455 section 4.1).

The URL to reach and a ``ProxyURL`` go in; the bytes of the request come out.  The proxy's answer goes into
``check_proxy_response``, which raises ``ConnectError`` unless the tunnel stands.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from wsfactory.errors import ConnectError, InvalidURL, OptionError
from wsfactory.http11 import Response, encode_request, escaped
from wsfactory.urls import DEFAULT_PORTS, URL, basic_auth, parse_authority, split_url

__all__ = ["ProxyURL", "check_proxy", "check_proxy_response", "parse_proxy_url", "proxy_request"]


@dataclass(frozen=True, slots=True)
class ProxyURL:
    """Where the proxy listens, whether it speaks TLS itself (``secure``), and who we are to it."""

    secure: bool
    host: str
    port: int
    username: str | None = field(default=None, repr=False)
    password: str | None = field(default=None, repr=False)


def parse_proxy_url(text: str) -> ProxyURL:
    """Return the proxy that *text* names, like ``http://user:password@host:3128``; raises ``InvalidURL``."""
    scheme, authority, resource = split_url(text)
    if scheme not in ("http", "https") or resource not in ("", "/"):
        raise InvalidURL("a proxy is written http://host:port or https://host:port")
    found = parse_authority(text, authority)
    port = found.port or DEFAULT_PORTS[scheme]
    return ProxyURL(scheme == "https", found.host, port, found.username, found.password)


def check_proxy(proxy: object) -> None:
    """Raise ``InvalidURL`` or ``OptionError`` unless *proxy*, which a factory is given, is None or a proxy's URL."""
    if isinstance(proxy, str):
        parse_proxy_url(proxy)
    elif proxy is not None:
        # Not its value: it may hold a password, as whatever it is.
        kind = type(proxy).__name__
        raise OptionError(f"a proxy of type {kind} is not allowed: proxy takes a URL like http://host:3128, or None")


def proxy_request(url: URL, proxy: ProxyURL) -> bytes:
    """Return the request that asks *proxy* for a tunnel to *url*."""
    headers = [("Host", url.authority)]
    if proxy.username is not None:
        headers.append(("Proxy-Authorization", basic_auth(proxy.username, proxy.password)))
    return encode_request("CONNECT", url.authority, headers)


def check_proxy_response(response: Response) -> None:
    """Raise ``ConnectError`` unless the tunnel stands: what follows the head comes from the other end."""
    # RFC 9110 9.3.6: "Any 2xx (Successful) response indicates that the sender [...] will switch to tunnel mode"
    if not 200 <= response.status <= 299:
        raise ConnectError(f"the proxy answered {response.status} {escaped(response.reason)}".rstrip())
