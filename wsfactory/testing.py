"""The test kit: real connections without a network or a reactor, on a clock that you set.

A protocol class of yours goes in, of any flavour, or a factory; out come sessions whose bytes move when you say so::

    pair = linked_pair(Chat)
    pair.client.sendMessage("hello")
    pair.run()
    assert pair.client.messages == ["hello"]

``linked_pair`` joins a server and a client; ``alone`` joins one of them to a ``Peer`` that the test plays frame by
frame.  Given a class, callbacks are awaited by futures of this module, whatever they await; a flavour's own factory
keeps its own: make it with ``reactor=Clock()``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any, Generic, TypeVar, cast, overload

from wsfactory import handshake, handshake_client
from wsfactory._memory import Cancelled, Clock, Future, Futures, Link, Log, Wire
from wsfactory.factory import SharedFactory
from wsfactory.flavour import Flavour
from wsfactory.frames import Opcode, close_payload
from wsfactory.headers import HeaderPairs
from wsfactory.http11 import Request, Response, request_reader, response_reader
from wsfactory.opening import Connecting
from wsfactory.session import ClientSession, ServerSession, Session
from wsfactory.timing import Wheel
from wsfactory.urls import parse_url

__all__ = [
    "Alone",
    "Cancelled",
    "ClientFactory",
    "ClientProtocol",
    "Clock",
    "Frame",
    "Future",
    "Futures",
    "Log",
    "Pair",
    "Peer",
    "Recorder",
    "RecordingClient",
    "RecordingServer",
    "ServerFactory",
    "ServerProtocol",
    "Wire",
    "alone",
    "binary",
    "close",
    "continuation",
    "linked_pair",
    "ping",
    "pong",
    "text",
    "upgrade_request",
    "upgrade_response",
]

URL = "ws://localhost/"

S = TypeVar("S", bound=Session)
ServerT = TypeVar("ServerT", bound=ServerSession)
ClientT = TypeVar("ClientT", bound=ClientSession)


# Two connections, or one and the test.


@overload
def linked_pair(
    server: type[ServerT] | SharedFactory[ServerT], *, opened: bool = True
) -> Pair[ServerT, RecordingClient]: ...


@overload
def linked_pair(
    server: type[ServerT] | SharedFactory[ServerT],
    client: type[ClientT] | SharedFactory[ClientT],
    *,
    opened: bool = True,
) -> Pair[ServerT, ClientT]: ...


def linked_pair(
    server: type[ServerT] | SharedFactory[ServerT],
    client: type[ClientT] | SharedFactory[ClientT] | None = None,
    *,
    opened: bool = True,
) -> Pair[ServerT, Any]:
    """Return a server and a client that are joined; without a *client* there is one that records its callbacks.

    With ``opened=False`` not a byte has moved yet.  Two factories must have the same clock.
    """
    clock = _clock_of(server, client)
    client_factory: _MemoryFactory[Any] = _factory(client or RecordingClient, clock)
    pair = Pair(clock, _factory(server, clock).buildProtocol(None), client_factory.buildProtocol(None))
    if opened:
        pair.run()
    return pair


def alone(protocol: type[S] | SharedFactory[S], *, opened: bool = True) -> Alone[S]:
    """Return a session that is joined to a ``Peer``; with ``opened=False`` nobody has said anything yet."""
    clock = _clock_of(protocol)
    one = Alone(clock, _factory(protocol, clock).buildProtocol(None))
    if opened:
        one.open()
    return one


class Pair(Link, Generic[ServerT, ClientT]):
    """A server's and a client's session, with the wire that each of them writes to."""

    def __init__(self, clock: Clock, server: ServerT, client: ClientT) -> None:
        super().__init__(clock, server, client)
        self.server, self.client = server, client
        self.server_wire, self.client_wire = self._wires
        server._ws_connected(self.server_wire)
        client._ws_connected(self.client_wire)


class Alone(Link, Generic[S]):
    """One session, and the ``peer`` that the test plays; ``wire`` is the session's."""

    def __init__(self, clock: Clock, session: S) -> None:
        self.session = session
        self.peer = Peer(is_client=not session.is_client)
        super().__init__(clock, session, self.peer)
        self.wire, self.peer.wire = self._wires
        session._ws_connected(self.wire)

    def open(self, *, subprotocols: Iterable[str] = (), headers: HeaderPairs = ()) -> Request | Response:
        """Go through the opening handshake; returns the head that the session sent."""
        if not self.session.is_client:
            self.peer.send(upgrade_request(subprotocols=subprotocols, headers=headers))
            self.run()
            return self.peer.head()
        self.run()
        request = cast("Request", self.peer.head())
        self.peer.send(upgrade_response(request, next(iter(subprotocols), None), headers))
        self.run()
        return request

    def exchange(self, *parts: Frame | bytes) -> list[Frame]:
        """Send *parts* from the peer; returns the frames that the session answers."""
        self.peer.send(*parts)
        self.run()
        return self.peer.frames()


def _clock_of(*sides: object) -> Clock:
    clocks = {id(side.reactor): side.reactor for side in sides if hasattr(side, "reactor")}
    if len(clocks) > 1:
        raise ValueError("the two factories must have the same clock: give both reactor=clock")
    return cast("Clock", next(iter(clocks.values()), None) or Clock())


def _factory(side: type[S] | SharedFactory[S], clock: Clock) -> _MemoryFactory[S]:
    if not isinstance(side, type):
        # Any factory will do that has the method every factory has.
        return cast("_MemoryFactory[S]", side)
    if side.is_client:
        return cast("_MemoryFactory[S]", ClientFactory(URL, cast("Any", side), reactor=clock))
    return cast("_MemoryFactory[S]", ServerFactory(cast("Any", side), reactor=clock))


class Peer:
    """The other side of a session, played by the test: it sends what it is told, and collects what it gets."""

    wire: Wire

    def __init__(self, is_client: bool) -> None:
        self.is_client = is_client
        self.received = b""
        self.eof = False
        self.lost: str | None = None

    def send(self, *parts: Frame | bytes) -> None:
        """Send frames, masked if this is a client, or plain bytes, in one write."""
        key = b"\x01\x02\x03\x04" if self.is_client else None
        self.wire.write([part.encode(key) if isinstance(part, Frame) else part for part in parts])

    def frames(self) -> list[Frame]:
        """Return the whole frames that have come since the last time; their masks are off."""
        frames: list[Frame] = []
        while (parsed := Frame.parse(self.received)) is not None:
            frame, self.received = parsed
            frames.append(frame)
        return frames

    def head(self) -> Request | Response:
        """Return the HTTP head that has come; what came behind it is still there for ``frames()``."""
        reader = response_reader() if self.is_client else request_reader()
        head = reader.feed(self.received)
        assert head is not None, f"no head has come: {self.received!r}"
        self.received = reader.rest
        return head

    def _ws_data_received(self, data: bytes) -> None:
        """Collect."""
        self.received += data

    def _ws_eof_reached(self) -> None:
        """Note it."""
        self.eof = True

    def _ws_transport_lost(self, reason: str) -> None:
        """Note it."""
        self.lost = reason

    def _ws_writable(self) -> None:
        """Nothing waits here."""


# Heads and frames.


def upgrade_request(
    target: str = URL, *, subprotocols: Iterable[str] = (), headers: HeaderPairs = (), key: bytes = bytes(16)
) -> bytes:
    """Return a client's opening request."""
    asked = handshake_client.ask(
        parse_url(target), subprotocols=tuple(subprotocols), headers=headers, random=lambda _: key
    )
    return asked.encode()


def upgrade_response(request: Request, subprotocol: str | None = None, headers: HeaderPairs = ()) -> bytes:
    """Return the 101 that accepts *request*."""
    return handshake.accept(handshake.read_offer(request, allowed_origins="*"), subprotocol, headers)


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame, legal or not (RFC 6455 section 5.2); the functions below make the usual ones."""

    opcode: int
    payload: bytes = b""
    fin: bool = True
    rsv: int = 0

    def encode(self, key: bytes | None = None) -> bytes:
        """Return its bytes, masked with *key*."""
        size = len(self.payload)
        length = size if size < 126 else 126 if size < 1 << 16 else 127
        head = bytes([self.fin << 7 | self.rsv << 4 | self.opcode, length | (0x80 if key else 0)])
        extended = {126: 2, 127: 8}.get(length, 0)
        return head + (size.to_bytes(extended, "big") if extended else b"") + (key or b"") + _xor(self.payload, key)

    @classmethod
    def parse(cls, data: bytes) -> tuple[Frame, bytes] | None:
        """Return the frame that *data* begins with, and the rest; None: it is not all there."""
        if len(data) < 2:
            return None
        length, start = data[1] & 0x7F, 2
        if length > 125:
            start = 4 if length == 126 else 10
            length = int.from_bytes(data[2:start], "big")
        key = data[start : start + 4] if data[1] & 0x80 else None
        start += 4 if key is not None else 0
        if len(data) < start + length:
            return None
        payload = _xor(data[start : start + length], key)
        return cls(data[0] & 0x0F, payload, data[0] >= 0x80, data[0] >> 4 & 7), data[start + length :]


def text(payload: str | bytes, fin: bool = True) -> Frame:
    """Return a text frame."""
    return Frame(Opcode.TEXT, payload.encode() if isinstance(payload, str) else payload, fin)


def binary(payload: bytes, fin: bool = True) -> Frame:
    """Return a binary frame."""
    return Frame(Opcode.BINARY, payload, fin)


def continuation(payload: bytes, fin: bool = True) -> Frame:
    """Return a frame that goes on with a message, and with *fin* ends it."""
    return Frame(Opcode.CONTINUATION, payload, fin)


def ping(payload: bytes = b"") -> Frame:
    """Return a Ping."""
    return Frame(Opcode.PING, payload)


def pong(payload: bytes = b"") -> Frame:
    """Return a Pong."""
    return Frame(Opcode.PONG, payload)


def close(code: int | None = None, reason: str = "") -> Frame:
    """Return a Close frame."""
    return Frame(Opcode.CLOSE, close_payload(code, reason))


def _xor(payload: bytes, key: bytes | None) -> bytes:
    if key is None:
        return payload
    size = len(payload)
    repeated = (key * (size // 4 + 1))[:size]
    return (int.from_bytes(payload, "big") ^ int.from_bytes(repeated, "big")).to_bytes(size, "big")


# Protocols and factories that belong to no framework.


class ServerProtocol(ServerSession):
    """A server's side without a framework; subclass it as you would a flavour's."""

    def _ws_peer(self) -> str:
        """There is no address."""
        return "memory"


class ClientProtocol(ClientSession):
    """A client's side without a framework."""

    def _ws_peer(self) -> str:
        """There is no address."""
        return "memory"


def _noted(name: str) -> Callable[..., Any]:
    def callback(self: Recorder, *args: object) -> None:
        self.calls.append((name, *args))

    return callback


class Recorder:
    """Mixed into a protocol: ``calls`` has every callback as (name, arguments...), ``names`` only the names."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []

    onConnecting = _noted("onConnecting")
    onConnect = _noted("onConnect")
    onOpen = _noted("onOpen")
    onMessage = _noted("onMessage")
    onPing = _noted("onPing")
    onPong = _noted("onPong")
    onSendPaused = _noted("onSendPaused")
    onSendResumed = _noted("onSendResumed")
    onHandshakeFailed = _noted("onHandshakeFailed")
    onClose = _noted("onClose")

    @property
    def names(self) -> list[str]:
        """The names of the callbacks, in their order."""
        return [name for name, *_ in self.calls]

    @property
    def messages(self) -> list[str | bytes]:
        """The messages: text as str, binary as bytes."""
        return [args[0] if args[1] else args[0].decode() for name, *args in self.calls if name == "onMessage"]


class RecordingServer(Recorder, ServerProtocol):
    """A server that records its callbacks."""


class RecordingClient(Recorder, ClientProtocol):
    """A client that records its callbacks."""


class _MemoryFactory(SharedFactory[S]):
    def __init__(
        self,
        protocol: type[S],
        reactor: Clock | None,
        subprotocols: Iterable[str],
        headers: HeaderPairs,
        options: dict[str, object],
    ) -> None:
        super().__init__(subprotocols=subprotocols, headers=headers, options=options)
        self.protocol = protocol
        self.reactor = reactor or Clock()
        self.log = Log()
        wheel = Wheel(self.reactor.seconds, self.reactor.callLater, partial(self.log.failure, "a deadline raised"))
        self.flavour = Flavour("memory", wheel, Futures(), self.log, partial(self.reactor.callLater, 0.0))

    def buildProtocol(self, address: object = None) -> S:
        """Return a new protocol that belongs to this factory."""
        return self._new_session()


class ServerFactory(_MemoryFactory[ServerT]):
    """A factory without a framework: ``log`` collects what it logs, *reactor* is a ``Clock``."""

    def __init__(
        self,
        protocol: type[ServerT],
        *,
        subprotocols: Iterable[str] = (),
        headers: HeaderPairs = (),
        reactor: Clock | None = None,
        **options: object,
    ) -> None:
        super().__init__(protocol, reactor, subprotocols, headers, options)


class ClientFactory(_MemoryFactory[ClientT]):
    """The same for a client."""

    is_client = True

    def __init__(
        self,
        url: str,
        protocol: type[ClientT],
        *,
        subprotocols: Iterable[str] = (),
        headers: HeaderPairs = (),
        reactor: Clock | None = None,
        **options: object,
    ) -> None:
        super().__init__(protocol, reactor, subprotocols, headers, options)
        self.details = Connecting(parse_url(url), self.headers, self.subprotocols)
