"""Pings, or Pongs, on their way to the application: told at once, but only so many at a time.

What arrives goes in with ``arrived``; it comes out as a call of ``tell``.  A peer may send them without end, and
nothing holds it back: once ``MAX_UNDER_WAY`` callbacks are under way, only the newest of what comes is kept, and told
when one of them is done.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final

__all__ = ["MAX_UNDER_WAY", "Controls"]

MAX_UNDER_WAY: Final = 32

# Calls the application, then what it is given once the application is done.
Tell = Callable[[bytes, Callable[[], object]], object]


class Controls:
    """The control frames of one kind that the application is being told of."""

    __slots__ = ("_newest", "_tell", "under_way")

    def __init__(self, tell: Tell) -> None:
        self._tell = tell
        self._newest: bytes | None = None
        # Their payloads; few enough to look through.
        self.under_way: list[bytes] = []

    def arrived(self, payload: bytes) -> None:
        """Tell of one, now or later."""
        if len(self.under_way) < MAX_UNDER_WAY:
            self._begin(payload)
        else:
            self._newest = payload

    def forget(self) -> None:
        """Tell of nothing more that has arrived."""
        self._newest = None

    def _begin(self, payload: bytes) -> None:
        self.under_way.append(payload)
        self._tell(payload, partial(self._done, payload))

    def _done(self, payload: bytes) -> None:
        self.under_way.remove(payload)
        newest, self._newest = self._newest, None
        if newest is not None:
            self._begin(newest)
