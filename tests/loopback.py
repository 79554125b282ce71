"""Real loopback sockets under a running reactor: a peer that the test plays by hand, and protocols that take notes.

``OfflineReactor`` is for what needs no socket: attempts to connect are only noted, and names resolve at once.

Nothing sleeps: a test awaits what it needs, and fails where that does not come within ``SAFETY_NET_SECONDS``.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Coroutine
from functools import wraps
from typing import Any, ParamSpec, TypeVar

import pytest
import pytest_twisted
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IHalfCloseableProtocol, IListeningPort, IReactorPluggableNameResolver
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.task import deferLater
from twisted.internet.testing import MemoryReactorClock
from twisted.logger import globalLogPublisher
from twisted.python.failure import Failure
from zope.interface import implementer

from wsfactory.testing import Frame, Recorder, upgrade_request
from wsfactory.twisted import ClientProtocol, ServerFactory, ServerProtocol, listen

# Nothing takes that long: whoever waits longer waits for ever.
SAFETY_NET_SECONDS = 30.0
SETTLING_TURNS = 200
RESTING_TURNS = 20

Arguments = ParamSpec("Arguments")
Test = Callable[Arguments, Coroutine[Any, Any, None]]
T = TypeVar("T")


def the_reactor() -> Any:
    """Return the running reactor."""
    from twisted.internet import reactor

    return reactor


def on_reactor(test: Test[Arguments]) -> Test[Arguments]:
    """Run *test* on the reactor; it fails where it awaits something that never happens."""

    @wraps(test)
    async def bounded(*args: Arguments.args, **kwargs: Arguments.kwargs) -> None:
        await within_reason(Deferred.fromCoroutine(test(*args, **kwargs)))

    return pytest_twisted.ensureDeferred(bounded)


def within_reason(awaited: Deferred[T]) -> Deferred[T]:
    return awaited.addTimeout(SAFETY_NET_SECONDS, the_reactor())


def turn() -> Deferred[None]:
    """Let the reactor look once at all sockets."""
    return deferLater(the_reactor(), 0, lambda: None)


async def until(condition: Callable[[], object]) -> None:
    """Let the reactor run until *condition* holds."""
    while not condition():
        await turn()


async def at_rest(value: Callable[[], object]) -> None:
    """Let the reactor run until *value* has stayed the same for some turns: nothing more comes of what was done."""
    last, same = value(), 0
    while same < RESTING_TURNS:
        await turn()
        last, same = value(), same + 1 if value() == last else 0


async def nothing_left_over() -> AsyncIterator[None]:
    """For a fixture: what a test opened and scheduled has to be gone soon after it, and no failure left unhandled."""
    unhandled: list[str] = []

    def observe(event: dict[str, Any]) -> None:
        if "log_failure" in event and "Unhandled" in (event.get("log_format") or ""):
            unhandled.append(event["log_failure"].getTraceback())

    observer: Any = observe
    globalLogPublisher.addObserver(observer)
    before = _sockets()
    yield
    for _ in range(SETTLING_TURNS):
        if _sockets() <= before and not the_reactor().getDelayedCalls():
            break
        await turn()
    globalLogPublisher.removeObserver(observer)
    left = [*(_sockets() - before), *the_reactor().getDelayedCalls(), *unhandled]
    assert not left, left


AnyReactor: Any = MemoryReactorClock


@implementer(IReactorPluggableNameResolver)
class OfflineReactor(AnyReactor):
    """A reactor in memory, with a clock; address literals resolve to themselves, everything else to 192.0.2.1."""

    def __init__(self) -> None:
        super().__init__()
        self.nameResolver = _Resolver()


class _Resolver:
    def resolveHostName(self, receiver: Any, host: str, portNumber: int = 0, *_: Any, **__: Any) -> None:
        kind = IPv6Address if ":" in host else IPv4Address
        literal = ":" in host or host.replace(".", "").isdigit()
        receiver.resolutionBegan(self)
        receiver.addressResolved(kind("TCP", host if literal else "192.0.2.1", portNumber))
        receiver.resolutionComplete()


def _sockets() -> set[Any]:
    return {*the_reactor().getReaders(), *the_reactor().getWriters()}


class Happening:
    """Something that may happen and can be awaited, before or after it did."""

    def __init__(self) -> None:
        self.has_happened = False
        self.value: Any = None
        self._waiting: list[Deferred[Any]] = []

    def happens(self, value: object = None) -> None:
        self.has_happened, self.value = True, value
        waiting, self._waiting = self._waiting, []
        for deferred in waiting:
            deferred.callback(value)

    def __await__(self) -> Any:
        deferred: Deferred[Any] = Deferred()
        if self.has_happened:
            deferred.callback(self.value)
        else:
            self._waiting.append(deferred)
        return deferred.__await__()


class _Noting(Recorder):
    """Notes all callbacks; ``opened`` and ``closed`` can be awaited."""

    def __init__(self) -> None:
        super().__init__()
        self.opened, self.closed = Happening(), Happening()

    def onOpen(self) -> Any:
        self.calls.append(("onOpen",))
        self.opened.happens(self)

    def onClose(self, wasClean: bool, code: int, reason: str) -> None:
        self.calls.append(("onClose", wasClean, code, reason))
        self.closed.happens((wasClean, code, reason))


class NotingServer(_Noting, ServerProtocol):
    """A server's side."""


class NotingClient(_Noting, ClientProtocol):
    """A client's side."""


class Echo(NotingServer):
    """Answers each message with the same."""

    def onMessage(self, payload: bytes, isBinary: bool) -> Any:
        self.sendMessage(payload, isBinary)


class Serving:
    """A server of ours on a free port; ``await serving.session()`` gives each connection in turn."""

    def __init__(self, protocol: type[ServerProtocol] = Echo, **options: Any) -> None:
        self.sessions: list[Any] = []
        self.factory = ServerFactory(self._noted(protocol), **options)
        self.ports: list[IListeningPort] = []

    def _noted(self, protocol: type[ServerProtocol]) -> Any:
        def make() -> ServerProtocol:
            self.sessions.append(protocol())
            return self.sessions[-1]

        return make

    async def listen(self, where: Any = "ws://127.0.0.1:0/", **keywords: Any) -> Any:
        """Listen there; returns the port's address."""
        port = await listen(where, self.factory, **keywords)
        self.ports.append(port)
        return port.getHost()

    async def session(self) -> Any:
        """Return the first connection that nobody has asked for yet, once it is there."""
        await until(lambda: self.sessions)
        return self.sessions.pop(0)

    async def stop(self) -> None:
        self.factory.shutdown()
        await self.factory.shutdown()


async def failure_of(connecting: Deferred[Any]) -> Any:
    """Return the exception that *connecting* fails with."""
    try:
        session = await connecting
    except Exception as error:
        return error
    pytest.fail(f"{session} is open")


async def exchange(session: Any) -> Any:
    """Say hello, and return the answer; then close."""
    session.sendMessage("hello")
    await until(lambda: session.messages)
    session.sendClose()
    await session.closed
    return session.messages[0]


@implementer(IHalfCloseableProtocol)
class Raw(Protocol):
    """A peer that the test plays byte by byte; it half-closes, and notes when the other side did."""

    def __init__(self) -> None:
        self.received = b""
        self.eof, self.lost, self.made = Happening(), Happening(), Happening()

    def connectionMade(self) -> None:
        self.made.happens(self)

    def dataReceived(self, data: bytes) -> None:
        self.received += data

    def readConnectionLost(self) -> None:
        self.eof.happens()

    def writeConnectionLost(self) -> None:
        pass

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.eof.happens()
        self.lost.happens(reason.value)

    @property
    def wire(self) -> Any:
        return self.transport

    def send(self, *parts: bytes | Frame) -> None:
        """Send bytes, and frames as a client: masked."""
        self.wire.write(b"".join(part.encode(b"\1\2\3\4") if isinstance(part, Frame) else part for part in parts))

    async def until(self, part: bytes) -> bytes:
        """Wait for *part*; returns what came up to its end, and forgets it."""
        await until(lambda: part in self.received or self.lost.has_happened)
        before, found, self.received = self.received.partition(part)
        assert found, f"{part!r} did not come, but {before!r}"
        return before + found

    async def shake_hands(self) -> bytes:
        """Ask for a WebSocket connection and read the head of the answer."""
        self.send(upgrade_request())
        return await self.until(b"\r\n\r\n")

    async def leave(self) -> None:
        """Shut down our sending side, wait for the other's EOF, and close."""
        self.wire.loseWriteConnection()
        await self.eof
        self.wire.loseConnection()
        await self.lost

    def frames(self) -> list[Frame]:
        """Return the whole frames that have come since the last time."""
        frames = []
        while (parsed := Frame.parse(self.received)) is not None:
            frame, self.received = parsed
            frames.append(frame)
        return frames

    async def frame(self) -> Frame:
        """Return the next frame."""
        await until(lambda: Frame.parse(self.received) is not None or self.lost.has_happened)
        parsed = Frame.parse(self.received)
        assert parsed is not None, "the connection was lost"
        frame, self.received = parsed
        return frame


async def dial(address: Any, protocol: Callable[[], Raw] = Raw) -> Raw:
    """Return a raw connection to what listens at *address*."""
    from twisted.internet.endpoints import TCP4ClientEndpoint, UNIXClientEndpoint

    if hasattr(address, "port"):
        endpoint: Any = TCP4ClientEndpoint(the_reactor(), address.host, address.port)
    else:
        endpoint = UNIXClientEndpoint(the_reactor(), address.name)
    made: Raw = await endpoint.connect(Factory.forProtocol(protocol))
    return made
