"""What a terminal shows of a conversation: messages on stdout, remarks on stderr, nothing that it would obey.

A peer may send anything; a terminal that got it as it is could be made to hide, fake or even type things.
"""

from __future__ import annotations

import os
import re
from typing import TextIO

__all__ = ["Screen", "printable", "shown_binary"]

# C0 and C1 controls, line and paragraph separators, and what changes the direction of writing (Trojan Source).
_OBEYED = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")
_SHOWN_BYTES = 64


def printable(text: str) -> str:
    r"""Return *text* as one line, with its control characters as escapes like ``\n`` and ``\x1b``."""
    return _OBEYED.sub(lambda match: match[0].encode("unicode-escape").decode("ascii"), text)


def shown_binary(payload: bytes) -> str:
    """Return how many bytes *payload* has, and the first of them in hexadecimal."""
    more = " ..." if len(payload) > _SHOWN_BYTES else ""
    return f"[binary, {len(payload)} bytes] {payload[:_SHOWN_BYTES].hex(' ')}".rstrip() + more


class Screen:
    """Two text streams; *interactive* tells that somebody types, and reads, at this moment."""

    def __init__(self, out: TextIO, err: TextIO, interactive: bool) -> None:
        self._out = out
        self._err = err
        self._interactive = interactive

    def message(self, payload: bytes, is_binary: bool) -> None:
        """Show a message of the peer's, in one line.  Raises ``OSError`` when nobody listens on stdout any more."""
        text = shown_binary(payload) if is_binary else printable(payload.decode())
        self.result(f"< {text}" if self._interactive else text)

    def result(self, text: str) -> None:
        """Show a line that was asked for."""
        self._out.write(text + "\n")
        self._out.flush()

    def remark(self, text: str) -> None:
        """Say something that only somebody who types wants to know."""
        if self._interactive:
            self._say(text)

    def complain(self, text: str) -> None:
        """Say what went wrong."""
        self._say(f"wsfactory: {text}")

    def _say(self, text: str) -> None:
        try:
            self._err.write(printable(text) + "\n")
            self._err.flush()
        except OSError:
            pass

    def give_up_output(self) -> None:
        """Nobody reads stdout: let what is left in its buffer go nowhere, instead of failing at exit."""
        os.dup2(os.open(os.devnull, os.O_WRONLY), self._out.fileno())
