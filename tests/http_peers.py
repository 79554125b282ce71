"""HTTP played by the test, over real loopback sockets: servers that answer as told, and a proxy that tunnels."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.protocol import Factory, connectionDone
from twisted.python.failure import Failure

from tests.loopback import Raw, dial, the_reactor
from wsfactory.http11 import Headers, Request


def silent(request: Request) -> None:
    """Say nothing."""


class HttpServer:
    """A server played by the test: *answer* turns each request's head into bytes, None says nothing at all.

    ``heard`` has the requests, ``raws`` the connections.
    """

    def __init__(self, answer: Callable[[Request], bytes | None]) -> None:
        self.answer = answer
        self.heard: list[Request] = []
        self.raws: list[Raw] = []
        self._port: Any = None

    async def listen(self, tls: Any = None) -> int:
        """Listen; returns the port's number."""
        from twisted.internet.endpoints import SSL4ServerEndpoint, TCP4ServerEndpoint

        endpoint: Any = TCP4ServerEndpoint(the_reactor(), 0, interface="127.0.0.1")
        if tls is not None:
            endpoint = SSL4ServerEndpoint(the_reactor(), 0, tls, interface="127.0.0.1")
        self._port = await endpoint.listen(Factory.forProtocol(lambda: _Answering(self)))
        return self._port.getHost().port

    async def stop(self) -> None:
        """Close the port, and every connection."""
        await self._port.stopListening()
        for raw in self.raws:
            if not raw.lost.has_happened:
                raw.wire.abortConnection()
            await raw.lost


class _Answering(Raw):
    def __init__(self, server: HttpServer) -> None:
        super().__init__()
        self._server = server
        self._heard = False
        server.raws.append(self)

    def dataReceived(self, data: bytes) -> None:
        super().dataReceived(data)
        if not self._heard and b"\r\n\r\n" in self.received:
            self._heard = True
            head, _, self.received = self.received.partition(b"\r\n\r\n")
            request = _request(head.decode())
            self._server.heard.append(request)
            self.heard(request)

    def heard(self, request: Request) -> None:
        answer = self._server.answer(request)
        if answer is not None:
            self.wire.write(answer)


def _request(head: str) -> Request:
    # Not by our own reader: that takes no CONNECT.
    start, *lines = head.split("\r\n")
    method, target, _ = start.split(" ")
    return Request(method, target, Headers(tuple(line.split(": ", 1)) for line in lines))  # type: ignore[misc]


class HttpProxy(HttpServer):
    """An HTTP proxy: it makes the tunnels that it is asked for, where *answer* gives nothing else to say."""

    async def listen(self, tls: Any = None) -> int:
        from twisted.internet.endpoints import TCP4ServerEndpoint

        endpoint = TCP4ServerEndpoint(the_reactor(), 0, interface="127.0.0.1")
        self._port = await endpoint.listen(Factory.forProtocol(lambda: _Tunnelling(self)))
        return self._port.getHost().port


class _Tunnelling(_Answering):
    def __init__(self, server: HttpServer) -> None:
        super().__init__(server)
        self._far: Raw | None = None

    def heard(self, request: Request) -> None:
        answer = self._server.answer(request)
        if answer is not None:
            self.wire.write(answer)
            return
        host, _, port = request.target.rpartition(":")
        address = type("Address", (), {"host": "127.0.0.1" if host == "localhost" else host, "port": int(port)})
        Deferred.fromCoroutine(self._connect(address))

    async def _connect(self, address: Any) -> None:
        self._far = await dial(address, lambda: _Far(self))
        self.wire.write(b"HTTP/1.1 200 Connection established\r\n\r\n")

    def dataReceived(self, data: bytes) -> None:
        if self._far is not None:
            self._far.wire.write(data)
        else:
            super().dataReceived(data)

    def readConnectionLost(self) -> None:
        super().readConnectionLost()
        if self._far is not None:
            self._far.wire.loseWriteConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        super().connectionLost(reason)
        if self._far is not None:
            self._far.wire.abortConnection()


class _Far(Raw):
    def __init__(self, near: _Tunnelling) -> None:
        super().__init__()
        self._near = near

    def dataReceived(self, data: bytes) -> None:
        self._near.wire.write(data)

    def readConnectionLost(self) -> None:
        super().readConnectionLost()
        self._near.wire.loseConnection()
