"""``twisted.web.websocket`` as a peer: thin, without subprotocols, headers and the peer's close code."""

from __future__ import annotations

from typing import Any

from remote import Refused, Remote, as_bytes, run_on_twisted, unpacked
from tls_on_twisted import server_endpoint, trust_root
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.web.client import BrowserLikePolicyForHTTPS
from twisted.web.resource import Resource
from twisted.web.server import Request, Site
from twisted.web.websocket import ConnectionRejected, WebSocketClientEndpoint, WebSocketResource, WebSocketTransport


class Reporter:
    """One connection (a ``WebSocketProtocol``)."""

    transport: Any

    def __init__(self, remote: Remote, listener: int | None = None) -> None:
        self.remote = remote
        self.listener = listener
        self.number = 0

    def negotiationStarted(self, transport: WebSocketTransport) -> None:
        self.transport = transport

    def negotiationFinished(self) -> None:
        if not self.number:
            self.number = self.remote.opened(self, None, self.listener)

    def textMessageReceived(self, message: str) -> None:
        self.remote.message(self.number, message)

    def bytesMessageReceived(self, data: bytes | bytearray) -> None:
        self.remote.message(self.number, bytes(data))

    def pongReceived(self, payload: bytes) -> None:
        self.remote.report(self.number, "pong", payload={"text": bytes(payload).decode()})

    def connectionLost(self, reason: Failure) -> None:
        if self.number:
            self.remote.report(self.number, "closed", code=None, reason="", clean=bool(reason.check(ConnectionDone)))


class Factory:
    """Makes reporters, for either side."""

    def __init__(self, remote: Remote, listener: int | None = None) -> None:
        self.remote = remote
        self.listener = listener

    def buildProtocol(self, _: object) -> Reporter:
        return Reporter(self.remote, self.listener)


class Refusing(Resource):
    """Answers every request with the same refusal."""

    isLeaf = True

    def __init__(self, refuse: dict[str, Any]) -> None:
        super().__init__()
        self.refuse = refuse

    def render_GET(self, request: Request) -> bytes:
        request.setResponseCode(self.refuse["status"], self.refuse["reason"].encode())
        for name, value in self.refuse["headers"]:
            request.setHeader(name.encode(), value.encode())
        body: bytes = self.refuse["body"].encode()
        return body


class Root(WebSocketResource):
    """A WebSocket at every path."""

    isLeaf = True


class TwistedWebPeer(Remote):
    """Neither the close code that arrives nor the fragments are told to its applications."""

    async def do_listen(
        self, subprotocols: list[str], refuse: dict[str, Any] | None, certificate: list[str] | None
    ) -> dict[str, int]:
        assert not subprotocols
        listener = self.new_listener()
        root = Refusing(refuse) if refuse else Root(Factory(self, listener))
        port = await server_endpoint(reactor, certificate).listen(Site(root))
        return {"listener": listener, "port": port.getHost().port}

    async def do_connect(
        self, url: str, subprotocols: list[str], origin: str | None, headers: list[list[str]], trust: str | None
    ) -> dict[str, Any]:
        assert [*subprotocols, *headers, origin] == [None]
        policy = BrowserLikePolicyForHTTPS(trust_root(trust))
        endpoint = WebSocketClientEndpoint.new(reactor, url, policy)
        try:
            connection = await endpoint.connect(Factory(self))
        except ConnectionRejected as rejected:
            raise await refused(rejected) from None
        connection.negotiationFinished()
        return {"connection": connection.number, "subprotocol": None}

    async def do_send(self, connection: int, payload: dict[str, str]) -> None:
        transport, value = self.connections[connection].transport, unpacked(payload)
        (transport.sendTextMessage if isinstance(value, str) else transport.sendBytesMessage)(value)

    async def do_ping(self, connection: int, payload: dict[str, str]) -> None:
        self.connections[connection].transport.ping(as_bytes(payload))

    async def do_close(self, connection: int, code: int | None, reason: str) -> None:
        self.connections[connection].transport.loseConnection(code, reason)

    async def do_vanish(self, connection: int) -> None:
        self.connections[connection].transport.transport.abortConnection()


class Body(Protocol):
    """Collects a refusal's body, whose end is that of the connection."""

    def __init__(self) -> None:
        self.received = b""
        self.whole: Deferred[bytes] = Deferred()

    def dataReceived(self, data: bytes) -> None:
        self.received += data

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.whole.callback(self.received)


async def refused(rejected: ConnectionRejected) -> Refused:
    """Return the refusal with its body."""
    response = rejected.response
    lines = [(name, value) for name, values in response.headers.getAllRawHeaders() for value in values]
    headers = [(name.decode(), value.decode()) for name, value in lines]
    body = Body()
    response.deliverBody(body)
    return Refused(response.code, headers, await body.whole)


if __name__ == "__main__":
    run_on_twisted(TwistedWebPeer)
