"""Autobahn, its Twisted flavour, as a peer."""

from __future__ import annotations

import re
from typing import Any

from autobahn.twisted.websocket import (
    WebSocketClientFactory,
    WebSocketClientProtocol,
    WebSocketServerFactory,
    WebSocketServerProtocol,
)
from autobahn.websocket.protocol import WebSocketProtocol
from autobahn.websocket.types import ConnectionDeny
from remote import Refused, Remote, as_bytes, run_on_twisted
from tls_on_twisted import client_endpoint, server_endpoint
from twisted.internet import reactor
from twisted.internet.defer import Deferred

# Its timers are rounded to whole seconds: a timeout of one second may end at once.
PATIENT = {"openHandshakeTimeout": 30, "closeHandshakeTimeout": 30}


class Reports(WebSocketProtocol):
    """Reports what happens on one connection; mixed into both of Autobahn's protocols."""

    factory: Any
    number = 0
    frames = 0

    def onMessageFrameEnd(self) -> None:
        self.frames += 1
        super().onMessageFrameEnd()

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        self.factory.remote.message(self.number, payload if isBinary else payload.decode(), self.frames)
        self.frames = 0

    def onPong(self, payload: bytes) -> None:
        super().onPong(payload)
        self.factory.remote.report(self.number, "pong", payload={"text": payload.decode()})

    def onClose(self, wasClean: bool, code: int, reason: str | None) -> None:
        if self.number:
            self.factory.remote.report(self.number, "closed", code=code, reason=reason or "")


class Server(Reports, WebSocketServerProtocol):
    """A connection that was accepted."""

    def onConnect(self, request: Any) -> str | None:
        refuse = self.factory.refuse
        if refuse is not None:
            raise ConnectionDeny(refuse["status"], refuse["reason"])
        return next((name for name in self.factory.protocols if name in request.protocols), None)

    def onOpen(self) -> None:
        self.number = self.factory.remote.opened(self, self.websocket_protocol_in_use, self.factory.listener)


class Client(Reports, WebSocketClientProtocol):
    """A connection that was made."""

    def onOpen(self) -> None:
        self.number = self.factory.remote.opened(self, self.websocket_protocol_in_use)
        self.factory.open.callback({"connection": self.number, "subprotocol": self.websocket_protocol_in_use})

    def onClose(self, wasClean: bool, code: int, reason: str | None) -> None:
        super().onClose(wasClean, code, reason)
        if not self.number:
            status = re.search(r"upgrade failed \[(\d+)\]", reason or "")
            self.factory.open.errback(Refused(int(status[1])) if status else ConnectionError(reason))


class AutobahnPeer(Remote):
    """Close codes that its ``sendClose`` refuses are sent by ``sendCloseFrame``, below it."""

    async def do_listen(
        self, subprotocols: list[str], refuse: dict[str, Any] | None, certificate: list[str] | None
    ) -> dict[str, int]:
        factory = WebSocketServerFactory(protocols=subprotocols)
        factory.protocol = Server
        factory.setProtocolOptions(**PATIENT)
        factory.remote, factory.listener, factory.refuse = self, self.new_listener(), refuse
        port = await server_endpoint(reactor, certificate).listen(factory)
        return {"listener": factory.listener, "port": port.getHost().port}

    async def do_connect(
        self, url: str, subprotocols: list[str], origin: str | None, headers: list[list[str]], trust: str | None
    ) -> object:
        factory = WebSocketClientFactory(url, origin=origin, protocols=subprotocols, headers=dict(headers))
        factory.protocol = Client
        factory.setProtocolOptions(**PATIENT, serverConnectionDropTimeout=30)
        factory.remote, factory.open = self, Deferred()
        await client_endpoint(reactor, url, trust).connect(factory)
        return await factory.open

    async def do_send(self, connection: int, payload: dict[str, str]) -> None:
        self.connections[connection].sendMessage(as_bytes(payload), "binary" in payload)

    async def do_fragments(self, connection: int, payloads: list[dict[str, str]], ping: dict[str, str]) -> None:
        """Send one message in fragments, with a Ping behind the first."""
        peer = self.connections[connection]
        peer.beginMessage("binary" in payloads[0])
        for number, payload in enumerate(payloads):
            if number == 1:
                peer.sendPing(as_bytes(ping))
            peer.sendMessageFrame(as_bytes(payload))
        peer.endMessage()

    async def do_ping(self, connection: int, payload: dict[str, str]) -> None:
        self.connections[connection].sendPing(as_bytes(payload))

    async def do_close(self, connection: int, code: int | None, reason: str) -> None:
        self.connections[connection].sendCloseFrame(code=code, reasonUtf8=reason.encode() or None)

    async def do_vanish(self, connection: int) -> None:
        self.connections[connection].transport.abortConnection()


if __name__ == "__main__":
    run_on_twisted(AutobahnPeer)
