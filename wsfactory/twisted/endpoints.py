"""Where to listen and where to connect, as Twisted endpoints: URLs, descriptions, TLS, proxies, UNIX sockets."""

from __future__ import annotations

import re
from dataclasses import replace
from ipaddress import ip_address

from twisted.internet.endpoints import (
    HostnameEndpoint,
    SSL4ServerEndpoint,
    TCP4ServerEndpoint,
    TCP6ServerEndpoint,
    UNIXClientEndpoint,
    UNIXServerEndpoint,
    serverFromString,
    wrapClientTLS,
)
from twisted.internet.interfaces import IStreamClientEndpoint, IStreamServerEndpoint

from wsfactory.errors import InvalidURL, OptionError
from wsfactory.proxy import ProxyURL, parse_proxy_url
from wsfactory.tls import TLS
from wsfactory.twisted.tunnel import TunnelEndpoint
from wsfactory.urls import URL, parse_url

__all__ = ["client_endpoint", "server_endpoint"]

_PORT_ZERO = re.compile(r"(wss?://[^/?#]*):0+(?![0-9])", re.IGNORECASE)


def server_endpoint(where: str | IStreamServerEndpoint, reactor: object, tls: object = None) -> IStreamServerEndpoint:
    """Return the endpoint that *where* names; *tls* is a ``CertificateOptions`` for wss URLs."""
    if not isinstance(where, str):
        return where
    if reactor is None:
        from twisted.internet import reactor
    if not where.lower().startswith(("ws:", "wss:", "ws+unix:")):
        return serverFromString(reactor, where)
    url = _listening_url(where)
    if url.unix_path is not None:
        return UNIXServerEndpoint(reactor, url.unix_path)
    return _tcp_server_endpoint(url, reactor, tls)


def _listening_url(text: str) -> URL:
    """Return the URL to listen at; unlike one to connect to, its port may be 0: the system then chooses one."""
    any_port = _PORT_ZERO.match(text)
    return replace(parse_url(any_port[1] + text[any_port.end() :]), port=0) if any_port else parse_url(text)


def _tcp_server_endpoint(url: URL, reactor: object, tls: object) -> IStreamServerEndpoint:
    interface = _interface(url)
    if url.secure:
        if tls is None:
            raise OptionError("listening at a wss URL takes tls=CertificateOptions(...); or an endpoint like ssl:443:...")
        return SSL4ServerEndpoint(reactor, url.port, tls, interface=interface)
    kind = TCP6ServerEndpoint if ":" in interface else TCP4ServerEndpoint
    return kind(reactor, url.port, interface=interface)


def _interface(url: URL) -> str:
    if url.host == "localhost":
        return "127.0.0.1"
    try:
        ip_address(url.host)
    except ValueError:
        raise InvalidURL(f"listening takes an address of this machine, like 127.0.0.1 or [::], not {url.host!r}") from None
    return url.host


def client_endpoint(
    url: URL, reactor: object, *, tls: object = None, proxy: str | None = None, timeout: float | None = None
) -> IStreamClientEndpoint:
    """Return the endpoint that leads to *url*, through *proxy* and with verified TLS where the URL asks for it."""
    if reactor is None:
        from twisted.internet import reactor
    seconds = timeout or 30.0
    if url.unix_path is not None:
        return UNIXClientEndpoint(reactor, url.unix_path, timeout=seconds)
    endpoint = _towards(url, reactor, proxy, seconds)
    return wrapClientTLS(_client_tls(url.host, tls), endpoint) if url.secure else endpoint


def _towards(url: URL, reactor: object, proxy: str | None, seconds: float) -> IStreamClientEndpoint:
    if proxy is None:
        return HostnameEndpoint(reactor, url.host, url.port, timeout=seconds)
    via = parse_proxy_url(proxy)
    return TunnelEndpoint(_to_proxy(via, reactor, seconds), url, via, reactor, seconds)


def _to_proxy(via: ProxyURL, reactor: object, seconds: float) -> IStreamClientEndpoint:
    endpoint = HostnameEndpoint(reactor, via.host, via.port, timeout=seconds)
    return wrapClientTLS(_client_tls(via.host, None), endpoint) if via.secure else endpoint


def _client_tls(host: str, tls: object) -> object:
    """Return Twisted's connection creator for what the user asked of TLS."""
    try:
        from wsfactory.twisted.certificates import connection_creator
    except ImportError as missing:
        raise OptionError(f"wss needs TLS for Twisted, pip install wsfactory[tls]: {missing}") from missing
    return connection_creator(host, tls if tls is not None else TLS())
