"""asyncio below a session: its transports as our five calls, its futures as ours, its clock as our wheel.

The write buffer's limits are zero, so that the transport reports when everything written has left.  Reading goes
through one buffer per loop, not per connection.
"""

from __future__ import annotations

import asyncio
import time
import traceback
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Final, TypeVar, cast
from weakref import WeakKeyDictionary, WeakValueDictionary

from txaio import aio

from wsfactory.factory import SharedFactory
from wsfactory.flavour import Flavour, Future
from wsfactory.session import Session
from wsfactory.sockets import kernel_unsent, reset_on_close, set_tcp_options
from wsfactory.timing import Wheel

__all__ = ["AsyncioProtocol", "LoopFactory", "Wire", "flavour_for"]

# A TLS peer that has said nothing for so long has heard that it should not.
LINGER_SECONDS: Final = 1.0

SessionT = TypeVar("SessionT", bound=Session)


class Wire:
    """One asyncio transport, as a session sees it."""

    __slots__ = ("_eof", "_finished", "_full", "_session", "_transport", "half_closes", "secure")

    def __init__(self, transport: asyncio.Transport, session: Session) -> None:
        self._transport = transport
        self.secure = transport.get_extra_info("sslcontext") is not None
        self._session = session
        self.half_closes = transport.can_write_eof()
        self._full = False
        self._finished = False
        self._eof = False
        self._set_options(session)
        transport.set_write_buffer_limits(high=0)

    def _set_options(self, session: Session) -> None:
        options = session._ws_options
        set_tcp_options(self._transport.get_extra_info("socket"), options.tcpNoDelay, options.writeLimit[0])

    # The five calls, and the question.

    def write(self, chunks: list[bytes]) -> bool:
        """Send; True: there is room for more."""
        transport = self._transport
        if transport.is_closing():
            return True
        transport.write(chunks[0] if len(chunks) == 1 else b"".join(chunks))
        self._full = bool(transport.get_write_buffer_size())
        return not self._full

    def pause(self) -> None:
        """Stop reading."""
        if not self._transport.is_closing():
            self._transport.pause_reading()

    def resume(self) -> None:
        """Read again."""
        if not self._transport.is_closing():
            self._transport.resume_reading()

    def finish(self) -> None:
        """Shut down our sending side once everything has left; close once the peer has, too."""
        if not self._finished:
            self._finish()
        if self._eof:
            self._close()

    def _finish(self) -> None:
        self._finished = True
        if self._eof or self._transport.is_closing():
            return
        # Whatever had paused it: the peer's EOF has to be seen.
        self.resume()
        if self.half_closes:
            self._transport.write_eof()
        elif _may_say_more(self._session):
            _Lingering(self._transport, self._session)
        else:
            self._close()

    def _close(self) -> None:
        # A second close() makes asyncio's TLS transports unusable.
        if not self._transport.is_closing():
            self._transport.close()

    def abort(self) -> None:
        """End it now."""
        reset_on_close(self._transport.get_extra_info("socket"))
        self._transport.abort()

    def unsent(self) -> int:
        """The bytes that the peer has not taken."""
        return self._transport.get_write_buffer_size() + kernel_unsent(self._transport.get_extra_info("socket"))

    # What the transport reports of both directions.

    def eof(self) -> None:
        """The peer shut down its sending side."""
        self._eof = True
        if self._finished:
            self._close()
        else:
            self._session._ws_eof_reached()

    def writable(self) -> None:
        """Everything has left; with TLS it is also said of nothing, and amid a write."""
        if self._full:
            self._full = False
            self._session._ws_writable()


def _may_say_more(session: Session) -> bool:
    # RFC 6455 5.5.1: after its Close frame, the peer "MUST NOT send any more data frames".
    conversation = session._ws_conversation
    return conversation is None or conversation.connection.close_info.remoteCode is None


class _Lingering(asyncio.BufferedProtocol):
    """Discards what comes, and closes a TLS transport once nothing comes any more.

    asyncio's TLS cannot be shut down in one direction: what comes behind our close_notify resets the connection, and
    a peer that is still sending would never read why we closed.  The session's own deadline bounds this.
    """

    __slots__ = ("_protocol", "_quiet", "_seconds", "_transport")

    def __init__(self, transport: asyncio.Transport, session: Session) -> None:
        self._transport = transport
        self._protocol = cast("AsyncioProtocol", session)
        closing = session._ws_options.closeHandshakeTimeout
        self._seconds = LINGER_SECONDS if closing is None else min(LINGER_SECONDS, closing / 4)
        self._quiet = session._ws_flavour.wheel.after(self._seconds, self._close)
        transport.set_protocol(self)

    def get_buffer(self, sizehint: int) -> memoryview:
        """Return where to read."""
        return self._protocol.get_buffer(sizehint)

    def buffer_updated(self, nbytes: int) -> None:
        """The peer is still sending."""
        self._quiet.cancel()
        self._quiet = self._protocol._ws_flavour.wheel.after(self._seconds, self._close)

    def _close(self) -> None:
        if not self._transport.is_closing():
            self._transport.close()

    def eof_received(self) -> None:
        """The peer sent close_notify: the transport closes by itself."""

    def pause_writing(self) -> None:
        """Nothing more is written."""

    def resume_writing(self) -> None:
        """Nothing more is written."""

    def connection_lost(self, exc: Exception | None) -> None:
        """TCP is gone."""
        self._quiet.cancel()
        self._protocol.connection_lost(exc)


class AsyncioProtocol(Session, asyncio.BufferedProtocol):
    """What asyncio's transports call: the translation of BufferedProtocol into a session's four reports."""

    __slots__ = ("_ws_buffer", "transport")

    transport: asyncio.Transport | None

    def _ws_adopt(self, factory: SharedFactory[Session]) -> None:
        super()._ws_adopt(factory)
        self.transport = None
        self._ws_buffer = _buffer_for(factory.flavour, self._ws_options.readLimit)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """TCP (and TLS) is connected."""
        self.transport = cast("asyncio.Transport", transport)
        self._ws_wire = Wire(self.transport, self)
        self._ws_begin_opening()

    def get_buffer(self, sizehint: int) -> memoryview:
        """Return where to read: the loop's one buffer."""
        return self._ws_buffer

    def buffer_updated(self, nbytes: int) -> None:
        """Bytes arrived."""
        self._ws_data_received(bytes(self._ws_buffer[:nbytes]))

    def pause_writing(self) -> None:
        """Say that the transport holds something; ``Wire.write`` has seen it already."""

    def resume_writing(self) -> None:
        """Everything has left."""
        cast("Wire", self._ws_wire).writable()

    def eof_received(self) -> bool:
        """The peer shut down its sending side; True: the transport stays open until we end it (TLS cannot)."""
        wire = cast("Wire | None", self._ws_wire)
        if wire is None:  # TLS inside a proxy's tunnel may end before we are told that it began
            return False
        wire.eof()
        return wire.half_closes

    def connection_lost(self, exc: Exception | None) -> None:
        """TCP is gone."""
        self._ws_transport_lost(str(exc or "the connection was closed"))

    def _ws_peer(self) -> str:
        """Return the other side's address: ``host:port``, ``[host]:port`` or ``unix``."""
        if self.transport is None:
            return ""
        try:
            address = self.transport.get_extra_info("peername")
        except ValueError:  # uvloop: of a UNIX socket that is closed
            address = None
        if not isinstance(address, tuple):
            return "unix"
        host, port = address[:2]
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


class AsyncioFutures:
    """asyncio's futures as ours."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._txaio = aio.with_config(loop=loop)
        # The loop itself refers to its tasks weakly.
        self._tasks: set[asyncio.Future[object]] = set()

    def create(self, on_cancel: Callable[[], object] | None = None) -> asyncio.Future[object]:
        """Return a new future."""
        future = cast("asyncio.Future[object]", self._txaio.create_future())
        if on_cancel is not None:
            future.add_done_callback(lambda ended: on_cancel() if ended.cancelled() else None)
        return future

    def resolve(self, future: Future, value: object = None) -> None:
        """Give it its result, unless it has ended."""
        assert isinstance(future, asyncio.Future)
        if not future.done():
            self._txaio.resolve(future, value)

    def reject(self, future: Future, error: BaseException) -> None:
        """Make it fail, unless it has ended."""
        assert isinstance(future, asyncio.Future)
        if not future.done():
            future.set_exception(error)
            # Nobody need look: asyncio would log one that nobody looked at.
            future.exception()

    def has_ended(self, future: Future) -> bool:
        """Whether it has a result, has failed or was cancelled."""
        assert isinstance(future, asyncio.Future)
        return future.done()

    def from_result(self, result: object) -> asyncio.Future[object] | None:
        """Return the future behind what a callback returned; a coroutine becomes a task."""
        if isinstance(result, asyncio.Future):
            return result
        if hasattr(result, "asFuture"):
            # A Deferred, on the reactor that runs on this loop.
            return cast("asyncio.Future[object]", result.asFuture(self._loop))
        if not hasattr(result, "__await__"):
            return None
        task = self._loop.create_task(result if asyncio.iscoroutine(result) else _awaited(result))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def watch(
        self, future: Future, done: Callable[[object], object], failed: Callable[[BaseException], object]
    ) -> None:
        """Call one of the two when it ends, at once if it has."""
        assert isinstance(future, asyncio.Future)
        if future.done():
            _report(future, done, failed)
        else:
            future.add_done_callback(lambda ended: _report(ended, done, failed))

    def cancel(self, future: Future) -> None:
        """Cancel it."""
        assert isinstance(future, asyncio.Future)
        future.cancel()


def _report(
    future: asyncio.Future[object], done: Callable[[object], object], failed: Callable[[BaseException], object]
) -> None:
    if future.cancelled():
        failed(asyncio.CancelledError())
        return
    error = future.exception()
    if error is not None:
        failed(error)
    else:
        done(future.result())


async def _awaited(awaitable: object) -> object:
    return await awaitable  # type: ignore[misc]


class AsyncioLog:
    """The standard library's logging, through txaio."""

    def __init__(self) -> None:
        logger = aio.make_logger()
        self.debug, self.info, self.warn, self.error = logger.debug, logger.info, logger.warn, logger.error

    def failure(self, text: str, error: BaseException, **fields: object) -> None:
        """Log *error* with its traceback."""
        self.error(text + "\n{traceback}", traceback="".join(traceback.format_exception(error)), **fields)


# By the loop's id: a wheel holds its loop, so that no other has the same id while the wheel is there.
_WHEELS: WeakValueDictionary[int, Wheel] = WeakValueDictionary()
_BUFFERS: WeakKeyDictionary[Wheel, memoryview] = WeakKeyDictionary()


class LoopFactory(SharedFactory[SessionT]):
    """A factory that belongs to a loop, at the latest when it makes its first connection."""

    def __init__(self, loop: asyncio.AbstractEventLoop | None, **shared: Any) -> None:
        super().__init__(**shared)
        self.loop = loop
        self._joined: asyncio.AbstractEventLoop | None = None

    def __call__(self) -> SessionT:
        """Return a new protocol that belongs to this factory."""
        return self._new_session()

    def shutdown(self, code: int = 1001, timeout: float | None = 20.0) -> Awaitable[list[SessionT]]:
        """Close every connection; see ``SharedFactory.shutdown``."""
        self._join_loop()
        return super().shutdown(code, timeout)

    def _new_session(self) -> SessionT:
        self._join_loop()
        return super()._new_session()

    def _join_loop(self) -> None:
        loop = self.loop or asyncio.get_running_loop()
        if self._joined is not loop:
            self._joined = loop
            self.flavour = flavour_for(loop)


def flavour_for(loop: asyncio.AbstractEventLoop) -> Flavour:
    """Return what all connections of a factory on *loop* share; the wheel is that of all factories."""
    log = AsyncioLog()
    wheel = _WHEELS.get(id(loop))
    if wheel is None:
        # uvloop's time() stands still while a callback runs, and counts in milliseconds.
        wheel = _WHEELS[id(loop)] = Wheel(time.monotonic, loop.call_later, partial(log.failure, "a deadline raised"))
    return Flavour("asyncio", wheel, AsyncioFutures(loop), log, loop.call_soon)


def _buffer_for(flavour: Flavour, size: int) -> memoryview:
    """Return the first *size* bytes of the one buffer that all connections on a loop read into."""
    buffer = _BUFFERS.get(flavour.wheel)
    if buffer is None or len(buffer) < size:
        buffer = _BUFFERS[flavour.wheel] = memoryview(bytearray(size))
    return buffer[:size] if len(buffer) > size else buffer
