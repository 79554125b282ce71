"""SIGINT and SIGTERM while a reactor runs: the first one ends it gently, as ever; each further one can hurry it.

By itself Twisted answers a second one with the traceback of a ``ReactorNotRunning``.
"""

from __future__ import annotations

import signal
from collections.abc import Callable
from types import FrameType

from twisted.internet.interfaces import IReactorFromThreads

__all__ = ["SecondSignal"]

# The signals that end a reactor, and its methods which are called for them.
_ENDING = (("SIGINT", "sigInt"), ("SIGTERM", "sigTerm"), ("SIGBREAK", "sigBreak"))

Handler = Callable[[int, FrameType | None], object]


class SecondSignal:
    """Calls *hurry*, in the reactor, for each ending signal but the first."""

    def __init__(self, reactor: IReactorFromThreads, hurry: Callable[[], object]) -> None:
        self._reactor = reactor
        self._hurry = hurry
        self._stock: dict[int, Handler] = {}
        self._ending = False

    def install(self) -> None:
        """Take the place of the reactor's own functions; call it once the reactor runs.

        A signal that something else has taken (a debugger), or that nobody has, is left alone.
        """
        for name, method in _ENDING:
            number, stock = getattr(signal, name, None), getattr(self._reactor, method, None)
            if number is not None and stock is not None and signal.getsignal(number) == stock:
                self._stock[number] = stock
                signal.signal(number, self._received)

    def _received(self, number: int, frame: FrameType | None) -> None:
        if self._ending:
            # Anywhere in the program: so let the reactor do it.
            self._reactor.callFromThread(self._hurry)
        else:
            self._ending = True
            self._stock[number](number, frame)
