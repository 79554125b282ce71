"""A connection through an HTTP proxy on asyncio: CONNECT first, then whatever the protocol speaks."""

from __future__ import annotations

import asyncio
import ssl
from typing import Any, cast

from wsfactory.asyncio.addresses import connected_socket
from wsfactory.errors import ConnectError, MalformedHead
from wsfactory.http11 import response_reader
from wsfactory.proxy import ProxyURL, check_proxy_response, proxy_request
from wsfactory.urls import URL

__all__ = ["open_tunnel"]


async def open_tunnel(
    url: URL,
    proxy: ProxyURL,
    proxy_tls: ssl.SSLContext | None,
    protocol: asyncio.BaseProtocol,
    secure: dict[str, Any],
) -> None:
    """Connect *protocol* to *url* through *proxy*; *secure* are the arguments of TLS inside it, if there is any.

    Raises ``ConnectError``.
    """
    loop = asyncio.get_running_loop()
    handle = await connected_socket(proxy.host, proxy.port)
    transport, tunnel = await loop.create_connection(
        lambda: _Tunnel(proxy_request(url, proxy)),
        sock=handle,
        ssl=proxy_tls,
        server_hostname=proxy.host if proxy_tls else None,
    )
    try:
        rest = await tunnel.stands
        if secure:
            inner = await loop.start_tls(transport, protocol, secure.pop("ssl"), **secure)
            if inner is None:
                raise ConnectError("the connection was lost during TLS")
            protocol.connection_made(inner)
            return
    except BaseException:
        transport.abort()
        raise
    transport.set_protocol(protocol)
    protocol.connection_made(transport)
    if rest:
        cast("Any", protocol)._ws_data_received(rest)
    transport.resume_reading()


class _Tunnel(asyncio.Protocol):
    """Speaks to the proxy until the tunnel stands."""

    def __init__(self, request: bytes) -> None:
        self._request = request
        self._reader = response_reader()
        self._transport: asyncio.Transport | None = None
        self.stands: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask for the tunnel."""
        self._transport = cast("asyncio.Transport", transport)
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        """Read the answer."""
        assert self._transport is not None
        if self.stands.done():
            return
        try:
            response = self._reader.feed(data)
            if response is None:
                return
            check_proxy_response(response)
        except (MalformedHead, ConnectError) as error:
            self._fail(f"the proxy refused: {error}")
            return
        # What comes now is for the protocol inside.
        self._transport.pause_reading()
        self.stands.set_result(self._reader.rest)

    def connection_lost(self, exc: Exception | None) -> None:
        """The proxy's connection is gone."""
        if not self.stands.done():
            self._fail(f"the proxy closed the connection: {exc or 'without an answer'}")

    def _fail(self, why: str) -> None:
        self.stands.set_exception(ConnectError(why))
        # Whoever has given up need not look: asyncio would log one that nobody looked at.
        self.stands.exception()
