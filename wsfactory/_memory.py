"""A framework without a network, below the test kit: time that is set, futures, a log, and wires in memory.

Sessions run on it as on a flavour; nothing moves or happens before a ``Link`` or a ``Clock`` is told so.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Generator
from dataclasses import dataclass
from functools import partial
from itertools import count
from typing import Any, Protocol, cast

from wsfactory import flavour

__all__ = ["Cancelled", "Clock", "DelayedCall", "End", "Future", "Futures", "Link", "Log", "Wire"]

KERNEL_BYTES = 64 * 1024
MAX_STEPS = 1_000_000


# Bytes.


class End(Protocol):
    """What a wire reports to: a session, or a ``Peer``."""

    def _ws_data_received(self, data: bytes) -> None: ...

    def _ws_eof_reached(self) -> None: ...

    def _ws_transport_lost(self, reason: str) -> None: ...

    def _ws_writable(self) -> None: ...


class Wire:
    """One side's transport, in memory: what it writes waits here until the other side takes it.

    ``room`` is how many bytes the other side still takes (None: any number), ``capacity`` how many may wait before the
    writer is told that it is full, ``read_size`` the most that arrives at once.  Change them at any time.
    ``writes`` has what was given to each write; ``secure`` is whether it passes for TLS.
    """

    def __init__(self, end: End) -> None:
        self.end = end
        self.other = self
        self.room: int | None = None
        self.capacity = KERNEL_BYTES
        self.read_size = KERNEL_BYTES
        self.writes: list[bytes] = []
        self.secure = True
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
        self.other.end._ws_data_received(data)
        return True

    def _tell_writable(self) -> bool:
        if not self._full or self.finished or len(self._waiting) > self.capacity:
            return False
        self._full = False
        self.end._ws_writable()
        return True

    def _tell_eof(self) -> bool:
        if not self.finished or self._waiting or self._told_eof or self.other.paused or self.room == 0:
            return False
        self._told_eof = True
        if not self.other.finished:
            self.other.end._ws_eof_reached()
        elif self.other._told_eof:
            self.lose("the connection was closed cleanly")
            self.other.lose("the connection was closed cleanly")
        return True

    def _tell_lost(self) -> bool:
        if self._told_lost:
            return False
        self._told_lost = True
        self.end._ws_transport_lost(self.lost or "")
        return True


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


# Time, futures, a log.


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
        except BaseException as error:
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

    def has_ended(self, future: flavour.Future) -> bool:
        """Whether it has a result, has failed or was cancelled."""
        return cast("Future", future).done

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
            except BaseException as error:
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
