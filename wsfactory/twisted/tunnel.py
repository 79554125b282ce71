"""A client endpoint through an HTTP proxy: CONNECT first, then whatever the wrapped factory speaks."""

from __future__ import annotations

from twisted.internet.defer import Deferred, TimeoutError, ensureDeferred
from twisted.internet.interfaces import (
    IHalfCloseableProtocol,
    IProtocol,
    IProtocolFactory,
    IReactorTime,
    IStreamClientEndpoint,
)
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from wsfactory.errors import ConnectError, MalformedHead
from wsfactory.http11 import response_reader
from wsfactory.proxy import ProxyURL, check_proxy_response, proxy_request
from wsfactory.urls import URL

__all__ = ["TunnelEndpoint"]


@implementer(IStreamClientEndpoint)
class TunnelEndpoint:
    """Leads to *url* through the proxy that *endpoint* leads to."""

    def __init__(
        self, endpoint: IStreamClientEndpoint, url: URL, proxy: ProxyURL, reactor: IReactorTime, timeout: float
    ) -> None:
        self._endpoint = endpoint
        self._url = url
        self._proxy = proxy
        self._reactor = reactor
        self._timeout = timeout

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        """Connect; fires with the protocol of *protocolFactory*, fails with ``ConnectError``."""
        return ensureDeferred(self._connect(protocolFactory))

    async def _connect(self, factory: IProtocolFactory) -> IProtocol:
        request = proxy_request(self._url, self._proxy)
        tunnel = await self._endpoint.connect(Factory.forProtocol(lambda: _Tunnel(factory, request)))
        try:
            return await tunnel.stands.addTimeout(self._timeout, self._reactor)
        except TimeoutError:
            tunnel.transport.abortConnection()
            raise ConnectError("the proxy did not answer in time") from None


@implementer(IHalfCloseableProtocol)
class _Tunnel(Protocol):
    """Speaks to the proxy, then only passes things on."""

    def __init__(self, factory: IProtocolFactory, request: bytes) -> None:
        self._factory = factory
        self._request = request
        self._reader = response_reader()
        self._inner: IProtocol | None = None
        self.stands: Deferred[IProtocol] = Deferred(lambda _: self.transport.abortConnection())

    def connectionMade(self) -> None:
        """Ask for the tunnel."""
        self.transport.write(self._request)

    def dataReceived(self, data: bytes) -> None:
        """Read the answer; then pass on."""
        if self._inner is not None:
            self._inner.dataReceived(data)
            return
        try:
            response = self._reader.feed(data)
            if response is None:
                return
            check_proxy_response(response)
        except (MalformedHead, ConnectError) as error:
            self._fail(ConnectError(f"the proxy refused: {error}"))
            return
        self._stand()

    def _stand(self) -> None:
        inner = self._inner = self._factory.buildProtocol(self.transport.getPeer())
        inner.makeConnection(self.transport)
        self.stands.callback(inner)
        if self._reader.rest:
            inner.dataReceived(self._reader.rest)

    def _fail(self, error: ConnectError) -> None:
        self.transport.loseConnection()
        if not self.stands.called:
            self.stands.errback(error)

    def readConnectionLost(self) -> None:
        """The other end shut down its sending side."""
        inner = IHalfCloseableProtocol(self._inner, None)
        if inner is not None:
            inner.readConnectionLost()
        else:
            self.transport.loseConnection()

    def writeConnectionLost(self) -> None:
        """Our own shutting down has been done."""

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The proxy's connection is gone."""
        if self._inner is not None:
            self._inner.connectionLost(reason)
        elif not self.stands.called:
            self.stands.errback(ConnectError(f"the proxy closed the connection: {reason.getErrorMessage()}"))
