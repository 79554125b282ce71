"""Heads: what is understood, what is refused, within which bounds."""

from __future__ import annotations

import pytest

from wsfactory.errors import MalformedHead
from wsfactory.http11 import Request, request_reader


def read(data: bytes) -> Request:
    head = request_reader().feed(data)
    assert head is not None
    return head


def refused(data: bytes) -> MalformedHead:
    with pytest.raises(MalformedHead) as caught:
        request_reader().feed(data)
    return caught.value


def test_a_request_is_its_method_its_target_and_its_headers_in_order():
    request = read(b"GET /chat?x=1 HTTP/1.1\r\nHost: example.com\r\nA: 1\r\na:  2 \r\n\r\n")

    assert (request.method, request.path, request.query) == ("GET", "/chat", {"x": ["1"]})
    assert list(request.headers) == [("Host", "example.com"), ("A", "1"), ("a", "2")]


def test_bytes_behind_the_head_are_left_for_the_next_reader():
    reader = request_reader()
    reader.feed(b"GET / HTTP/1.1\r\n\r\nGET / HTTP")

    assert reader.rest == b"GET / HTTP"


@pytest.mark.parametrize("head", [b"GET / HTTP/1.1\n\n", b"GET / HTTP/1.1\r\nA : 1\r\n\r\n", b"\r\nGET / HTTP/1.1\r\n\r\n"])
def test_what_is_no_head_gets_400(head: bytes):
    assert refused(head).status == 400
