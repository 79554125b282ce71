"""The client's side on asyncio: a protocol to subclass, a factory for ``loop.create_connection``, ``connect``."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Generator, Iterable
from dataclasses import replace
from types import TracebackType
from typing import Generic, TypeVar

from wsfactory.asyncio.endpoints import dial
from wsfactory.asyncio.transport import AsyncioProtocol, LoopFactory
from wsfactory.dialing import open_session
from wsfactory.headers import HeaderPairs
from wsfactory.opening import Connecting
from wsfactory.options import check_protocol, refuse_beside_factory
from wsfactory.proxy import check_proxy
from wsfactory.redirects import check_max_redirects
from wsfactory.session import ClientSession
from wsfactory.stream import STREAM_SLOTS, Stream
from wsfactory.tls import check_tls
from wsfactory.urls import parse_url

__all__ = ["ClientFactory", "ClientProtocol", "ClientStream", "connect"]


class ClientProtocol(ClientSession, AsyncioProtocol):
    """The connection to one server; subclass it and implement ``onMessage`` and the other callbacks you need."""

    __slots__ = ()


class ClientFactory(LoopFactory[ClientProtocol]):
    """Makes a protocol for each connection to *url*; for ``connect``, and ``loop.create_connection(factory, ...)``.

    *subprotocols* are offered in this order, *headers* are added to the request, *tls* is a ``wsfactory.TLS`` or an
    ``ssl.SSLContext`` (None: verified against the system's trust roots), *proxy* a URL like
    ``http://user:password@host:3128``.  Redirects, TLS and proxies are ``connect``'s.  Raises ``InvalidURL`` and
    ``OptionError``.
    """

    is_client = True

    def __init__(
        self,
        url: str,
        protocol: type[ClientProtocol] | None = None,
        *,
        subprotocols: Iterable[str] = (),
        headers: HeaderPairs = (),
        tls: object = None,
        proxy: str | None = None,
        maxRedirects: int = 5,
        loop: asyncio.AbstractEventLoop | None = None,
        **options: object,
    ) -> None:
        check_protocol(protocol, ClientProtocol)
        check_tls(tls, lambda given: isinstance(given, ssl.SSLContext), "an ssl.SSLContext")
        check_proxy(proxy)
        check_max_redirects(maxRedirects)
        super().__init__(loop, subprotocols=subprotocols, headers=headers, options=options)
        self.url = url
        self.protocol = protocol
        self.tls = tls
        self.proxy = proxy
        self.maxRedirects = maxRedirects
        self.details = Connecting(parse_url(url), self.headers, self.subprotocols)

    async def dial(self, details: Connecting, session: ClientProtocol) -> None:
        """Make the TCP (and TLS) connection on which *session* then opens."""
        options = self.options
        opening, closing = options.openHandshakeTimeout, options.closeHandshakeTimeout
        try:
            await dial(details.url, session, tls=self.tls, proxy=self.proxy, opening=opening, closing=closing)
        except asyncio.CancelledError:
            # uvloop does not report the end of a connection whose making was cancelled.
            if session.transport is not None:
                asyncio.get_running_loop().call_soon(session.connection_lost, None)
            raise


class ClientStream(ClientProtocol, Stream):
    """The connection to one server, for coroutines."""

    __slots__ = STREAM_SLOTS


SessionT = TypeVar("SessionT", bound=ClientProtocol)


class Opening(Generic[SessionT]):
    """An attempt to connect: ``ws = await connect(url)``, or ``async with connect(url) as ws``."""

    def __init__(self, factory: ClientFactory, details: Connecting) -> None:
        self._factory = factory
        self._details = details
        self._session: SessionT | None = None

    async def _open(self) -> SessionT:
        factory = self._factory
        self._session = await open_session(factory, self._details, factory.dial, factory.maxRedirects)  # type: ignore[assignment]
        assert self._session is not None
        return self._session

    def __await__(self) -> Generator[object, None, SessionT]:
        return self._open().__await__()

    async def __aenter__(self) -> SessionT:
        return await self._open()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        session = self._session
        if isinstance(session, Stream):
            await session.close()
        elif session is not None:
            session.sendClose()


def connect(url: str, factory: ClientFactory | None = None, **options: object) -> Opening[ClientStream]:
    """Connect; await it, or use it in ``async with``, which closes at its end.

    Without a *factory* it gives a connection for coroutines, made with *options* (the factory's); with one its
    protocol, once it is open.  Raises ``InvalidURL``, and ``OptionError`` where there are options beside a factory;
    awaiting it raises ``HandshakeError`` (status, headers and body of a refusal), ``HandshakeTimeout`` or
    ``ConnectError``.
    """
    if factory is None:
        factory = ClientFactory(url, ClientStream, **options)  # type: ignore[arg-type]
    else:
        refuse_beside_factory(options)
    return Opening(factory, replace(factory.details, url=parse_url(url)))
