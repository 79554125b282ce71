"""The server's side on Twisted: a protocol to subclass, a factory for any endpoint, ``listen``."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import Any, cast

from twisted.internet import protocol as twisted_protocol
from twisted.internet.defer import Deferred, DeferredList, maybeDeferred
from twisted.internet.interfaces import IAddress, IListeningPort, IReactorTime, IStreamServerEndpoint

from wsfactory.errors import InvalidState
from wsfactory.factory import SharedFactory
from wsfactory.headers import HeaderPairs
from wsfactory.options import check_protocol
from wsfactory.session import ServerSession
from wsfactory.stream import STREAM_SLOTS, Stream
from wsfactory.twisted.endpoints import server_endpoint
from wsfactory.twisted.transport import TwistedProtocol, flavour_for

__all__ = ["ServerFactory", "ServerProtocol", "ServerStream", "ServingFactory", "listen"]


class ServerProtocol(ServerSession, TwistedProtocol):
    """One client's connection; subclass it and implement ``onMessage`` and the other callbacks you need."""

    __slots__ = ()


class ServerFactory(SharedFactory[ServerProtocol], twisted_protocol.ServerFactory):
    """Makes a protocol for each connection; works with every endpoint and with ``reactor.listenTCP``.

    *protocol* is the ``ServerProtocol`` subclass, *subprotocols* the server's preference list, *headers* are added to
    each 101, *options* are those of ``setProtocolOptions``.  Raises ``OptionError`` for a bad option.
    """

    noisy = False
    # Twisted's types ask for its own Protocol class; ours provides IProtocol without it.
    protocol: Callable[..., ServerProtocol] | None = None  # type: ignore[assignment]

    def __init__(
        self,
        protocol: type[ServerProtocol] | None = None,
        *,
        subprotocols: Iterable[str] = (),
        headers: HeaderPairs = (),
        reactor: IReactorTime | None = None,
        **options: object,
    ) -> None:
        check_protocol(protocol, ServerProtocol)
        super().__init__(subprotocols=subprotocols, headers=headers, options=options)
        self.flavour = flavour_for(reactor)
        self.reactor = reactor
        self._ports: list[IListeningPort] = []
        if protocol is not None:
            self.protocol = protocol

    def buildProtocol(self, addr: IAddress | None) -> ServerProtocol:  # type: ignore[override]
        """Return a new protocol that belongs to this factory."""
        return self._new_session()

    def shutdown(self, code: int = 1001, timeout: float | None = 20.0) -> Deferred[list[ServerProtocol]]:
        """Close the ports that ``listen`` opened, then every connection; see ``SharedFactory.shutdown``."""
        ports, self._ports = self._ports, []
        closed = DeferredList([maybeDeferred(port.stopListening) for port in ports], consumeErrors=True)
        return Deferred.fromCoroutine(_both(closed, super().shutdown(code, timeout)))


async def _both(first: Awaitable[object], then: Awaitable[list[ServerProtocol]]) -> list[ServerProtocol]:
    await first
    return await then


class ServerStream(ServerProtocol, Stream):
    """One client's connection, for the coroutine of a ``ServingFactory``."""

    __slots__ = STREAM_SLOTS

    def onOpen(self) -> None:
        """Let the coroutine begin."""
        self._ws_serve(cast("ServingFactory", self.factory).handler)


class ServingFactory(ServerFactory):
    """A factory whose connections are each served by ``await handler(ws)``.

    When the handler returns, its connection closes with 1000; when it raises, with 1011.
    """

    def __init__(self, handler: Callable[[ServerStream], Awaitable[object]], **options: Any) -> None:
        super().__init__(ServerStream, **options)
        self.handler = handler


def listen(
    url_or_endpoint: str | IStreamServerEndpoint, factory: ServerFactory, *, tls: object = None
) -> Deferred[IListeningPort]:
    """Listen; the Deferred fires with the port.

    Takes a URL (``ws://127.0.0.1:9000/``, ``wss://...`` with *tls*, ``ws+unix:///run/x.sock``), an endpoint's
    description (``tcp:9000``, ``ssl:...``, ``systemd:...``) or an endpoint.  Raises ``InvalidURL``, and
    ``InvalidState`` where the factory has no protocol or was shut down (then the Deferred may, too); the Deferred fails
    with Twisted's ``CannotListenError``.
    """
    factory._check_ready()
    listening = server_endpoint(url_or_endpoint, factory.reactor, tls).listen(factory)
    return Deferred.fromCoroutine(_kept(listening, factory))


async def _kept(listening: Awaitable[IListeningPort], factory: ServerFactory) -> IListeningPort:
    port = await listening
    if factory.shuttingDown:
        await maybeDeferred(port.stopListening)
        raise InvalidState("the factory was shut down meanwhile")
    factory._ports.append(port)
    return port
