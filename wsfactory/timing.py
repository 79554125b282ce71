"""The timing wheel: every deadline goes through it.

One ``Wheel`` per clock, shared by all factories on it.  Deadlines are kept in slots of ``tick`` seconds, and the clock
is asked to wake us only for the next slot that holds one: a wheel without deadlines costs nothing.  A deadline is never
early and at most a tick (plus the clock's own lateness) late.

A clock is two functions: ``now()`` in seconds (monotonic), and ``call_later(seconds, callback)``.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable
from typing import Final, Protocol

__all__ = ["Deadline", "ProgressDeadline", "Wakeup", "Wheel"]

TICK_SECONDS: Final = 0.01
# A wake-up later than this came after something blocked the loop: what is in the kernel has to be read first.
SLACK_SECONDS: Final = 0.05
# So many slots without a deadline are not worth the tidying.
_EMPTY_SLOTS: Final = 8


class Wakeup(Protocol):
    """What ``call_later`` gives back."""

    def cancel(self) -> object:
        """Take the call back."""


class Deadline:
    """One deadline; ``cancel()`` may be called at any time, any number of times."""

    __slots__ = ("_callback", "_slot", "_wheel", "due")

    def __init__(self, wheel: Wheel, due: float, slot: int, callback: Callable[[], object]) -> None:
        self._wheel = wheel
        self._slot = slot
        self._callback: Callable[[], object] | None = callback
        self.due = due

    @property
    def active(self) -> bool:
        """Whether it will still fire."""
        return self._callback is not None

    def cancel(self) -> None:
        """Take it back: it will not fire."""
        if self._callback is not None:
            self._callback = None
            self._wheel._remove(self, self._slot)

    def _fire(self) -> None:
        callback, self._callback = self._callback, None
        if callback is not None:
            callback()


class Wheel:
    """Deadlines on one clock."""

    def __init__(
        self,
        now: Callable[[], float],
        call_later: Callable[[float, Callable[[], None]], Wakeup],
        on_error: Callable[[Exception], object],
        tick: float = TICK_SECONDS,
    ) -> None:
        self.now = now
        self._call_later = call_later
        self._on_error = on_error
        self._tick = tick
        self._slots: dict[int, dict[Deadline, None]] = {}
        self._order: list[int] = []
        self._wakeup: Wakeup | None = None
        self._wakes_at = math.inf
        self._yielded = False

    def __len__(self) -> int:
        """How many deadlines are waiting."""
        return sum(map(len, self._slots.values()))

    def after(self, seconds: float, callback: Callable[[], object]) -> Deadline:
        """Call *callback* once *seconds* have passed."""
        return self.at(self.now() + seconds, callback)

    def at(self, due: float, callback: Callable[[], object]) -> Deadline:
        """Call *callback* once the clock shows *due*; a *due* in the past fires at the next tick."""
        slot = max(self._slot_of(due), self._next_slot())
        deadline = Deadline(self, due, slot, callback)
        waiting = self._slots.get(slot)
        if waiting is None:
            waiting = self._slots[slot] = {}
            heapq.heappush(self._order, slot)
        waiting[deadline] = None
        self._sleep()
        return deadline

    def _slot_of(self, due: float) -> int:
        slot = math.ceil(due / self._tick)
        # The division may have rounded down onto a whole number: never early, not by the last bit of a float either.
        return slot if slot * self._tick >= due else slot + 1

    def _next_slot(self) -> int:
        now = self.now()
        slot = math.floor(now / self._tick) + 1
        # The same rounding: a slot that is due at this very moment would go round in circles on a clock that stands.
        return slot if slot * self._tick > now else slot + 1

    def _remove(self, deadline: Deadline, slot: int) -> None:
        waiting = self._slots.get(slot)
        if waiting is None or waiting.pop(deadline, deadline) is deadline:
            return
        if not waiting:
            del self._slots[slot]
            self._forget_empty_slots()
            self._sleep()

    def _forget_empty_slots(self) -> None:
        # A heap gives up its least only: what was emptied amid it goes once that is more than what is left.
        if len(self._order) > 2 * len(self._slots) + _EMPTY_SLOTS:
            self._order = sorted(self._slots)

    def _sleep(self) -> None:
        """Ask the clock for one call, at the first slot that holds a deadline; for none where there is none."""
        while self._order and self._order[0] not in self._slots:
            heapq.heappop(self._order)
        wakes_at = self._order[0] * self._tick if self._order else math.inf
        if wakes_at == self._wakes_at:
            return
        if self._wakeup is not None:
            self._wakeup.cancel()
            self._wakeup = None
        self._wakes_at = wakes_at
        self._yielded = False
        if self._order:
            self._wakeup = self._call_later(max(0.0, wakes_at - self.now()), self._wake)

    def _wake(self) -> None:
        self._wakeup = None
        late = self.now() - self._wakes_at
        if late > SLACK_SECONDS and not self._yielded:
            # Something blocked the loop. Bytes that would have spared a peer may lie in the kernel: read them first.
            self._yielded = True
            self._wakeup = self._call_later(0.0, self._wake)
            return
        self._wakes_at = math.inf
        for deadline in self._take_due():
            self._fire(deadline)
        self._sleep()

    def _take_due(self) -> list[Deadline]:
        """Take all out before the first of them fires: what is added meanwhile waits for the next tick."""
        due: list[Deadline] = []
        now = self.now()
        while self._order and self._order[0] * self._tick <= now:
            due += self._slots.pop(heapq.heappop(self._order), ())
        return due

    def _fire(self, deadline: Deadline) -> None:
        try:
            deadline._fire()
        except Exception as error:
            self._on_error(error)


class ProgressDeadline:
    """A deadline that starts anew whenever what waits became less.

    *expired* is called once nothing of ``waiting()`` (bytes) has left for *seconds*, at most a twentieth of that late.
    """

    __slots__ = ("_deadline", "_expired", "_left", "_seconds", "_since", "_waiting", "_wheel")

    def __init__(self, wheel: Wheel, seconds: float, waiting: Callable[[], int], expired: Callable[[], object]) -> None:
        self._wheel = wheel
        self._seconds = seconds
        self._waiting = waiting
        self._expired = expired
        self._left = waiting()
        self._since = wheel.now()
        self._deadline = self._arm()

    def cancel(self) -> None:
        """Take it back."""
        self._deadline.cancel()

    def _arm(self) -> Deadline:
        now = self._wheel.now()
        return self._wheel.at(min(self._since + self._seconds, now + self._seconds / 20), self._look)

    def _look(self) -> None:
        left = self._waiting()
        if left < self._left:
            self._since = self._wheel.now()
        self._left = left
        if self._wheel.now() >= self._since + self._seconds:
            self._expired()
        else:
            self._deadline = self._arm()
