"""Messages waiting for the application: in order, bounded, so many at once.

The codec delivers messages here; they come out as calls of ``handle``, one at a time.  A message counts from its
arrival until what ``handle`` returned is done.  Beyond the high mark up to 64 KiB more is parked, so that control
frames among it are still seen; then ``deliver`` answers "stop", and ``inbox_full`` is called.  At the low mark
``inbox_room`` is.  A plain ``handle`` that returns None pays for none of this.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final, Protocol

from wsfactory.flavour import Future

__all__ = ["Inbox", "InboxOwner"]

# What may be parked beyond the high mark; a parked message counts its length and this much more.
PARKED_BYTES: Final = 64 * 1024
PARKED_OVERHEAD: Final = 64


class InboxOwner(Protocol):
    """What an inbox asks of its session."""

    def handle(self, payload: bytes, is_binary: bool) -> Future | None:
        """Call onMessage; None if that is done, else a future that ends when it is."""

    def watch(self, future: Future, done: Callable[[], None]) -> None:
        """Call *done* when *future* has ended, well or not."""

    def inbox_full(self) -> None:
        """Stop reading."""

    def inbox_room(self) -> None:
        """Read on: may deliver at once."""

    def inbox_empty(self) -> None:
        """Everything that was delivered has been handled."""


class Inbox:
    """The messages of one connection that its application has yet to handle."""

    __slots__ = (
        "_advancing",
        "_direct",
        "_discarding",
        "_high",
        "_high_bytes",
        "_holds",
        "_low",
        "_low_bytes",
        "_owner",
        "_parked",
        "_running",
        "_running_bytes",
        "_stopped",
        "_waiting",
        "_waiting_bytes",
    )

    def __init__(self, owner: InboxOwner, queue: tuple[int, int], queue_bytes: tuple[int, int]) -> None:
        self._owner = owner
        self._high, self._low = queue
        self._high_bytes, self._low_bytes = queue_bytes
        self._waiting: deque[tuple[bytes, bool]] | None = None
        self._waiting_bytes = 0
        self._parked = 0
        self._running = 0
        self._running_bytes = 0
        self._holds = 0
        self._direct = True
        self._advancing = False
        self._stopped = False
        self._discarding = False

    # What the session asks.

    @property
    def idle(self) -> bool:
        """Nothing waits and nothing is being handled."""
        return not self._running and not self._waiting

    @property
    def stopped(self) -> bool:
        """Whether the codec was told to stop, and has not been told to go on."""
        return self._stopped

    def __len__(self) -> int:
        """How many messages count: those that wait and those being handled."""
        return self._running + (len(self._waiting) if self._waiting else 0)

    @property
    def size(self) -> int:
        """The bytes of the messages that count."""
        return self._waiting_bytes + self._running_bytes

    # What arrives.

    def deliver(self, payload: bytes, is_binary: bool) -> bool:
        """Take one message; True: stop the codec after it."""
        if self._direct:
            return self._begin(payload, is_binary) and self._settle()
        if self._discarding:
            return False
        return self._enqueue(payload, is_binary)

    def _begin(self, payload: bytes, is_binary: bool) -> bool:
        """Hand one message to the application; True: the inbox is no longer idle."""
        self._running += 1
        future = self._owner.handle(payload, is_binary)
        if future is None:
            self._running -= 1
            return not self._direct
        self._running_bytes += len(payload)
        self._direct = False
        self._owner.watch(future, _Handled(self, len(payload)))
        return not self._direct

    def _settle(self) -> bool:
        self._direct = self._may_be_direct()
        return self._stop_if_full()

    def _enqueue(self, payload: bytes, is_binary: bool) -> bool:
        if self._waiting is None:
            self._waiting = deque()
        # What was parked counts as waiting once the queue has room for it.
        self._parked = self._parked + len(payload) + PARKED_OVERHEAD if self._is_full() else 0
        self._waiting.append((payload, is_binary))
        self._waiting_bytes += len(payload)
        return self._stop_if_full()

    def _is_full(self) -> bool:
        count, size = len(self), self.size
        return bool((self._high and count >= self._high) or (self._high_bytes and count and size >= self._high_bytes))

    def _stop_if_full(self) -> bool:
        if self._stopped:
            return True
        if self._parked < PARKED_BYTES:
            return False
        self._stopped = True
        self._owner.inbox_full()
        return True

    # What the application does.

    def hold(self) -> None:
        """Hand out nothing until as many ``release`` calls came."""
        self._holds += 1
        self._direct = False

    def release(self) -> None:
        """Take one ``hold`` back."""
        self._holds -= 1
        self.advance()

    def discard(self) -> None:
        """The application is to see no further message; what is being handled runs on."""
        self._discarding = True
        self._direct = False
        self._waiting = None
        self._waiting_bytes = self._parked = 0
        self.advance()

    def advance(self) -> None:
        """Hand out what may be handed out, then say so if all is handled."""
        if self._advancing:
            return
        self._advancing = True
        try:
            while self._step():
                pass
        finally:
            self._advancing = False
        self._direct = self._may_be_direct()
        if self.idle and not self._stopped:
            self._owner.inbox_empty()

    def _step(self) -> bool:
        if self._waiting and not self._running and not self._holds:
            payload, is_binary = self._waiting.popleft()
            self._waiting_bytes -= len(payload)
            self._begin(payload, is_binary)
            return True
        if self._stopped and self._has_room():
            self._stopped = False
            self._parked = 0
            self._owner.inbox_room()
            return True
        return False

    def _has_room(self) -> bool:
        # One message larger than a bound has room when nothing else waits; what is discarded needs none.
        if self._discarding or self.idle:
            return True
        return len(self) <= self._low_count() and self.size <= self._low_size()

    def _low_count(self) -> float:
        return self._low if self._high else float("inf")

    def _low_size(self) -> float:
        return self._low_bytes if self._high_bytes else float("inf")

    def _may_be_direct(self) -> bool:
        return not (self._running or self._waiting or self._holds or self._discarding or self._advancing)

    def _handled(self, size: int) -> None:
        self._running -= 1
        self._running_bytes -= size
        self.advance()


class _Handled:
    """What is called when a message is handled: takes it out of the count."""

    __slots__ = ("_inbox", "_size")

    def __init__(self, inbox: Inbox, size: int) -> None:
        self._inbox = inbox
        self._size = size

    def __call__(self) -> None:
        self._inbox._handled(self._size)
