"""Twisted below a session: its transports as our five calls, its Deferreds as our futures, its clock as our wheel.

A plain TCP or UNIX transport reports when everything written has left (``producerPaused``, a documented attribute of the
transport, is set after each write); any other, like TLS, reports by its own marks.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from weakref import WeakKeyDictionary

from twisted.internet.abstract import FileDescriptor
from twisted.internet.base import ReactorBase
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IHalfCloseableProtocol, IProtocol, IPushProducer, IReactorTime, ITransport
from twisted.protocols.policies import ProtocolWrapper
from twisted.python.failure import Failure
from txaio import tx
from zope.interface import implementer

from wsfactory.factory import SharedFactory
from wsfactory.flavour import Flavour, Future
from wsfactory.session import Session
from wsfactory.timing import Wheel
from wsfactory.twisted.sockets import kernel_unsent

__all__ = ["TwistedProtocol", "Wire", "flavour_for"]


@implementer(IPushProducer)
class Wire:
    """One Twisted transport, as a session sees it; it is the transport's only producer."""

    __slots__ = ("_eof", "_finished", "_full", "_plain", "_session", "_socket", "_transport")

    def __init__(self, transport: ITransport, session: Session) -> None:
        self._transport = transport
        self._session = session
        self._socket = _below_tls(transport)
        self._plain = self._socket is transport
        self._full = False
        self._finished = False
        self._eof = False
        self._set_options(session)
        transport.registerProducer(self, True)

    def _set_options(self, session: Session) -> None:
        if isinstance(self._socket, FileDescriptor):
            self._socket.bufferSize = session._options.readLimit
        set_no_delay = getattr(self._transport, "setTcpNoDelay", None)
        handle = getattr(self._socket, "socket", None)
        if set_no_delay is None or getattr(handle, "family", None) not in (socket.AF_INET, socket.AF_INET6):
            return
        set_no_delay(session._options.tcpNoDelay)
        high, _ = session._options.writeLimit
        # The kernel then asks for more only once it holds less than this unsent.
        if high and hasattr(socket, "TCP_NOTSENT_LOWAT"):
            handle.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, high)

    # The five calls, and the question.

    def write(self, chunks: list[bytes]) -> bool:
        """Send; True: there is room for more."""
        self._transport.write(chunks[0] if len(chunks) == 1 else b"".join(chunks))
        if self._plain:
            # It then tells us when all has left, however little this was.
            self._socket.producerPaused = True
            return False
        return not self._full

    def pause(self) -> None:
        """Stop reading."""
        self._transport.pauseProducing()

    def resume(self) -> None:
        """Read again."""
        self._transport.resumeProducing()

    def finish(self) -> None:
        """Shut down our sending side once everything has left; close once the peer has, too."""
        if not self._finished:
            self._finished = True
            self._transport.unregisterProducer()
            if self._plain and not self._eof:
                self._transport.loseWriteConnection()
        if self._eof or not self._plain:
            self._transport.loseConnection()

    def abort(self) -> None:
        """End it now."""
        abort = getattr(self._transport, "abortConnection", None) or self._transport.loseConnection
        abort()

    def unsent(self) -> int:
        """The bytes that the peer has not taken."""
        lower = self._socket
        if not isinstance(lower, FileDescriptor):
            return 0
        return len(lower.dataBuffer) - lower.offset + kernel_unsent(getattr(lower, "socket", None))

    # IPushProducer: what the transport asks of us.

    def pauseProducing(self) -> None:
        """The transport holds more than it likes."""
        self._full = True

    def resumeProducing(self) -> None:
        """The transport has room."""
        self._full = False
        self._session.writable()

    def stopProducing(self) -> None:
        """The transport is lost; connectionLost says so to the session."""

    def eof(self) -> None:
        """The peer shut down its sending side."""
        self._eof = True
        if self._finished:
            self._transport.loseConnection()
        else:
            self._session.eof_received()


def _below_tls(transport: ITransport) -> object:
    while isinstance(transport, ProtocolWrapper):
        transport = transport.transport
    return transport if isinstance(transport, FileDescriptor) else None


@implementer(IProtocol, IHalfCloseableProtocol)
class TwistedProtocol(Session):
    """What Twisted's transports call: the translation of IProtocol into a session's four reports."""

    __slots__ = ("transport",)

    transport: ITransport | None
    dataReceived = Session.data_received

    def _adopt(self, factory: SharedFactory[Session]) -> None:
        super()._adopt(factory)
        self.transport = None

    def makeConnection(self, transport: ITransport) -> None:
        """TCP (and TLS, as far as it is known) is connected."""
        self.transport = transport
        self._wire = Wire(transport, self)
        self._begin_opening()

    def connectionMade(self) -> None:
        """Part of IProtocol; the callback to use is ``onOpen``."""

    def readConnectionLost(self) -> None:
        """The peer shut down its sending side."""
        self._wire.eof()

    def writeConnectionLost(self) -> None:
        """Our own shutting down has been done."""

    def connectionLost(self, reason: Failure) -> None:
        """TCP is gone."""
        self.connection_lost(reason.getErrorMessage())

    def logPrefix(self) -> str:
        """What Twisted's log calls us."""
        return type(self).__name__

    @property
    def peer(self) -> str:
        """The other side's address: ``host:port``, ``[host]:port`` or ``unix``."""
        address = self.transport.getPeer() if self.transport is not None else None
        host, port = getattr(address, "host", None), getattr(address, "port", None)
        if host is None:
            return "unix" if address is not None else ""
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


class DeferredFutures:
    """Deferreds as futures."""

    def create(self, on_cancel: Callable[[], object] | None = None) -> Deferred[object]:
        """Return a new Deferred."""
        return tx.create_future(canceller=None if on_cancel is None else lambda _: on_cancel())

    def resolve(self, future: Future, value: object = None) -> None:
        """Fire it, unless it has fired."""
        assert isinstance(future, Deferred)
        if not future.called:
            tx.resolve(future, value)

    def reject(self, future: Future, error: BaseException) -> None:
        """Fail it, unless it has fired."""
        assert isinstance(future, Deferred)
        if not future.called:
            tx.reject(future, Failure(error))

    def from_result(self, result: object) -> Deferred[object] | None:
        """Return the Deferred behind what a callback returned."""
        if isinstance(result, Deferred):
            return result
        if not hasattr(result, "__await__"):
            return None
        if hasattr(result, "add_done_callback"):
            return Deferred.fromFuture(result)
        return Deferred.fromCoroutine(_awaited(result))

    def watch(
        self, future: Future, done: Callable[[object], object], failed: Callable[[BaseException], object]
    ) -> None:
        """Call one of the two when it fires."""
        tx.add_callbacks(future, lambda value: _nothing(done(value)), lambda failure: _nothing(failed(failure.value)))

    def cancel(self, future: Future) -> None:
        """Cancel it."""
        tx.cancel(future)


async def _awaited(awaitable: object) -> object:
    return await awaitable  # type: ignore[misc]


def _nothing(result: object) -> None:
    """Swallow what a watcher returned: it is nobody's result."""


class TwistedLog:
    """twisted.logger, through txaio."""

    def __init__(self) -> None:
        logger = tx.make_logger()
        self.debug, self.info, self.warn, self.error = logger.debug, logger.info, logger.warn, logger.error
        self._failure = logger.failure

    def failure(self, text: str, error: BaseException, **fields: object) -> None:
        """Log *error* with its traceback."""
        self._failure(text, failure=Failure(error, type(error), error.__traceback__), **fields)


_FLAVOURS: WeakKeyDictionary[object, Flavour] = WeakKeyDictionary()


def flavour_for(reactor: IReactorTime | None) -> Flavour:
    """Return what all connections on *reactor* (None: the global one) share."""
    if reactor is None:
        from twisted.internet import reactor
    flavour = _FLAVOURS.get(reactor)
    if flavour is None:
        flavour = _FLAVOURS[reactor] = _make_flavour(reactor)
    return flavour


def _make_flavour(reactor: IReactorTime) -> Flavour:
    log = TwistedLog()
    # A real reactor's seconds() is the wall clock: setting it back or forth would move every deadline.
    now = time.monotonic if isinstance(reactor, ReactorBase) else reactor.seconds
    wheel = Wheel(now, reactor.callLater, lambda error: log.failure("a deadline raised", error))
    return Flavour("twisted", wheel, DeferredFutures(), log, lambda callback: reactor.callLater(0, callback))
