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

import heapq
from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass
from functools import partial
from itertools import count
from typing import Any, Generic, Protocol, TypeVar, cast, overload

from wsfactory import flavour, handshake, handshake_client
from wsfactory.errors import HeaderPairs
from wsfactory.factory import SharedFactory
from wsfactory.flavour import Flavour
from wsfactory.frames import Opcode, close_payload
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
KERNEL_BYTES = 64 * 1024
MAX_STEPS = 1_000_000

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


class Link:
    """Two ends with a wire each; nothing moves by itself."""

    def __init__(self, clock: Clock, left: End, right: End) -> None:
        self.clock = clock
        self._wires = Wire(left), Wire(right)
        left_wire, right_wire = self._wires
        left_wire.other, right_wire.other = right_wire, left_wire

    def run(self) -> None:
        """Let everything happen that takes no time."""
        for _ in range(MAX_STEPS):
            self.clock.advance(0)
            moved = [wire.move() for wire in self._wires]
            if not any(moved) and self._next_call() > self.clock.seconds():
                return
        raise RuntimeError("the two sides do not come to rest")

    def advance(self, seconds: float) -> None:
        """Let *seconds* pass, and everything happen that falls into them."""
        end = self.clock.seconds() + seconds
        self.run()
        while self._next_call() <= end:
            self.clock.advance(max(0.0, self._next_call() - self.clock.seconds()))
            self.run()
        self.clock.advance(max(0.0, end - self.clock.seconds()))
        self.run()

    def lose(self, reason: str = "the connection was lost") -> None:
        """End TCP under both sides; what is on its way is lost."""
        for wire in self._wires:
            wire.lose(reason)
        self.run()

    def _next_call(self) -> float:
        return min((call.getTime() for call in self.clock.getDelayedCalls()), default=float("inf"))


class Pair(Link, Generic[ServerT, ClientT]):
    """A server's and a client's session, with the wire that each of them writes to."""

    def __init__(self, clock: Clock, server: ServerT, client: ClientT) -> None:
        super().__init__(clock, server, client)
        self.server, self.client = server, client
        self.server_wire, self.client_wire = self._wires
        server.connected(self.server_wire)
        client.connected(self.client_wire)


class Alone(Link, Generic[S]):
    """One session, and the ``peer`` that the test plays; ``wire`` is the session's."""

    def __init__(self, clock: Clock, session: S) -> None:
        self.session = session
        self.peer = Peer(is_client=not session.is_client)
        super().__init__(clock, session, self.peer)
        self.wire, self.peer.wire = self._wires
        session.connected(self.wire)

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


# The wire.


class End(Protocol):
    """What a wire reports to: a session, or a ``Peer``."""

    def data_received(self, data: bytes) -> None: ...

    def eof_reached(self) -> None: ...

    def transport_lost(self, reason: str) -> None: ...

    def writable(self) -> None: ...


class Wire:
    """One side's transport, in memory: what it writes waits here until the other side takes it.

    ``room`` is how many bytes the other side still takes (None: any number), ``capacity`` how many may wait before the
    writer is told that it is full, ``read_size`` the most that arrives at once.  Change them at any time.
    ``writes`` has what was given to each write.
    """

    def __init__(self, end: End) -> None:
        self.end = end
        self.other = self
        self.room: int | None = None
        self.capacity = KERNEL_BYTES
        self.read_size = KERNEL_BYTES
        self.writes: list[bytes] = []
        self.paused = self.finished = self.aborted = False
        self.lost: str | None = None
        self._waiting = bytearray()
        self._full = self._told_eof = self._told_lost = False

    # flavour.Transport.

    def write(self, chunks: list[bytes]) -> bool:
        """Take *chunks*; False: ``writable`` follows once there is room."""
        data = b"".join(chunks)
        if self.lost is None and not self.finished:
            self.writes.append(data)
            self._waiting += data
        self._full = len(self._waiting) > self.capacity
        return not self._full

    def pause(self) -> None:
        """Let neither data nor EOF arrive at this end."""
        self.paused = True

    def resume(self) -> None:
        """Let both arrive again."""
        self.paused = False

    def finish(self) -> None:
        """Send EOF behind what waits."""
        self.finished = True

    def abort(self) -> None:
        """End the connection: both sides lose it."""
        self.aborted = True
        self.lose("the connection was aborted")
        self.other.lose("the connection was reset by the peer")

    def unsent(self) -> int:
        """The bytes that the other side has not taken."""
        return len(self._waiting)

    # What the link does.

    def lose(self, reason: str) -> None:
        """Drop what waits; this end hears of the loss at the next ``run()``."""
        self._waiting.clear()
        self.lost = self.lost or reason

    def move(self) -> bool:
        """Let one thing happen; False: there is none."""
        if self.lost is not None:
            return self._tell_lost()
        return self._deliver() or self._tell_writable() or self._tell_eof()

    def _deliver(self) -> bool:
        size = min(len(self._waiting), self.read_size, len(self._waiting) if self.room is None else self.room)
        if not size or self.other.paused:
            return False
        data = bytes(self._waiting[:size])
        del self._waiting[:size]
        if self.room is not None:
            self.room -= size
        self.other.end.data_received(data)
        return True

    def _tell_writable(self) -> bool:
        if not self._full or self.finished or len(self._waiting) > self.capacity:
            return False
        self._full = False
        self.end.writable()
        return True

    def _tell_eof(self) -> bool:
        if not self.finished or self._waiting or self._told_eof or self.other.paused or self.room == 0:
            return False
        self._told_eof = True
        if not self.other.finished:
            self.other.end.eof_reached()
        elif self.other._told_eof:
            self.lose("the connection was closed cleanly")
            self.other.lose("the connection was closed cleanly")
        return True

    def _tell_lost(self) -> bool:
        if self._told_lost:
            return False
        self._told_lost = True
        self.end.transport_lost(self.lost or "")
        return True


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

    def data_received(self, data: bytes) -> None:
        """Collect."""
        self.received += data

    def eof_reached(self) -> None:
        """Note it."""
        self.eof = True

    def transport_lost(self, reason: str) -> None:
        """Note it."""
        self.lost = reason

    def writable(self) -> None:
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

    @property
    def peer(self) -> str:
        """There is no address."""
        return "memory"


class ClientProtocol(ClientSession):
    """A client's side without a framework."""

    @property
    def peer(self) -> str:
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
        session = self.protocol()
        session._adopt(self)  # type: ignore[arg-type]
        return session


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


# A framework of our own: time, futures, a log.


class Clock:
    """Time that passes when it is told to; give it to a factory of any flavour as its ``reactor``."""

    def __init__(self) -> None:
        self._now = 0.0
        self._serial = count()
        self._calls: list[DelayedCall] = []

    def seconds(self) -> float:
        """Return the time."""
        return self._now

    def callLater(self, delay: float, callback: Callable[..., object], *args: object) -> DelayedCall:
        """Call *callback* once *delay* seconds have passed."""
        call = DelayedCall(self._now + delay, next(self._serial), partial(callback, *args))
        heapq.heappush(self._calls, call)
        return call

    def getDelayedCalls(self) -> list[DelayedCall]:
        """Return the calls that are still to be made."""
        return [call for call in self._calls if call.active()]

    def advance(self, seconds: float) -> None:
        """Let *seconds* pass; what falls due is called, in order.  Bytes do not move: ``Pair.advance`` does both."""
        end = self._now + seconds
        for _ in range(MAX_STEPS):
            if not self._calls or self._calls[0].time > end:
                self._now = end
                return
            call = heapq.heappop(self._calls)
            self._now = max(self._now, call.time)
            call()
        raise RuntimeError("the clock does not come to rest: a call asks for another at once, again and again")


@dataclass(order=True, slots=True)
class DelayedCall:
    """A call that a ``Clock`` will make."""

    time: float
    serial: int
    callback: Callable[[], object] | None

    def __call__(self) -> None:
        """Make it."""
        callback, self.callback = self.callback, None
        if callback is not None:
            callback()

    def cancel(self) -> None:
        """Take it back."""
        self.callback = None

    def active(self) -> bool:
        """Return whether it will still be made."""
        return self.callback is not None

    def getTime(self) -> float:
        """Return when it is due."""
        return self.time


class Cancelled(Exception):
    """What a cancelled ``Future`` fails with."""


class Future:
    """A result that is yet to come: resolve it in a test, await it in a callback; watchers are called at once."""

    def __init__(self, on_cancel: Callable[[], object] | None = None) -> None:
        self._on_cancel = on_cancel
        self._outcome: tuple[object, BaseException | None] | None = None
        self._watchers: list[Callable[[], object]] = []

    @property
    def done(self) -> bool:
        """Whether it has its result."""
        return self._outcome is not None

    def result(self) -> object:
        """Return its result, or raise its exception."""
        assert self._outcome is not None, "there is no result yet"
        value, error = self._outcome
        if error is not None:
            raise error
        return value

    def resolve(self, value: object = None) -> None:
        """Give it its result, unless it has one."""
        self._end(value, None)

    def reject(self, error: BaseException) -> None:
        """Let it fail, unless it has a result."""
        self._end(None, error)

    def cancel(self) -> None:
        """Let it fail with ``Cancelled``, unless it has a result."""
        if not self.done and self._on_cancel is not None:
            self._on_cancel()
        self.reject(Cancelled())

    def watch(self, callback: Callable[[], object]) -> None:
        """Call *callback* when it is done, at once if it is."""
        if self.done:
            callback()
        else:
            self._watchers.append(callback)

    def _end(self, value: object, error: BaseException | None) -> None:
        if not self.done:
            self._outcome = value, error
            for watcher in self._watchers:
                watcher()

    def __await__(self) -> Generator[Future, None, object]:
        if not self.done:
            yield self
        return self.result()


class _Task(Future):
    """The result of an awaitable, which runs as far as it can at once; cancelling it cancels what it awaits."""

    def __init__(self, awaitable: Any) -> None:
        super().__init__()
        self._steps = _awaited(awaitable)
        self._waits_for: Any = None
        self._go_on()

    def cancel(self) -> None:
        if self._waits_for is not None:
            self._waits_for.cancel()

    def _go_on(self, _: object = None) -> None:
        self._step(partial(self._steps.send, None))

    def _go_on_failing(self, failure: Any) -> None:
        self._step(partial(self._steps.throw, failure.value))

    def _step(self, step: Callable[[], Any]) -> None:
        try:
            thing = self._waits_for = step()
        except StopIteration as end:
            self.resolve(end.value)
        except Exception as error:
            self.reject(error)
        else:
            self._wait_for(thing)

    def _wait_for(self, thing: Any) -> None:
        if isinstance(thing, Future):
            thing.watch(self._go_on)
        elif hasattr(thing, "addCallbacks"):  # a Deferred
            thing.addCallbacks(self._go_on, self._go_on_failing)
        elif hasattr(thing, "add_done_callback"):  # asyncio's, on a running loop
            thing.add_done_callback(self._go_on)
        else:
            self.reject(TypeError(f"a callback awaits what the test kit does not know: {thing!r}"))


async def _awaited(awaitable: Any) -> object:
    return await awaitable


class Futures:
    """``Future`` as ``flavour.Futures``: what ties sessions to it."""

    def create(self, on_cancel: Callable[[], object] | None = None) -> Future:
        """Return a new one."""
        return Future(on_cancel)

    def resolve(self, future: flavour.Future, value: object = None) -> None:
        """Give it its result."""
        cast("Future", future).resolve(value)

    def reject(self, future: flavour.Future, error: BaseException) -> None:
        """Let it fail."""
        cast("Future", future).reject(error)

    def from_result(self, result: object) -> Future | None:
        """Return the future behind what a callback returned: anything that can be awaited."""
        if isinstance(result, Future):
            return result
        return _Task(result) if hasattr(result, "__await__") else None

    def watch(
        self, future: flavour.Future, done: Callable[[object], object], failed: Callable[[BaseException], object]
    ) -> None:
        """Call one of the two when it is done."""
        one = cast("Future", future)

        def tell() -> None:
            try:
                value = one.result()
            except Exception as error:
                failed(error)
            else:
                done(value)

        one.watch(tell)

    def cancel(self, future: flavour.Future) -> None:
        """Cancel it."""
        cast("Future", future).cancel()


class Log:
    """Collects: ``lines`` has (level, text), ``failures`` the exceptions that were logged."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, str]] = []
        self.failures: list[BaseException] = []
        self.debug, self.info = partial(self._add, "debug"), partial(self._add, "info")
        self.warn, self.error = partial(self._add, "warn"), partial(self._add, "error")

    def _add(self, level: str, text: str, **fields: object) -> None:
        self.lines.append((level, text.format(**fields)))

    def failure(self, text: str, error: BaseException, **fields: object) -> None:
        """Collect *error*."""
        self._add("failure", text, **fields)
        self.failures.append(error)
