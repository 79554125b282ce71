"""Echo servers whose memory is measured: one for each WebSocket implementation for Python, and the bare event loops.

    python benchmarks/memory_servers.py NAME

It listens on 127.0.0.1, prints its port, and ends when its standard input does.  For benchmarks/memory.py.  Each server
is written as its users would write it: nothing is left out or added to save memory.  Compression and automatic pings
are off everywhere, other options are at their defaults.  The bare protocols ("raw") know no WebSocket: they answer a
request with a constant, and echo every other read; what they take, the event loop and its transports take.
"""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

HOST = "127.0.0.1"
SWITCHING = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"

# A Twisted factory; or, once it is awaited, what has a list of listening ``sockets``, like asyncio.Server.
Started = Any


@dataclass(frozen=True, slots=True)
class Server:
    """One that can be started: what it runs on, and the modules that it needs."""

    runs_on: str
    needs: tuple[str, ...]
    start: Callable[[], Started]

    @property
    def missing(self) -> tuple[str, ...]:
        return tuple(name for name in self.needs if not is_installed(name))


def is_installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:
        return False


# On Twisted: each returns a factory.


def wsfactory_on_twisted() -> Started:
    from wsfactory.twisted import ServerFactory, ServerProtocol

    class Echo(ServerProtocol):
        def onMessage(self, payload: bytes, isBinary: bool) -> None:
            self.sendMessage(payload, isBinary)

    return ServerFactory(Echo)


def autobahn_on_twisted() -> Started:
    from autobahn.twisted.websocket import WebSocketServerFactory, WebSocketServerProtocol

    class Echo(WebSocketServerProtocol):  # type: ignore[misc]
        def onMessage(self, payload: bytes, isBinary: bool) -> None:
            self.sendMessage(payload, isBinary)

    factory = WebSocketServerFactory()
    factory.protocol = Echo
    return factory


def twisted_web() -> Started:
    from twisted.web.server import Site
    from twisted.web.websocket import WebSocketResource, WebSocketTransport

    class Echo:
        transport: WebSocketTransport

        def negotiationStarted(self, transport: WebSocketTransport) -> None:
            self.transport = transport

        def negotiationFinished(self) -> None: ...

        def bytesMessageReceived(self, data: bytes) -> None:
            self.transport.sendBytesMessage(data)

        def connectionLost(self, reason: object) -> None: ...

    class Factory:
        def buildProtocol(self, request: object) -> Any:
            return Echo()

    class Root(WebSocketResource):
        isLeaf = True

    return Site(Root(Factory()))


def raw_on_twisted() -> Started:
    from twisted.internet.protocol import Factory, Protocol

    class Echo(Protocol):
        transport: Any

        def dataReceived(self, data: bytes) -> None:
            self.transport.write(answer(data))

    return Factory.forProtocol(Echo)


# On asyncio: each is listening when it returns.


async def wsfactory_on_asyncio() -> Started:
    from wsfactory.asyncio import ServerFactory, ServerProtocol

    class Echo(ServerProtocol):
        def onMessage(self, payload: bytes, isBinary: bool) -> None:
            self.sendMessage(payload, isBinary)

    return await asyncio.get_running_loop().create_server(ServerFactory(Echo), HOST, 0)


async def wsfactory_serve() -> Started:
    from wsfactory.asyncio import ServerStream, serve

    async def echo(ws: ServerStream) -> None:
        async for message in ws:
            await ws.send(message)

    return await serve(echo, HOST, 0)


async def autobahn_on_asyncio() -> Started:
    from autobahn.asyncio.websocket import WebSocketServerFactory, WebSocketServerProtocol

    class Echo(WebSocketServerProtocol):  # type: ignore[misc]
        def onMessage(self, payload: bytes, isBinary: bool) -> None:
            self.sendMessage(payload, isBinary)

    loop = asyncio.get_running_loop()
    factory = WebSocketServerFactory(loop=loop)
    factory.protocol = Echo
    return await loop.create_server(factory, HOST, 0)


async def websockets() -> Started:
    from websockets.asyncio.server import ServerConnection, serve

    async def echo(connection: ServerConnection) -> None:
        async for message in connection:
            await connection.send(message)

    return await serve(echo, HOST, 0, compression=None, ping_interval=None)


async def aiohttp() -> Started:
    from aiohttp import web

    async def echo(request: web.Request) -> web.WebSocketResponse:
        connection = web.WebSocketResponse(compress=False)
        await connection.prepare(request)
        async for message in connection:
            await connection.send_bytes(message.data)
        return connection

    application = web.Application()
    application.router.add_get("/", echo)
    runner = web.AppRunner(application)
    await runner.setup()
    assert runner.server is not None
    return await asyncio.get_running_loop().create_server(runner.server, HOST, 0)


async def picows() -> Started:
    from picows import WSFrame, WSListener, WSTransport, ws_create_server

    class Echo(WSListener):  # type: ignore[misc]
        def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
            transport.send(frame.msg_type, frame.get_payload_as_bytes())

    return await ws_create_server(lambda request: Echo(), HOST, 0, enable_auto_ping=False)


@dataclass(frozen=True, slots=True)
class Tornado:
    """A tornado server does not show its sockets."""

    sockets: Sequence[Any]
    server: object


async def tornado() -> Started:
    from tornado.httpserver import HTTPServer
    from tornado.netutil import bind_sockets
    from tornado.web import Application
    from tornado.websocket import WebSocketHandler

    class Echo(WebSocketHandler):
        async def on_message(self, message: str | bytes) -> None:
            await self.write_message(message, binary=isinstance(message, bytes))

    sockets = bind_sockets(0, HOST)
    server = HTTPServer(Application([("/", Echo)]))
    server.add_sockets(sockets)
    return Tornado(sockets, server)


async def raw_on_asyncio() -> Started:
    class Echo(asyncio.Protocol):
        def connection_made(self, transport: Any) -> None:
            self.transport = transport

        def data_received(self, data: bytes) -> None:
            self.transport.write(answer(data))

    return await asyncio.get_running_loop().create_server(Echo, HOST, 0)


def answer(data: bytes) -> bytes:
    return SWITCHING if data.startswith(b"GET ") else data


SERVERS: dict[str, Server] = {
    "wsfactory-uvloop": Server("uvloop", ("wsfactory.asyncio", "uvloop"), wsfactory_on_asyncio),
    "wsfactory-serve": Server("uvloop", ("wsfactory.asyncio", "uvloop"), wsfactory_serve),
    "wsfactory-asyncio": Server("asyncio", ("wsfactory.asyncio",), wsfactory_on_asyncio),
    "wsfactory-twisted": Server("twisted", ("wsfactory.twisted", "twisted"), wsfactory_on_twisted),
    "autobahn-uvloop": Server("uvloop", ("autobahn", "uvloop"), autobahn_on_asyncio),
    "autobahn-twisted": Server("twisted", ("autobahn", "twisted"), autobahn_on_twisted),
    "websockets": Server("uvloop", ("websockets.asyncio", "uvloop"), websockets),
    "aiohttp": Server("uvloop", ("aiohttp", "uvloop"), aiohttp),
    "picows": Server("uvloop", ("picows", "uvloop"), picows),
    "tornado": Server("uvloop", ("tornado", "uvloop"), tornado),
    "twisted-web": Server("twisted", ("twisted.web.websocket", "wsproto"), twisted_web),
    "raw-uvloop": Server("uvloop", ("uvloop",), raw_on_asyncio),
    "raw-asyncio": Server("asyncio", (), raw_on_asyncio),
    "raw-twisted": Server("twisted", ("twisted",), raw_on_twisted),
}


def run_on_twisted(server: Server) -> None:
    from twisted.internet import reactor

    port: Any = reactor.listenTCP(0, server.start(), interface=HOST)
    print(port.getHost().port, flush=True)
    reactor.run()


async def run_on_asyncio(server: Server) -> None:
    started: Started = await server.start()
    print(started.sockets[0].getsockname()[1], flush=True)
    await asyncio.Event().wait()


def run(server: Server) -> None:
    if server.runs_on == "twisted":
        run_on_twisted(server)
        return
    new_loop = None
    if server.runs_on == "uvloop":
        import uvloop

        new_loop = uvloop.new_event_loop
    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(run_on_asyncio(server))


def end_with_standard_input() -> None:
    sys.stdin.buffer.read()
    os._exit(0)


if __name__ == "__main__":
    threading.Thread(target=end_with_standard_input, daemon=True).start()
    run(SERVERS[sys.argv[1]])
