"""What a framework hands in: a transport for each connection; futures, a log and a timing wheel for all of them.

Interfaces only.  ``wsfactory.twisted`` and ``wsfactory.asyncio`` implement them; nothing at this level or below knows
which one it runs on.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from wsfactory.timing import Wheel

__all__ = ["Flavour", "Future", "Futures", "Log", "Transport"]

# A Deferred, or an asyncio Future: opaque here.
Future = object


class Transport(Protocol):
    """The socket below a session: five calls, and two questions."""

    def write(self, chunks: list[bytes]) -> bool:
        """Send *chunks*.  True: there is room for more; False: ``Session._ws_writable`` is called once there is."""

    def pause(self) -> None:
        """Stop reading from the socket."""

    def resume(self) -> None:
        """Read again."""

    def finish(self) -> None:
        """Shut down our sending side once everything written has left; reading goes on (TLS: close_notify)."""

    def abort(self) -> None:
        """End the connection now; what is unsent is lost."""

    def unsent(self) -> int:
        """How many bytes the peer has not taken, as far as the system tells."""

    @property
    def secure(self) -> bool:
        """Whether what is written is encrypted on its way (TLS)."""


class Log(Protocol):
    """A log with structured fields: ``log.info("{peer} left", peer=...)``."""

    def debug(self, text: str, **fields: object) -> None:
        """Log what helps to find a fault."""

    def info(self, text: str, **fields: object) -> None:
        """Log what is good to know."""

    def warn(self, text: str, **fields: object) -> None:
        """Log what somebody should look at."""

    def error(self, text: str, **fields: object) -> None:
        """Log what went wrong."""

    def failure(self, text: str, error: BaseException, **fields: object) -> None:
        """Log *error* with its traceback."""


class Futures(Protocol):
    """The framework's futures."""

    def create(self, on_cancel: Callable[[], object] | None = None) -> Future:
        """Return a new one; *on_cancel* is called when its owner cancels it."""

    def resolve(self, future: Future, value: object = None) -> None:
        """Give it its result; nothing happens if it has one or was cancelled."""

    def reject(self, future: Future, error: BaseException) -> None:
        """Make it fail; nothing happens if it has a result or was cancelled."""

    def has_ended(self, future: Future) -> bool:
        """Whether it has a result, has failed or was cancelled."""

    def from_result(self, result: object) -> Future | None:
        """Return the future behind what a callback returned: None if that is nothing to wait for."""

    def watch(
        self, future: Future, done: Callable[[object], object], failed: Callable[[BaseException], object]
    ) -> None:
        """Call one of the two when *future* has ended, at once if it already has."""

    def cancel(self, future: Future) -> None:
        """Cancel it."""


@dataclass(frozen=True, slots=True)
class Flavour:
    """What all connections on one reactor or loop share."""

    name: str
    wheel: Wheel
    futures: Futures
    log: Log
    soon: Callable[[Callable[[], object]], object]
