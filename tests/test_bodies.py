"""The body of a refusal: where it ends, and how much of it is kept (RFC 9112 section 6)."""

from __future__ import annotations

import pytest

from wsfactory.bodies import MAX_BODY, BodyReader
from wsfactory.http11 import Headers, Response

CHUNKED = ("Transfer-Encoding", "chunked")


def reader(*headers: tuple[str, str], status: int = 403) -> BodyReader:
    return BodyReader(Response(status, "No", Headers(headers)))


def feed_bytes(body: BodyReader, data: bytes) -> list[bool]:
    return [body.feed(bytes([byte])) for byte in data]


def test_a_body_of_known_length_ends_there() -> None:
    body = reader(("Content-Length", "5"))

    assert (body.feed(b"he"), body.feed(b"llo, world")) == (False, True)
    assert body.body == b"hello"


def test_a_body_of_unknown_length_ends_with_the_connection() -> None:
    body = reader()

    assert not body.feed(b"hello")
    assert body.body == b"hello"


def test_a_connection_that_ends_early_leaves_what_came() -> None:
    body = reader(("Content-Length", "500"))

    assert not body.feed(b"hel")
    assert body.body == b"hel"


def test_a_chunked_body_ends_with_the_empty_chunk_however_it_is_cut() -> None:
    data = b"5\r\nhello\r\nA ;name=value\r\n, world!!!\r\n0\r\n\r\n"
    whole, cut = reader(CHUNKED), reader(("Transfer-Encoding", "x, Chunked"), ("Content-Length", "1"))

    assert whole.feed(data)
    assert feed_bytes(cut, data).index(True) == data.index(b"0\r\n") + 2
    assert whole.body == cut.body == b"hello, world!!!"


@pytest.mark.parametrize(
    "data",
    [b"x\r\n", b"\r\n", b"-1\r\n", b"5\r\nhelloX\r\n", b"5\r\nhello\r\n;x\r\n", b"f" * 17 + b"\r\n", b"1" * 5000],
)
def test_a_chunked_body_that_is_framed_wrongly_ends_at_the_fault(data: bytes) -> None:
    body = reader(CHUNKED)
    body.feed(data)

    assert body.done
    assert body.body in (b"", b"hello")


@pytest.mark.parametrize("headers", [[], [("Content-Length", str(10**17))], [CHUNKED]])
@pytest.mark.parametrize("size", [1000, 10 * MAX_BODY])
def test_no_more_than_64_kib_are_kept(headers: list[tuple[str, str]], size: int) -> None:
    body = reader(*headers)
    body.feed(b"FFFFFFFFFF\r\n" if headers == [CHUNKED] else b"")
    while not body.feed(b"x" * size):
        assert len(body.body) < 64 * 1024

    assert body.body == b"x" * 64 * 1024


@pytest.mark.parametrize("lengths", [["5", "6"], ["5, 6"], ["-5"], ["+5"], ["5x"], ["9" * 19], ["\xb2"]])
def test_a_length_that_is_none_leaves_the_end_of_the_connection(lengths: list[str]) -> None:
    body = reader(*(("Content-Length", length) for length in lengths))

    assert not body.feed(b"hello, world")
    assert body.body == b"hello, world"


def test_a_coding_that_is_not_chunked_goes_before_a_length() -> None:
    assert not reader(("Transfer-Encoding", "gzip"), ("Content-Length", "5")).feed(b"hello, world")


def test_a_length_that_is_repeated_is_still_a_length() -> None:
    assert reader(("Content-Length", "5"), ("Content-Length", "5")).feed(b"hello")


@pytest.mark.parametrize("status", [101, 204, 304])
def test_some_responses_have_no_body(status: int) -> None:
    body = reader(("Content-Length", "5"), status=status)

    assert body.done
    assert body.feed(b"hello")
    assert body.body == b""


def test_an_empty_body_is_complete_at_once() -> None:
    assert reader(("Content-Length", "0")).done
    assert not reader(CHUNKED).done
