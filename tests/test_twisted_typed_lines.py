"""Lines from a file descriptor that blocks."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from queue import SimpleQueue

import pytest

from wsfactory.twisted.typed_lines import TypedLines

END = [b"<end>"]
WAIT_SECONDS = 20


class Reading:
    """The lines of *chunks*, as a program gets them; what ``callFromThread`` would do, ``step`` does."""

    def __init__(self, read: Callable[[], bytes]) -> None:
        self.calls: SimpleQueue[Callable[[], object]] = SimpleQueue()
        self.got: list[list[bytes]] = []
        self.lines = TypedLines(read, lambda call, *args: self.calls.put(partial(call, *args)), self)
        self.lines.start()

    def typed(self, lines: list[bytes]) -> None:
        self.got.append(lines)

    def typed_all(self) -> None:
        self.got.append(END)

    def step(self) -> None:
        self.calls.get(timeout=WAIT_SECONDS)()

    def run(self) -> list[bytes]:
        """Take everything; returns the lines."""
        while self.got[-1:] != [END]:
            self.step()
            self.lines.more()
        return [line for lines in self.got[:-1] for line in lines]


def reading(*chunks: bytes) -> Reading:
    return Reading(partial(next, iter((*chunks, b""))))


@pytest.mark.parametrize(
    ("chunks", "lines"),
    [
        ([], []),
        ([b"a\n"], [b"a"]),
        ([b"a\nb\n", b"c\n"], [b"a", b"b", b"c"]),
        ([b"a", b"b", b"c\nd", b"e\n"], [b"abc", b"de"]),
        ([b"a\r\nb\rc\n"], [b"a", b"b\rc"]),
        ([b"\n\n"], [b"", b""]),
        ([b"a\nlast"], [b"a", b"last"]),
        ([b"a\n", b"\xff\xfe\n"], [b"a", b"\xff\xfe"]),
    ],
)
def test_lines_are_cut_at_their_ends(chunks: list[bytes], lines: list[bytes]) -> None:
    """However they were cut before; the last one needs no end."""
    assert reading(*chunks).run() == lines


def test_nothing_is_read_before_it_is_wanted() -> None:
    """A program that is not ready lets the pipe fill, and whoever writes to it wait."""
    reads: SimpleQueue[bytes] = SimpleQueue()
    one = Reading(partial(reads.get, timeout=WAIT_SECONDS))
    reads.put(b"a\n")
    reads.put(b"b\n")
    one.step()

    assert one.got == [[b"a"]]
    assert reads.qsize() == 1

    one.lines.more()
    one.step()

    assert one.got == [[b"a"], [b"b"]]
    reads.put(b"")
    one.lines.more()


def test_a_descriptor_that_fails_has_no_more_lines() -> None:
    """A terminal that is gone, a stdin that was closed from the start."""
    read_end, write_end = os.pipe()
    os.close(read_end)
    os.close(write_end)

    assert Reading(partial(os.read, read_end, 10)).run() == []


def test_a_long_line_costs_linear_time() -> None:
    """Its parts are kept apart until it ends."""
    chunk = bytes(64 * 1024)
    one = reading(*[chunk] * 200, b"\n")

    assert one.run() == [chunk * 200]
    assert one.lines._begun == []
