"""A client endpoint through an HTTP proxy: CONNECT first, then whatever the wrapped factory speaks."""

from __future__ import annotations

from typing import Any

from twisted.internet import defer
from twisted.internet.defer import Deferred
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
    """Leads to *url* through the proxy that *endpoint* leads to; the proxy has *timeout* seconds to answer."""

    def __init__(
        self,
        endpoint: IStreamClientEndpoint,
        url: URL,
        proxy: ProxyURL,
        reactor: IReactorTime,
        timeout: float | None = None,
    ) -> None:
        self._endpoint = endpoint
        self._url = url
        self._proxy = proxy
        self._reactor = reactor
        self._timeout = timeout

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        """Connect; fires with the protocol of *protocolFactory*, fails with ``ConnectError``."""
        return Deferred.fromCoroutine(self._connect(protocolFactory))

    async def _connect(self, factory: IProtocolFactory) -> IProtocol:
        tunnel = _Tunnel(factory, proxy_request(self._url, self._proxy))
        to_proxy = Factory.forProtocol(lambda: tunnel)
        to_proxy.noisy = False
        await self._endpoint.connect(to_proxy)
        if self._timeout is not None:
            tunnel.stands.addTimeout(self._timeout, self._reactor)
        try:
            return await tunnel.stands
        except defer.TimeoutError:
            raise ConnectError(f"the proxy did not answer within {self._timeout:g} s") from None


@implementer(IHalfCloseableProtocol)
class _Tunnel(Protocol):
    """Speaks to the proxy, then only passes things on."""

    # Any: what a transport can do beyond ITransport, its interfaces leave open.
    transport: Any

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
        elif not self.stands.called:
            self._read_answer(data)

    def _read_answer(self, data: bytes) -> None:
        try:
            response = self._reader.feed(data)
            if response is None:
                return
            check_proxy_response(response)
        except ConnectError as error:
            self._fail(error)
        except MalformedHead as error:
            self._fail(ConnectError(f"the proxy's answer is not HTTP/1.1: {error}"))
        else:
            self._stand(self._reader.rest)

    def _stand(self, rest: bytes) -> None:
        inner: Any = self._factory.buildProtocol(self.transport.getPeer())
        self._inner = inner
        inner.makeConnection(self.transport)
        self.stands.callback(inner)
        if rest:
            inner.dataReceived(rest)

    def _fail(self, error: ConnectError) -> None:
        self.transport.loseConnection()
        self.stands.errback(error)

    def readConnectionLost(self) -> None:
        """The other end shut down its sending side."""
        inner: Any = IHalfCloseableProtocol(self._inner, None)
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
