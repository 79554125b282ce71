"""Heads: how long they may be, how often a byte is looked at, and how much is held."""

from __future__ import annotations

import tracemalloc
from typing import Any

import pytest

from wsfactory.errors import MalformedHead
from wsfactory.http11 import (
    MAX_FIELDS,
    MAX_HEADERS,
    MAX_LINE,
    Headers,
    HeadReader,
    Request,
    phrase,
    request_reader,
)

GET = b"GET / HTTP/1.1\r\n"


def read(data: bytes) -> Request:
    head = request_reader().feed(data)
    assert head is not None
    return head


def refused(data: bytes) -> MalformedHead:
    with pytest.raises(MalformedHead) as caught:
        request_reader().feed(data)
    return caught.value


def refused_in_pieces(data: bytes, size: int) -> tuple[MalformedHead, int]:
    """Return the fault and how many bytes had been taken before it."""
    reader = request_reader()
    for position in range(0, len(data), size):
        try:
            reader.feed(Watched(data[position : position + size]))
        except MalformedHead as error:
            return error, position
    pytest.fail("it was not refused")


class Watched(bytes):
    """Bytes that count how many of them were searched and copied."""

    looked_at = 0

    def find(self, sub: Any, start: Any = 0, end: Any = None) -> int:
        stop = len(self) if end is None else end
        found = super().find(sub, start, stop)
        Watched.looked_at += (stop if found < 0 else found + 1) - start
        return found

    def __getitem__(self, key: Any) -> Any:
        part = super().__getitem__(key)
        Watched.looked_at += len(part)
        return part


def request_of_line(size: int) -> bytes:
    return b"GET /" + b"x" * (size - len(b"GET / HTTP/1.1\r\n")) + b" HTTP/1.1\r\n"


def fields_of(size: int) -> bytes:
    """Return header lines and the empty line behind them, *size* bytes in all."""
    line = b"A: " + b"x" * 1019 + b"\r\n"
    last = size % len(line) + len(line) - len(b"A: \r\n\r\n")
    return line * (size // len(line) - 1) + b"A: " + b"x" * last + b"\r\n\r\n"


def test_a_request_line_of_8_kib_is_read_and_one_byte_more_gets_414() -> None:
    assert len(read(request_of_line(MAX_LINE) + b"\r\n").target) > 8000

    error = refused(request_of_line(MAX_LINE + 1) + b"\r\n")
    assert (error.status, error.reason) == (414, phrase(414))


def test_headers_of_64_kib_are_read_and_one_byte_more_gets_431() -> None:
    assert len(fields_of(MAX_HEADERS)) == 64 * 1024
    assert len(read(GET + fields_of(MAX_HEADERS)).headers) == 64

    assert refused(GET + fields_of(MAX_HEADERS + 1)).status == 431


def test_128_header_lines_are_read_and_one_more_gets_431() -> None:
    assert len(read(GET + b"A: 1\r\n" * MAX_FIELDS + b"\r\n").headers) == 128

    assert refused(GET + b"A: 1\r\n" * (MAX_FIELDS + 1)).status == 431


@pytest.mark.parametrize(("start", "status"), [(b"", 414), (GET, 431), (GET + b"A: ", 431)])
def test_a_line_that_does_not_end_is_refused_at_the_bound_and_not_held(start: bytes, status: int) -> None:
    reader, data = request_reader(), b"x" * 100_000
    reader.feed(start)
    tracemalloc.start()
    with pytest.raises(MalformedHead) as caught:
        reader.feed(data)
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert caught.value.status == status
    assert held < MAX_LINE


def test_2_mib_of_headers_in_small_reads_are_refused_at_64_kib_and_looked_at_once() -> None:
    """Each byte is searched once and copied once, however small the reads are; what comes later is not touched."""
    Watched.looked_at = 0
    error, taken = refused_in_pieces(GET + b"Host: a\r\n" + b"A: " + b"x" * (2 * 1024 * 1024), 100)

    assert error.status == 431
    assert taken <= len(GET) + MAX_HEADERS
    assert Watched.looked_at <= 2 * (taken + 100)


def test_2_mib_of_headers_in_one_read_are_looked_at_up_to_the_bound() -> None:
    Watched.looked_at = 0
    with pytest.raises(MalformedHead):
        request_reader().feed(Watched(GET + b"A: " + b"x" * (2 * 1024 * 1024)))

    assert Watched.looked_at <= 2 * (len(GET) + MAX_HEADERS)


def test_many_short_lines_in_small_reads_are_looked_at_once() -> None:
    head = GET + (b"A: " + b"x" * 495 + b"\r\n") * 127 + b"\r\n"
    reader = request_reader()
    Watched.looked_at = 0
    heads = [reader.feed(Watched(head[position : position + 7])) for position in range(0, len(head), 7)]

    assert heads[-1] is not None
    assert Watched.looked_at <= 2 * len(head)


def test_no_more_than_the_bounds_is_held_of_a_head_that_does_not_end() -> None:
    """All that is kept of 8 KiB of request line and 64 KiB of headers is about their size."""
    reader = request_reader()
    line, fields = request_of_line(MAX_LINE), (b"A: " + b"x" * 511 + b"\r\n") * 126
    tracemalloc.start()
    reader.feed(line + fields)
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert held < 2 * (MAX_LINE + MAX_HEADERS)


def test_the_bounds_can_be_given() -> None:
    reader = HeadReader(lambda line: Request("GET", line), max_line=10, max_headers=20, max_fields=1)

    assert reader.feed(b"/1234567\r\nA: 1\r\n\r\n") == Request("GET", "/1234567", Headers({"A": "1"}))
