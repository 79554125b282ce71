"""Where to listen and where to connect, on asyncio: URLs, TLS, proxies, UNIX sockets."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from typing import Any

from wsfactory.asyncio.addresses import connected_socket
from wsfactory.asyncio.tunnel import open_tunnel
from wsfactory.errors import ConnectError, OptionError
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
    secure = {"ssl": tls, **_tls_deadlines(opening, closing)} if url.secure else {}
    if url.unix_path is not None:
        return await loop.create_unix_server(factory, url.unix_path)
    return await loop.create_server(factory, url.host, url.port, **secure)


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

    The whole attempt is bounded from outside by *opening* (None: here, by ``CONNECT_SECONDS``).  Raises ``OSError`` or
    ``ConnectError``, which say why.
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
            await _connect(url, protocol, secure)


async def _connect(url: URL, protocol: asyncio.BaseProtocol, secure: dict[str, Any]) -> None:
    handle = await connected_socket(url.host, url.port)
    try:
        await asyncio.get_running_loop().create_connection(lambda: protocol, sock=handle, **secure)
    except ConnectionResetError as error:
        if not secure:
            raise
        raise ConnectError("the server closed during the TLS handshake") from error


def _tls_deadlines(opening: float | None, closing: float | None) -> dict[str, Any]:
    return {"ssl_handshake_timeout": opening, "ssl_shutdown_timeout": closing}


def _client_tls(url: URL, tls: object, opening: float | None, closing: float | None) -> dict[str, Any]:
    """Return what ``create_connection`` takes for TLS."""
    name = (tls.serverName if isinstance(tls, TLS) else None) or url.host
    # Twice: the deadline of the whole attempt, which tells it as a HandshakeTimeout, comes first.
    return {"ssl": _context(tls), "server_hostname": name, **_tls_deadlines(opening and 2 * opening, closing)}


def _context(tls: object) -> ssl.SSLContext:
    """Return what checks the server: *tls* is a ``TLS``, an ``SSLContext``, or None for the system's trust roots."""
    if isinstance(tls, ssl.SSLContext):
        return tls
    if tls is not None and not isinstance(tls, TLS):
        raise OptionError(f"tls={tls!r} is not allowed: tls takes a wsfactory.TLS or an ssl.SSLContext")
    asked = tls or TLS()
    try:
        context = ssl.create_default_context(cafile=asked.trustRoots)
    except OSError as error:
        raise OptionError(f"tls: trustRoots={asked.trustRoots!r} cannot be read: {error.strerror or error}") from error
    if asked.certificate is not None:
        _show(context, asked.certificate, asked.key)
    if not asked.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _show(context: ssl.SSLContext, certificate: str, key: str | None) -> None:
    try:
        context.load_cert_chain(certificate, key)
    except OSError as error:
        raise OptionError(
            f"tls: certificate={certificate!r} or key={key!r} cannot be read: {error.strerror or error}"
        ) from error
