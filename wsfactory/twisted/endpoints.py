"""Where to listen and where to connect, as Twisted endpoints: URLs, descriptions, TLS, proxies, UNIX sockets."""

from __future__ import annotations

import re
from ipaddress import ip_address
from typing import Any, cast

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
from twisted.internet.interfaces import IReactorTime, IStreamClientEndpoint, IStreamServerEndpoint

from wsfactory.errors import InvalidURL, OptionError
from wsfactory.proxy import ProxyURL, parse_proxy_url
from wsfactory.tls import TLS
from wsfactory.twisted.tunnel import TunnelEndpoint
from wsfactory.urls import URL, parse_listening_url

__all__ = ["client_endpoint", "server_endpoint"]

_URL = re.compile(r"(ws|wss|ws\+unix):", re.IGNORECASE)


def server_endpoint(
    where: str | IStreamServerEndpoint, reactor: IReactorTime | None, tls: object = None
) -> IStreamServerEndpoint:
    """Return the endpoint that *where* names; *tls* is a ``CertificateOptions`` for wss URLs."""
    if not isinstance(where, str):
        return where
    if not _URL.match(where):
        return cast("IStreamServerEndpoint", serverFromString(_running(reactor), where))
    url = parse_listening_url(where)
    if url.unix_path is not None:
        return UNIXServerEndpoint(_running(reactor), url.unix_path)
    return _tcp_server_endpoint(url, _running(reactor), tls)


def _running(reactor: IReactorTime | None) -> Any:
    """Return *reactor* as all that a real one is."""
    if reactor is None:
        from twisted.internet import reactor as running

        return running
    return reactor


def _tcp_server_endpoint(url: URL, reactor: Any, tls: object) -> IStreamServerEndpoint:
    interface = _interface(url)
    if url.secure:
        if tls is None:
            raise OptionError("a wss URL takes tls=CertificateOptions(...); or listen at an endpoint like ssl:443:...")
        return SSL4ServerEndpoint(reactor, url.port, tls, interface=interface)
    kind = TCP6ServerEndpoint if ":" in interface else TCP4ServerEndpoint
    return kind(reactor, url.port, interface=interface)


def _interface(url: URL) -> str:
    if url.host == "localhost":
        return "127.0.0.1"
    try:
        ip_address(url.host)
    except ValueError:
        known = f"listening takes an address of this machine, like 127.0.0.1 or [::], not {url.host!r}"
        raise InvalidURL(known) from None
    return url.host


def client_endpoint(
    url: URL,
    reactor: IReactorTime | None,
    *,
    tls: object = None,
    proxy: str | None = None,
    timeout: float | None = None,
) -> IStreamClientEndpoint:
    """Return the endpoint that leads to *url*, through *proxy* and with verified TLS where the URL asks for it.

    Each step on the way has *timeout* seconds (None: whoever connects sees to that).
    """
    running = _running(reactor)
    if url.unix_path is not None:
        return UNIXClientEndpoint(running, url.unix_path, timeout=timeout)
    endpoint = _towards(url, running, proxy, timeout)
    return wrapClientTLS(_client_tls(url.host, tls), endpoint) if url.secure else endpoint


def _towards(url: URL, reactor: Any, proxy: str | None, timeout: float | None) -> IStreamClientEndpoint:
    if proxy is None:
        return _to_host(url.host, url.port, reactor, timeout)
    via = parse_proxy_url(proxy)
    return TunnelEndpoint(_to_proxy(via, reactor, timeout), url, via, reactor, timeout)


def _to_proxy(via: ProxyURL, reactor: Any, timeout: float | None) -> IStreamClientEndpoint:
    endpoint = _to_host(via.host, via.port, reactor, timeout)
    return wrapClientTLS(_client_tls(via.host, None), endpoint) if via.secure else endpoint


def _to_host(host: str, port: int, reactor: Any, timeout: float | None) -> IStreamClientEndpoint:
    # Happy Eyeballs (RFC 8305) is its matter. It takes None for "no timeout", though its types do not say so.
    return HostnameEndpoint(reactor, host, port, timeout=cast("float", timeout))


def _client_tls(host: str, tls: object) -> Any:
    """Return Twisted's connection creator for what the user asked of TLS."""
    try:
        from wsfactory.twisted.certificates import connection_creator
    except ImportError as missing:
        raise OptionError(f"wss needs TLS for Twisted, pip install wsfactory[tls]: {missing}") from missing
    return connection_creator(host, tls if tls is not None else TLS())
