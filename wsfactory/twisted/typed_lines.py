"""Lines from stdin, be it a terminal, a pipe or a file: each of these blocks in its own way, so a thread reads.

(Twisted's StandardIO would make the terminal non-blocking, for stdout and for the shell behind us, too.)
"""

from __future__ import annotations

from collections.abc import Callable
from threading import Semaphore, Thread
from typing import Protocol

__all__ = ["TypedLines", "Typist"]


class Typist(Protocol):
    """Who takes the lines."""

    def typed(self, lines: list[bytes]) -> None:
        """Take *lines*, without their ends; no more come before ``TypedLines.more()``."""

    def typed_all(self) -> None:
        """That was the last of them."""


class TypedLines:
    """Calls *typist* through *call* (``reactor.callFromThread``) with what *read* returns, until that is empty.

    *read* is ``os.read`` rather than a file's: a thread that waits in it does not keep the program from ending.
    """

    def __init__(self, read: Callable[[], bytes], call: Callable[..., object], typist: Typist) -> None:
        self._read = read
        self._call = call
        self._typist = typist
        self._begun: list[bytes] = []
        self._wanted = Semaphore(0)

    def start(self) -> None:
        """Begin to read."""
        Thread(target=self._run, name="typed lines", daemon=True).start()

    def more(self) -> None:
        """Read on."""
        self._wanted.release()

    def _run(self) -> None:
        while data := self._next():
            self._call(self._take, data)
            self._wanted.acquire()
        self._call(self._end)

    def _next(self) -> bytes:
        try:
            return self._read()
        except OSError:
            # A terminal that has gone, a stdin that was closed from the start.
            return b""

    def _take(self, data: bytes) -> None:
        first, *others = data.split(b"\n")
        self._begun.append(first)
        lines: list[bytes] = []
        for other in others:
            lines.append(self._line())
            self._begun.append(other)
        self._typist.typed(lines)

    def _line(self) -> bytes:
        line = b"".join(self._begun).removesuffix(b"\r")
        self._begun.clear()
        return line

    def _end(self) -> None:
        if rest := self._line():
            self._typist.typed([rest])
        self._typist.typed_all()
