"""The client's side on Twisted: a protocol to subclass, a factory for any endpoint, ``connect``."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from twisted.internet import protocol as twisted_protocol
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IAddress, IReactorTime, IStreamClientEndpoint
from twisted.python.failure import Failure

from wsfactory.errors import ConnectError, HeaderPairs, InvalidState
from wsfactory.factory import SharedFactory
from wsfactory.http11 import Headers
from wsfactory.opening import ClientOpening, Connecting, Redirected
from wsfactory.session import ClientSession
from wsfactory.twisted.endpoints import client_endpoint
from wsfactory.twisted.transport import TwistedProtocol, flavour_for
from wsfactory.urls import parse_url

__all__ = ["ClientFactory", "ClientProtocol", "connect"]


class ClientProtocol(ClientSession, TwistedProtocol):
    """The connection to one server; subclass it and implement ``onMessage`` and the other callbacks you need."""

    __slots__ = ()

    def connectionLost(self, reason: Failure) -> None:
        """TCP is gone; where TLS failed (endpoints connect before it is tried), there never was a connection."""
        opening = self._opening
        if isinstance(opening, ClientOpening) and not reason.check(ConnectionDone, ConnectionLost):
            failed = ConnectError(f"TLS with {self.peer} failed: {_tls_fault(reason.value)}")
            failed.__cause__ = reason.value
            opening.not_connected(failed)
        super().connectionLost(reason)


class ClientFactory(SharedFactory[ClientProtocol], twisted_protocol.ClientFactory):
    """Makes a protocol for each connection to *url*; for ``connect``, any endpoint, and ``reactor.connectTCP``.

    *subprotocols* are offered in this order, *headers* are added to the request, *tls* is a ``wsfactory.TLS`` (None:
    verified against the system's trust roots), *proxy* a URL like ``http://user:password@host:3128``.  Redirects,
    TLS and proxies are ``connect``'s.  Raises ``InvalidURL`` and ``OptionError``.
    """

    noisy = False
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
        reactor: IReactorTime | None = None,
        **options: object,
    ) -> None:
        super().__init__(subprotocols=subprotocols, headers=headers, options=options)
        self.flavour = flavour_for(reactor)
        self.reactor = reactor
        self.url = url
        self.tls = tls
        self.proxy = proxy
        self.maxRedirects = maxRedirects
        self.details = Connecting(parse_url(url), Headers(headers), self.subprotocols)
        if protocol is not None:
            self.protocol = protocol

    def buildProtocol(self, addr: IAddress | None) -> ClientProtocol:
        """Return a new protocol that belongs to this factory."""
        if self.protocol is None:
            raise InvalidState("the factory has no protocol: ClientFactory(url, MyProtocol), or factory.protocol = ...")
        session = self.protocol()
        session._adopt(self)
        return session

    def endpoint_for(self, details: Connecting) -> IStreamClientEndpoint:
        """Return the endpoint that leads where *details* says."""
        timeout = self.options.openHandshakeTimeout
        return client_endpoint(details.url, self.reactor, tls=self.tls, proxy=self.proxy, timeout=timeout)


def connect(url: str, factory: ClientFactory | None = None, **options: object) -> Deferred[ClientProtocol]:
    """Connect; the Deferred fires with the protocol once it is open.

    It fails with ``HandshakeError`` (status, headers and body of a refusal), ``HandshakeTimeout`` or ``ConnectError``;
    cancelling it ends the attempt.  Without a *factory* one is made from *options*.  Raises ``InvalidURL``.
    """
    if factory is None:
        factory = ClientFactory(url, ClientProtocol, **options)
    elif options:
        factory.setProtocolOptions(**options)
    return Deferred.fromCoroutine(_connect(factory, replace(factory.details, url=parse_url(url))))


async def _connect(factory: ClientFactory, details: Connecting) -> ClientProtocol:
    redirects_left = factory.maxRedirects
    while True:
        try:
            return await _attempt(factory, details, follows=redirects_left > 0)
        except Redirected as redirect:
            redirects_left -= 1
            details = replace(details, url=redirect.url, headers=redirect.request_headers)


async def _attempt(factory: ClientFactory, details: Connecting, follows: bool) -> ClientProtocol:
    session = factory.buildProtocol(None)
    futures = factory.flavour.futures
    opened = session._opened = futures.create(lambda: session.dropConnection(abort=True))
    connecting: list[Deferred[object]] = []

    def dial(changed: Connecting) -> None:
        attempt = Deferred.fromCoroutine(_dial(factory, changed, session))
        connecting.append(attempt)

    session._prepare(details, dial, follows)
    try:
        return await opened
    finally:
        for attempt in connecting:
            attempt.cancel()


async def _dial(factory: ClientFactory, details: Connecting, session: ClientProtocol) -> None:
    """Make the TCP (and TLS) connection on which *session* then opens."""
    try:
        endpoint = factory.endpoint_for(details)
        await endpoint.connect(_Only(session))
    except Exception as error:
        opening = session._opening
        if opening is not None and session.transport is None:
            failed = ConnectError(f"cannot connect to {details.url}: {str(error) or type(error).__name__}")
            failed.__cause__ = error
            opening.not_connected(failed)


def _tls_fault(error: BaseException | None) -> str:
    """Return what went wrong; OpenSSL says it as [(library, function, fault), ...]."""
    match error and error.args:
        case ([(str(), str(), str(fault)), *_],):
            return fault
    return str(error)


class _Only(twisted_protocol.ClientFactory):
    """A factory of the one protocol that exists already."""

    noisy = False

    def __init__(self, session: ClientProtocol) -> None:
        self._session = session

    def buildProtocol(self, addr: IAddress | None) -> ClientProtocol:
        """Return it."""
        return self._session
