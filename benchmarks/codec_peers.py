"""How each WebSocket implementation for Python takes bytes in, and calls back with messages: one class for each.

For benchmarks/codec.py.  Every class drives what the real server runs between the socket's bytes and the application,
over a fake transport, and nothing that lies outside of that: no event loop turns, no task wakes up.  Where the
application would await messages, one coroutine awaits them without ever having to wait.  ``run(data, messages, times)``
feeds *data*, which holds so many messages, so many times.
"""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable, Coroutine, Iterator
from types import ModuleType
from typing import Any, Protocol

OnMessage = Callable[[bytes, bool], None]
LARGEST = 64 << 20

UPGRADE = (
    b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


class Subject(Protocol):
    """What is measured."""

    def run(self, data: bytes, messages: int, times: int) -> None: ...


class FakeTransport:
    """As much of an asyncio transport as the peers ask for."""

    def __init__(self) -> None:
        self.socket = socket.socket()

    def get_extra_info(self, name: str, default: object = None) -> object:
        return self.socket if name == "socket" else default

    def get_write_buffer_size(self) -> int:
        return 0

    def is_closing(self) -> bool:
        return False

    def ignore(self, *_args: object) -> None:
        pass

    write = set_write_buffer_limits = pause_reading = resume_reading = ignore


def without_waiting(coroutine: Coroutine[object, None, None]) -> None:
    """Run *coroutine* to its end, which it must reach without waiting for anything."""
    try:
        coroutine.send(None)
    except StopIteration:
        return
    raise RuntimeError("it waited for a message that did not come")


class Ours:
    """A Decoder of one of the builds; it calls the application itself."""

    def __init__(self, codec: ModuleType, on_message: OnMessage) -> None:
        self.receive = codec.Decoder(
            True, on_message, lambda opcode, payload: None, max_message=LARGEST, max_frame=0, max_fragments=4096
        ).receive

    def run(self, data: bytes, messages: int, times: int) -> None:
        receive = self.receive
        for _ in range(times):
            receive(data)


class Aiohttp:
    """The compiled reader, its data queue, and a coroutine that reads from that."""

    def __init__(self, on_message: OnMessage) -> None:
        import asyncio

        from aiohttp._websocket.reader import WebSocketDataQueue, WebSocketReader

        protocol: Any = FakeTransport()
        protocol._reading_paused = False
        queue = WebSocketDataQueue(protocol, 1 << 16, loop=asyncio.get_running_loop())
        self.reader = WebSocketReader(queue, LARGEST, compress=True, decode_text=True)
        self.read = queue.read
        self.on_message = on_message

    def run(self, data: bytes, messages: int, times: int) -> None:
        without_waiting(self.read_all(data, messages, times))

    async def read_all(self, data: bytes, messages: int, times: int) -> None:
        feed_data, read, on_message = self.reader.feed_data, self.read, self.on_message
        for _ in range(times):
            feed_data(data)
            for _ in range(messages):
                on_message((await read()).data, True)


class Picows:
    """A real server protocol: get_buffer, then buffer_updated; the listener takes the payload as bytes.

    The event loop would read from the socket into that buffer, so what copying into it costs is measured alone, by
    ``FillPicows``, and taken off.
    """

    def __init__(self, on_message: OnMessage) -> None:
        import picows
        from picows.picows import WSAutoPingStrategy, WSProtocol

        class Listener(picows.WSListener):  # type: ignore[misc]
            def on_ws_frame(self, transport: object, frame: Any) -> None:
                on_message(frame.get_payload_as_bytes(), True)

        self.listener = Listener()
        idle = WSAutoPingStrategy.PING_WHEN_IDLE
        logger = logging.getLogger("picows.server")
        self.protocol = WSProtocol(
            None, None, False, lambda request: self.listener, logger, True, None, False, 20, 20, idle, True, LARGEST,
            None, 16 * 1024,
        )  # fmt: skip
        self.transport = FakeTransport()
        self.protocol.connection_made(self.transport)
        self.run(UPGRADE, 0, 1)

    def run(self, data: bytes, messages: int, times: int) -> None:
        get_buffer, buffer_updated, size = self.protocol.get_buffer, self.protocol.buffer_updated, len(data)
        for _ in range(times):
            buffer = get_buffer(-1)
            if len(buffer) >= size:
                buffer[:size] = data
                buffer_updated(size)
            else:
                self.run_in_parts(data)

    def run_in_parts(self, data: bytes) -> None:
        """Feed what is larger than the buffer, until that has grown."""
        while data:
            buffer = self.protocol.get_buffer(-1)
            size = min(len(buffer), len(data))
            buffer[:size] = data[:size]
            self.protocol.buffer_updated(size)
            data = data[size:]


class FillPicows:
    """What the kernel does in reality."""

    def __init__(self, on_message: OnMessage) -> None:
        self.buffer = bytearray(1 << 16)

    def run(self, data: bytes, messages: int, times: int) -> None:
        size = len(data)
        if len(self.buffer) < size:
            self.buffer = bytearray(size)
        buffer = memoryview(self.buffer)
        for _ in range(times):
            buffer[:size] = data


class Websockets:
    """The asyncio connection, and a coroutine that receives from it."""

    def __init__(self, on_message: OnMessage) -> None:
        from websockets.asyncio.connection import Connection
        from websockets.protocol import State
        from websockets.server import ServerProtocol

        protocol = ServerProtocol(state=State.OPEN, max_size=LARGEST)
        self.connection = Connection(protocol, ping_interval=None)
        self.connection.connection_made(FakeTransport())  # type: ignore[arg-type]
        self.on_message = on_message

    def run(self, data: bytes, messages: int, times: int) -> None:
        without_waiting(self.receive_all(data, messages, times))

    async def receive_all(self, data: bytes, messages: int, times: int) -> None:
        data_received, recv, on_message = self.connection.data_received, self.connection.recv, self.on_message
        for _ in range(times):
            data_received(data)
            for _ in range(messages):
                on_message(await recv(decode=False), True)


class Wsproto:
    """The sans-I/O connection as its servers use it: bytes in, then the events, joined to messages."""

    def __init__(self, on_message: OnMessage) -> None:
        from wsproto import ConnectionType
        from wsproto.connection import Connection

        self.connection = Connection(ConnectionType.SERVER)
        self.parts = bytearray()
        self.on_message = on_message

    def run(self, data: bytes, messages: int, times: int) -> None:
        connection, on_message = self.connection, self.on_message
        for _ in range(times):
            connection.receive_data(data)
            for event in connection.events():
                self.parts += event.data  # type: ignore[union-attr]
                if event.message_finished:  # type: ignore[union-attr]
                    payload = bytes(self.parts)
                    self.parts = bytearray()
                    on_message(payload, True)


class Autobahn:
    """The Twisted server protocol, after a real handshake; its onMessage is the application."""

    def __init__(self, on_message: OnMessage) -> None:
        from autobahn.twisted.websocket import WebSocketServerFactory, WebSocketServerProtocol
        from twisted.internet.testing import StringTransport

        class Server(WebSocketServerProtocol):  # type: ignore[misc]
            def onMessage(self, payload: bytes, isBinary: bool) -> None:
                on_message(payload, isBinary)

        factory = WebSocketServerFactory()
        factory.protocol = Server
        factory.setProtocolOptions(openHandshakeTimeout=0, closeHandshakeTimeout=0)
        self.protocol = factory.buildProtocol(None)
        self.protocol.makeConnection(StringTransport())
        self.protocol.dataReceived(UPGRADE)

    def run(self, data: bytes, messages: int, times: int) -> None:
        data_received = self.protocol.dataReceived
        for _ in range(times):
            data_received(data)


PEERS: dict[str, type[Aiohttp | Picows | Websockets | Wsproto | Autobahn]] = {
    "aiohttp": Aiohttp,
    "picows": Picows,
    "websockets": Websockets,
    "wsproto": Wsproto,
    "autobahn": Autobahn,
}


def installed(on_message: OnMessage) -> Iterator[tuple[str, Subject]]:
    """Return the peers that can be imported here, ready to run."""
    for name, peer in PEERS.items():
        try:
            yield name, peer(on_message)
        except ImportError:
            continue
