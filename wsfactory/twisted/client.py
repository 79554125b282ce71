"""The client's side on Twisted: a protocol to subclass, a factory for any endpoint, ``connect``."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial

from twisted.internet import protocol as twisted_protocol
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import (
    IAddress,
    IOpenSSLClientConnectionCreator,
    IReactorTime,
    ISSLTransport,
    IStreamClientEndpoint,
)
from twisted.python.failure import Failure

from wsfactory.dialing import open_session
from wsfactory.factory import SharedFactory
from wsfactory.headers import HeaderPairs
from wsfactory.opening import ClientOpening, Connecting
from wsfactory.options import check_protocol, refuse_beside_factory
from wsfactory.proxy import check_proxy
from wsfactory.redirects import check_max_redirects
from wsfactory.session import ClientSession
from wsfactory.stream import STREAM_SLOTS, Stream
from wsfactory.tls import check_tls
from wsfactory.twisted.endpoints import client_endpoint
from wsfactory.twisted.transport import TwistedProtocol, flavour_for
from wsfactory.urls import parse_url

__all__ = ["ClientFactory", "ClientProtocol", "ClientStream", "connect"]

# What an attempt may take where openHandshakeTimeout does not bound it.
CONNECT_SECONDS = 30.0


class ClientProtocol(ClientSession, TwistedProtocol):
    """The connection to one server; subclass it and implement ``onMessage`` and the other callbacks you need."""

    __slots__ = ()

    def connectionLost(self, reason: Failure) -> None:
        """TCP is gone; where TLS failed (endpoints connect before it is tried), there never was a connection."""
        if isinstance(self._ws_opening, ClientOpening) and ISSLTransport.providedBy(self.transport):
            self._ws_tell_tls_fault(self._ws_opening, reason.value)
        super().connectionLost(reason)

    def _ws_tell_tls_fault(self, opening: ClientOpening, reason: BaseException | None) -> None:
        from wsfactory.twisted.certificates import tls_fault

        assert reason is not None
        fault = tls_fault(self.transport, reason)
        if fault is not None:
            opening.not_connected(f"TLS with {self._ws_peer()} failed: {fault}", reason)


class ClientStream(ClientProtocol, Stream):
    """The connection to one server, for coroutines: ``recv``, ``send``, ``async for``."""

    __slots__ = STREAM_SLOTS


class ClientFactory(SharedFactory[ClientProtocol], twisted_protocol.ClientFactory):
    """Makes a protocol for each connection to *url*; for ``connect``, any endpoint, and ``reactor.connectTCP``.

    *subprotocols* are offered in this order, *headers* are added to the request, *tls* is a ``wsfactory.TLS`` (None:
    verified against the system's trust roots), *proxy* a URL like ``http://user:password@host:3128``.  Redirects,
    TLS and proxies are ``connect``'s.  Raises ``InvalidURL`` and ``OptionError``.
    """

    noisy = False
    is_client = True
    # Twisted's types ask for its own Protocol class; ours provides IProtocol without it.
    protocol: Callable[..., ClientProtocol] | None = None  # type: ignore[assignment]

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
        reactor: IReactorTime | None = None,
        **options: object,
    ) -> None:
        check_protocol(protocol, ClientProtocol)
        check_tls(tls, IOpenSSLClientConnectionCreator.providedBy, "an IOpenSSLClientConnectionCreator")
        check_proxy(proxy)
        check_max_redirects(maxRedirects)
        super().__init__(subprotocols=subprotocols, headers=headers, options=options)
        self.flavour = flavour_for(reactor)
        self.reactor = reactor
        self.url = url
        self.tls = tls
        self.proxy = proxy
        self.maxRedirects = maxRedirects
        self.details = Connecting(parse_url(url), self.headers, self.subprotocols)
        if protocol is not None:
            self.protocol = protocol

    def buildProtocol(self, addr: IAddress | None) -> ClientProtocol:  # type: ignore[override]
        """Return a new protocol that belongs to this factory."""
        return self._new_session()

    def endpoint_for(self, details: Connecting) -> IStreamClientEndpoint:
        """Return the endpoint that leads where *details* says; ``openHandshakeTimeout`` bounds it from outside."""
        timeout = None if self.options.openHandshakeTimeout else CONNECT_SECONDS
        return client_endpoint(details.url, self.reactor, tls=self.tls, proxy=self.proxy, timeout=timeout)


def connect(url: str, factory: ClientFactory | None = None, **options: object) -> Deferred[ClientProtocol]:
    """Connect; the Deferred fires with the protocol once it is open, whether its ``onOpen`` then raises or not.

    It fails with ``HandshakeError`` (status, headers and body of a refusal), ``HandshakeTimeout`` or ``ConnectError``;
    cancelling it ends the attempt.  Without a *factory* it gives a connection for coroutines, made with *options* (the
    factory's).  Raises ``InvalidURL``, ``InvalidState`` where the factory has no protocol, and ``OptionError`` where
    there are options beside it.
    """
    if factory is None:
        factory = ClientFactory(url, ClientStream, **options)  # type: ignore[arg-type]
    else:
        refuse_beside_factory(options)
    factory._check_ready()
    details = replace(factory.details, url=parse_url(url))
    return Deferred.fromCoroutine(open_session(factory, details, partial(_dial, factory), factory.maxRedirects))


async def _dial(factory: ClientFactory, details: Connecting, session: ClientProtocol) -> None:
    """Make the TCP connection on which *session* then opens."""
    await factory.endpoint_for(details).connect(_Only(session))


class _Only(twisted_protocol.ClientFactory):
    """A factory of the one protocol that exists already."""

    noisy = False

    def __init__(self, session: ClientProtocol) -> None:
        self._session = session

    def buildProtocol(self, addr: IAddress | None) -> ClientProtocol:  # type: ignore[override]
        """Return it."""
        return self._session
