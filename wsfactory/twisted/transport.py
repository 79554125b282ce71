"""Twisted below a session: its transports as our five calls, its Deferreds as our futures, its clock as our wheel.

A plain TCP or UNIX transport reports when everything written has left (``producerPaused``, an attribute of the
transport, is set after each write); any other, like TLS, reports by its own marks.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, cast
from weakref import WeakValueDictionary

from twisted.internet.abstract import FileDescriptor
from twisted.internet.base import ReactorBase
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import (
    IHalfCloseableProtocol,
    IProtocol,
    IPushProducer,
    IReactorTime,
    ISSLTransport,
    ITransport,
)
from twisted.logger import ILogObserver, Logger
from twisted.protocols.policies import ProtocolWrapper
from twisted.python.failure import Failure
from txaio import tx
from zope.interface import implementer

from wsfactory.factory import SharedFactory
from wsfactory.flavour import Flavour, Future
from wsfactory.session import Session
from wsfactory.sockets import kernel_unsent, set_tcp_options
from wsfactory.timing import Wheel

__all__ = ["TwistedProtocol", "Wire", "flavour_for"]


@implementer(IPushProducer)
class Wire:
    """One Twisted transport, as a session sees it; it is the transport's only producer."""

    __slots__ = (
        "_descriptor",
        "_eof",
        "_finished",
        "_full",
        "_half_closes",
        "_lost",
        "_plain",
        "_session",
        "_transport",
        "secure",
    )

    def __init__(self, transport: ITransport, session: Session) -> None:
        # Any: what a transport can do beyond ITransport, its interfaces leave open.
        self._transport = cast("Any", transport)
        self._session = session
        self._descriptor = _descriptor_of(transport)
        self.secure = ISSLTransport.providedBy(transport)
        self._plain = self._descriptor is transport and not self.secure
        self._half_closes = hasattr(transport, "loseWriteConnection") and not self.secure
        self._full = False
        self._finished = False
        self._eof = False
        self._lost = False
        self._set_options(session)
        self._transport.registerProducer(self, True)

    def _set_options(self, session: Session) -> None:
        if self._descriptor is not None:
            options = session._ws_options
            self._descriptor.bufferSize = options.readLimit
            set_tcp_options(getattr(self._descriptor, "socket", None), options.tcpNoDelay, options.writeLimit[0])

    # The five calls, and the question.

    def write(self, chunks: list[bytes]) -> bool:
        """Send; True: there is room for more."""
        self._transport.write(chunks[0] if len(chunks) == 1 else b"".join(chunks))
        if self._plain:
            # It then tells us when all has left, however little this was.
            self._transport.producerPaused = True
            return False
        return not self._full

    def pause(self) -> None:
        """Stop reading."""
        if not self._finished:
            self._transport.pauseProducing()

    def resume(self) -> None:
        """Read again."""
        if not self._finished:
            self._transport.resumeProducing()

    def finish(self) -> None:
        """Shut down our sending side once everything has left; close once the peer has, too."""
        if not self._finished:
            self._finish()
        if self._eof or not self._half_closes:
            self._transport.loseConnection()

    def _finish(self) -> None:
        if not self._eof:
            # Whatever had paused it: the peer's EOF has to be seen. Some transports allow that only now.
            self.resume()
        self._finished = True
        self._transport.unregisterProducer()
        if self._half_closes and not self._eof:
            self._transport.loseWriteConnection()

    def abort(self) -> None:
        """End it now."""
        if self._lost:
            return
        abort = getattr(self._transport, "abortConnection", None) or self._transport.loseConnection
        abort()

    def unsent(self) -> int:
        """The bytes that the peer has not taken."""
        lower = self._descriptor
        if lower is None:
            return 0
        # _tempDataLen is what write() took since the last attempt to send: there is no public way to ask for it.
        buffered = len(lower.dataBuffer) - lower.offset + lower._tempDataLen
        return buffered + kernel_unsent(getattr(lower, "socket", None))

    # IPushProducer: what the transport asks of us.

    def pauseProducing(self) -> None:
        """The transport holds more than it likes."""
        self._full = True

    def resumeProducing(self) -> None:
        """The transport has room."""
        self._full = False
        self._session._ws_writable()

    def stopProducing(self) -> None:
        """The transport is lost; connectionLost says so to the session."""

    def eof(self) -> None:
        """The peer shut down its sending side."""
        self._eof = True
        if self._finished:
            self._transport.loseConnection()
        else:
            self._session._ws_eof_reached()

    def lost(self) -> None:
        """The transport is gone: what is asked of it now does nothing (of one with TLS it would raise)."""
        self._finished = self._eof = self._lost = True


def _descriptor_of(transport: object) -> FileDescriptor | None:
    """Return what holds the socket, below TLS and other wrappers; None: it is nothing that we know."""
    while isinstance(transport, ProtocolWrapper):
        transport = transport.transport
    return transport if isinstance(transport, FileDescriptor) else None


@implementer(IProtocol, IHalfCloseableProtocol)
class TwistedProtocol(Session):
    """What Twisted's transports call: the translation of IProtocol into a session's four reports."""

    __slots__ = ("transport",)

    transport: ITransport | None
    dataReceived = Session._ws_data_received

    def _ws_adopt(self, factory: SharedFactory[Session]) -> None:
        super()._ws_adopt(factory)
        self.transport = None

    def makeConnection(self, transport: ITransport) -> None:
        """TCP (and TLS, as far as it is known) is connected."""
        self.transport = transport
        self._ws_connected(Wire(transport, self))

    def connectionMade(self) -> None:
        """Part of IProtocol; the callback to use is ``onOpen``."""

    def readConnectionLost(self) -> None:
        """The peer shut down its sending side."""
        cast("Wire", self._ws_wire).eof()

    def writeConnectionLost(self) -> None:
        """Our own shutting down has been done."""

    def connectionLost(self, reason: Failure) -> None:
        """TCP is gone."""
        if self._ws_wire is not None:
            cast("Wire", self._ws_wire).lost()
        self._ws_transport_lost(reason.getErrorMessage())

    def logPrefix(self) -> str:
        """What Twisted's log calls us."""
        return type(self).__name__

    def _ws_peer(self) -> str:
        """Return the other side's address: ``host:port``, ``[host]:port`` or ``unix``."""
        address = self.transport.getPeer() if self.transport is not None else None
        host, port = getattr(address, "host", None), getattr(address, "port", None)
        if host is None:
            return "unix" if address is not None else ""
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


class DeferredFutures:
    """Deferreds as futures."""

    def create(self, on_cancel: Callable[[], object] | None = None) -> Deferred[object]:
        """Return a new Deferred."""
        future: Deferred[object] = tx.create_future(canceller=None if on_cancel is None else lambda _: on_cancel())
        return future

    def resolve(self, future: Future, value: object = None) -> None:
        """Fire it, unless it has fired."""
        assert isinstance(future, Deferred)
        if not future.called:
            tx.resolve(future, value)

    def reject(self, future: Future, error: BaseException) -> None:
        """Fail it, unless it has fired."""
        assert isinstance(future, Deferred)
        if not future.called:
            failure = _failure(error)
            tx.reject(future, failure)
            # Nobody need look: Twisted would log it as unhandled, and has no public way to say that it is not.
            if future._debugInfo is not None and future._debugInfo.failResult is failure:
                future._debugInfo.failResult = None

    def has_ended(self, future: Future) -> bool:
        """Whether it has fired."""
        assert isinstance(future, Deferred)
        return future.called

    def from_result(self, result: object) -> Deferred[Any] | None:
        """Return the Deferred behind what a callback returned."""
        if isinstance(result, Deferred):
            return result
        if not hasattr(result, "__await__"):
            return None
        if hasattr(result, "add_done_callback"):
            return Deferred.fromFuture(cast("Any", result))
        return Deferred.fromCoroutine(_awaited(result))

    def watch(
        self, future: Future, done: Callable[[object], object], failed: Callable[[BaseException], object]
    ) -> None:
        """Call one of the two when it fires."""
        tx.add_callbacks(future, lambda value: _nothing(done(value)), lambda failure: _nothing(failed(failure.value)))

    def cancel(self, future: Future) -> None:
        """Cancel it."""
        tx.cancel(future)


async def _awaited(awaitable: Any) -> object:
    return await awaitable


def _nothing(result: object) -> None:
    """Swallow what a watcher returned: it is nobody's result."""


def _failure(error: BaseException) -> Failure:
    return Failure(error, type(error), error.__traceback__)


def _logger(observer: ILogObserver | None, namespace: str) -> Logger:
    """Return a logger of the package; *namespace* would name the class of ours that made it."""
    return Logger("wsfactory", observer=observer)


class TwistedLog:
    """twisted.logger, through txaio: ``txaio.set_global_log_level`` may be called at any time."""

    def __init__(self) -> None:
        self._logger = tx.make_logger(logger=_logger)

    def debug(self, text: str, **fields: object) -> None:
        """Log what helps to find a fault."""
        self._logger.debug(text, **fields)

    def info(self, text: str, **fields: object) -> None:
        """Log what is good to know."""
        self._logger.info(text, **fields)

    def warn(self, text: str, **fields: object) -> None:
        """Log what somebody should look at."""
        self._logger.warn(text, **fields)

    def error(self, text: str, **fields: object) -> None:
        """Log what went wrong."""
        self._logger.error(text, **fields)

    def failure(self, text: str, error: BaseException, **fields: object) -> None:
        """Log *error* with its traceback."""
        self._logger.failure(text, failure=_failure(error), **fields)


# By the reactor's id: a wheel holds its reactor, so that no other has the same id while the wheel is there.
_WHEELS: WeakValueDictionary[int, Wheel] = WeakValueDictionary()


def flavour_for(reactor: IReactorTime | None) -> Flavour:
    """Return what all connections on *reactor* (None: the global one) share."""
    if reactor is None:
        from twisted.internet import reactor as running

        reactor = cast("IReactorTime", running)
    schedule, log = reactor.callLater, TwistedLog()
    return Flavour("twisted", _wheel_of(reactor, log), DeferredFutures(), log, lambda callback: schedule(0, callback))


def _wheel_of(reactor: IReactorTime, log: TwistedLog) -> Wheel:
    wheel = _WHEELS.get(id(reactor))
    if wheel is None:
        # A real reactor's seconds() is the wall clock: setting it back or forth would move every deadline.
        now = time.monotonic if isinstance(reactor, ReactorBase) else reactor.seconds
        wheel = Wheel(now, reactor.callLater, lambda error: log.failure("a deadline raised", error))
        _WHEELS[id(reactor)] = wheel
    return wheel
