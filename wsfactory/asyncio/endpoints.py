"""Where to listen and where to connect, on asyncio: URLs, TLS, proxies, UNIX sockets."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from typing import Any

from wsfactory.asyncio.tunnel import open_tunnel
from wsfactory.errors import OptionError
from wsfactory.proxy import parse_proxy_url
from wsfactory.tls import TLS
from wsfactory.urls import URL, parse_listening_url

__all__ = ["dial", "listening"]

# What an attempt may take where openHandshakeTimeout does not bound it.
CONNECT_SECONDS = 30.0

ProtocolFactory = Callable[[], asyncio.BaseProtocol]


async def listening(
    where: str, factory: ProtocolFactory, tls: ssl.SSLContext | None, opening: float | None, closing: float | None
) -> asyncio.Server:
    """Return a server at the URL *where*; *opening* and *closing* bound the TLS handshake and its shutdown."""
    url = parse_listening_url(where)
    loop = asyncio.get_running_loop()
    if url.secure and tls is None:
        raise OptionError("listening at a wss URL takes tls=ssl.SSLContext(...)")
    deadlines = _tls_deadlines(opening, closing) if url.secure else {}
    context = tls if url.secure else None
    if url.unix_path is not None:
        return await loop.create_unix_server(factory, url.unix_path)
    return await loop.create_server(factory, url.host, url.port, ssl=context, **deadlines)


async def dial(
    url: URL,
    protocol: asyncio.BaseProtocol,
    *,
    tls: object = None,
    proxy: str | None = None,
    opening: float | None = None,
    closing: float | None = None,
) -> None:
    """Connect *protocol* to *url*, through *proxy* and with verified TLS where the URL asks for it.

    The whole attempt is bounded from outside by *opening* (None: here, by ``CONNECT_SECONDS``).
    """
    secure = _client_tls(url, tls, opening, closing) if url.secure else {}
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(None if opening else CONNECT_SECONDS):
        if url.unix_path is not None:
            await loop.create_unix_connection(lambda: protocol, url.unix_path)
        elif proxy is not None:
            via = parse_proxy_url(proxy)
            await open_tunnel(url, via, _context(None) if via.secure else None, protocol, secure)
        else:
            await loop.create_connection(lambda: protocol, url.host, url.port, **secure, **_happy_eyeballs(loop))


def _happy_eyeballs(loop: asyncio.AbstractEventLoop) -> dict[str, Any]:
    # uvloop tries the addresses in turn.
    return {"happy_eyeballs_delay": 0.25} if isinstance(loop, asyncio.BaseEventLoop) else {}


def _tls_deadlines(opening: float | None, closing: float | None) -> dict[str, Any]:
    return {"ssl_handshake_timeout": opening, "ssl_shutdown_timeout": closing}


def _client_tls(url: URL, tls: object, opening: float | None, closing: float | None) -> dict[str, Any]:
    """Return what ``create_connection`` takes for TLS."""
    name = (tls.serverName if isinstance(tls, TLS) else None) or url.host
    return {"ssl": _context(tls), "server_hostname": name, **_tls_deadlines(opening, closing)}


def _context(tls: object) -> ssl.SSLContext:
    """Return what checks the server: *tls* is a ``TLS``, an ``SSLContext``, or None for the system's trust roots."""
    if isinstance(tls, ssl.SSLContext):
        return tls
    if tls is not None and not isinstance(tls, TLS):
        raise OptionError(f"tls={tls!r} is not allowed: tls takes a wsfactory.TLS or an ssl.SSLContext")
    asked = tls or TLS()
    context = ssl.create_default_context(cafile=asked.trustRoots)
    if asked.certificate is not None:
        context.load_cert_chain(asked.certificate, asked.key)
    if not asked.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
