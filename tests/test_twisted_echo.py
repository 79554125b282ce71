"""The built-in echo: messages go back, a browser gets a page, a client that does not read is held back."""

from __future__ import annotations

from typing import Any, cast

from wsfactory import testing
from wsfactory.http11 import Response
from wsfactory.testing import alone, linked_pair
from wsfactory.twisted import ServerFactory
from wsfactory.twisted.echo import Echo
from wsfactory.twisted.echo_page import PAGE


def echo_factory(**options: Any) -> ServerFactory:
    return ServerFactory(Echo, reactor=cast("Any", testing.Clock()), **options)


def answer(request: bytes) -> Response:
    one = alone(echo_factory(), opened=False)
    one.peer.send(request)
    one.run()
    head = one.peer.head()
    assert isinstance(head, Response)
    return Response(head.status, head.reason, head.headers, one.peer.received)


def test_every_message_comes_back_as_it_was() -> None:
    pair = linked_pair(echo_factory())
    for payload, is_binary in (("grün", False), (b"\x00\xff", True), ("", False), (b"", True)):
        pair.client.sendMessage(payload, is_binary)
    pair.run()

    assert pair.client.messages == ["grün", b"\x00\xff", "", b""]


def test_a_plain_get_is_answered_with_the_page() -> None:
    """Whatever the path: behind a proxy the echo may live anywhere."""
    for path in (b"/", b"/some/where?x=1"):
        response = answer(b"GET " + path + b" HTTP/1.1\r\nHost: localhost\r\n\r\n")

        assert (response.status, response.body) == (200, PAGE)
        assert response.headers["Content-Type"] == "text/html; charset=utf-8"
        assert response.headers["Content-Length"] == str(len(PAGE))
        assert "default-src 'none'" in response.headers["Content-Security-Policy"]


def test_head_is_answered_like_get() -> None:
    """RFC 9110 9.3.2: the same header fields, without the content."""
    got = answer(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
    response = answer(b"HEAD / HTTP/1.1\r\nHost: localhost\r\n\r\n")

    assert (response.status, response.headers, response.body) == (200, got.headers, b"")


def test_any_other_method_is_told_that_this_is_a_websocket() -> None:
    response = answer(b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n")

    assert response.status == 426


def test_a_client_that_does_not_read_its_answers_is_not_read_from() -> None:
    """What waits stays within the high mark and what had been read; it all comes back once the client reads."""
    limit = 16 * 1024
    pair = linked_pair(echo_factory(writeLimit=limit, maxQueueBytes=limit))
    pair.server_wire.room = 0
    messages = [bytes([number]) * 1024 for number in range(250)]
    for message in messages:
        pair.client.sendMessage(message, isBinary=True)
    pair.run()

    assert pair.server_wire.paused
    # The transport, the send buffer, one read.
    assert pair.server.bufferedAmount <= pair.server_wire.capacity + limit + 2 * pair.server_wire.read_size

    pair.server_wire.room = None
    pair.run()

    assert pair.client.messages == messages
