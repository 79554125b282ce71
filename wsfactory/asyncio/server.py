"""The server's side on asyncio: a protocol to subclass, a factory for ``loop.create_server``, ``listen``, ``serve``."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable, Generator, Iterable
from types import TracebackType
from typing import Self, cast

from wsfactory.asyncio.endpoints import listening
from wsfactory.asyncio.transport import AsyncioProtocol, LoopFactory
from wsfactory.errors import InvalidState
from wsfactory.headers import HeaderPairs
from wsfactory.options import check_protocol
from wsfactory.session import ServerSession
from wsfactory.stream import STREAM_SLOTS, Stream

__all__ = ["ServerFactory", "ServerProtocol", "ServerStream", "Serving", "listen", "serve"]


class ServerProtocol(ServerSession, AsyncioProtocol):
    """One client's connection; subclass it and implement ``onMessage`` and the other callbacks you need."""

    __slots__ = ()


class ServerFactory(LoopFactory[ServerProtocol]):
    """Makes a protocol for each connection; ``loop.create_server(factory, ...)`` takes it as it is.

    *protocol* is the ``ServerProtocol`` subclass, *subprotocols* the server's preference list, *headers* are added to
    each 101, *options* are those of ``setProtocolOptions``.  Raises ``OptionError`` for a bad option.
    """

    def __init__(
        self,
        protocol: type[ServerProtocol] | None = None,
        *,
        subprotocols: Iterable[str] = (),
        headers: HeaderPairs = (),
        loop: asyncio.AbstractEventLoop | None = None,
        **options: object,
    ) -> None:
        check_protocol(protocol, ServerProtocol)
        super().__init__(loop, subprotocols=subprotocols, headers=headers, options=options)
        self.protocol = protocol
        self._servers: list[asyncio.Server] = []

    def shutdown(self, code: int = 1001, timeout: float | None = 20.0) -> asyncio.Future[list[ServerProtocol]]:
        """Close the servers that ``listen`` opened, then every connection; see ``SharedFactory.shutdown``."""
        servers, self._servers = self._servers, []
        for server in servers:
            server.close()
        return cast("asyncio.Future[list[ServerProtocol]]", super().shutdown(code, timeout))


async def listen(url: str, factory: ServerFactory, *, tls: ssl.SSLContext | None = None) -> asyncio.Server:
    """Listen at *url* (``ws://127.0.0.1:9000/``, ``wss://...`` with *tls*, ``ws+unix:///run/x.sock``).

    Raises ``InvalidURL``, and ``OSError`` where the address is taken.
    """
    factory._check_ready()
    server = await listening(
        url, factory, tls, factory.options.openHandshakeTimeout, factory.options.closeHandshakeTimeout
    )
    if factory.shuttingDown:
        server.close()
        raise InvalidState("the factory was shut down meanwhile")
    factory._servers.append(server)
    return server


class ServerStream(ServerProtocol, Stream):
    """One client's connection, for the coroutine that ``serve`` runs."""

    __slots__ = STREAM_SLOTS

    def onOpen(self) -> None:
        """Messages may flow: the coroutine begins."""
        self._ws_serve(cast("ServingFactory", self.factory).handler)


class ServingFactory(ServerFactory):
    """A factory whose connections are each served by one coroutine."""

    def __init__(self, handler: Callable[[ServerStream], Awaitable[object]], **options: object) -> None:
        super().__init__(ServerStream, **options)  # type: ignore[arg-type]
        self.handler = handler


class Serving:
    """A server for coroutines: ``async with serve(...) as server``, or ``server = await serve(...)``."""

    def __init__(self, factory: ServingFactory, url: str, tls: ssl.SSLContext | None) -> None:
        self.factory = factory
        self._url = url
        self._tls = tls
        self._server: asyncio.Server | None = None
        self._ending: asyncio.Future[list[ServerProtocol]] | None = None

    @property
    def sockets(self) -> tuple[object, ...]:
        """The listening sockets."""
        return tuple(self._server.sockets) if self._server is not None else ()

    @property
    def port(self) -> int:
        """The port of the first listening socket."""
        return int(self.sockets[0].getsockname()[1])  # type: ignore[attr-defined]

    def close(self, code: int = 1001, timeout: float | None = 20.0) -> None:
        """Stop accepting, close every connection with *code*, cancel and abort what is left after *timeout* seconds.

        A second call aborts at once.
        """
        self._ending = self.factory.shutdown(code, timeout)

    async def wait_closed(self) -> None:
        """Wait until ``close`` has been called and every connection and its handler have ended."""
        if self._ending is not None:
            await asyncio.shield(self._ending)
        if self._server is not None:
            await self._server.wait_closed()

    async def _start(self) -> Serving:
        if self._server is None:
            self._server = await listen(self._url, self.factory, tls=self._tls)
        return self

    def __await__(self) -> Generator[object, None, Serving]:
        return self._start().__await__()

    async def __aenter__(self) -> Self:
        await self._start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # A second close() would abort what the first has begun to close.
        if self._ending is None:
            self.close()
        await self.wait_closed()


def serve(
    handler: Callable[[ServerStream], Awaitable[object]],
    host: str = "127.0.0.1",
    port: int = 0,
    *,
    path: str | None = None,
    tls: ssl.SSLContext | None = None,
    **options: object,
) -> Serving:
    """Serve each connection with ``await handler(ws)``.

    *path* is a UNIX socket instead of host and port.  *options* are the factory's.  When the handler returns, its
    connection closes with 1000; when it raises, with 1011.
    """
    if path is not None:
        url = f"ws+unix://{path}:/"
    else:
        url = f"{'wss' if tls else 'ws'}://{f'[{host}]' if ':' in host else host}:{port}/"
    return Serving(ServingFactory(handler, **options), url, tls)
