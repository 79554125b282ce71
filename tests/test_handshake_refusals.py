"""What a server answers instead of 101: whole, closed, and never more than it was asked to say."""

from __future__ import annotations

import pytest

from wsfactory.errors import ConnectionDeny
from wsfactory.handshake import not_an_upgrade, refusal, sendable
from wsfactory.http11 import Request, Response, response_reader


def parse(answer: bytes) -> tuple[Response, bytes]:
    reader = response_reader()
    response = reader.feed(answer)
    assert response is not None
    return response, reader.rest


def test_a_refusal_says_why_and_ends_the_connection() -> None:
    answer = refusal(ConnectionDeny(403, "Go away", {"X": "1"}, "nö"))

    assert answer == (
        b"HTTP/1.1 403 Go away\r\n"
        b"X: 1\r\n"
        b"Connection: close\r\n"
        b"Content-Type: text/plain; charset=utf-8\r\n"
        b"Content-Length: 3\r\n\r\n"
        b"n\xc3\xb6"
    )


def test_a_refusal_keeps_the_content_type_and_repeated_headers_that_it_was_given() -> None:
    pairs = [("content-type", "text/html"), ("Set-Cookie", "a=1"), ("Set-Cookie", "b=2")]
    response, body = parse(refusal(ConnectionDeny(401, "", pairs, "<p>")))

    assert (response.reason, body) == ("Unauthorized", b"<p>")
    assert response.headers.get_all("Content-Type") == ["text/html"]
    assert response.headers.get_all("Set-Cookie") == ["a=1", "b=2"]


def test_a_refusal_counts_its_body_itself() -> None:
    pairs = [("Content-Length", "500"), ("Transfer-Encoding", "chunked"), ("Connection", "keep-alive")]
    response, body = parse(refusal(ConnectionDeny(400, "", pairs, "four")))

    assert response.headers.get_all("Content-Length") == [str(len(body))] == ["4"]
    assert response.headers.get_all("Connection") == ["close"]
    assert "Transfer-Encoding" not in response.headers


def test_a_refusal_that_names_a_protocol_to_upgrade_to_says_so_in_connection() -> None:
    response, _ = parse(refusal(not_an_upgrade(Request("GET", "/"))))

    assert response.headers["Upgrade"] == "websocket"
    assert response.headers.tokens("Connection") == ["close", "Upgrade"]


@pytest.mark.parametrize("status", [204, 304])
def test_a_status_without_body_is_sent_without_one(status: int) -> None:
    response, body = parse(refusal(ConnectionDeny(status, body="x")))

    assert (response.status, body) == (status, b"")
    assert "Content-Length" not in response.headers


@pytest.mark.parametrize("body", ["nö", ""])
def test_to_head_a_refusal_counts_its_body_and_keeps_it(body: str) -> None:
    """RFC 9110 9.3.2: the answer to HEAD is that to GET, without the content."""
    error = ConnectionDeny(403, body=body)
    to_get, to_head = parse(refusal(error)), parse(refusal(error, "HEAD"))

    assert to_head == (to_get[0], b"")
    assert to_head[0].headers["Content-Length"] == str(len(body.encode()))


UNSENDABLE = [
    ConnectionDeny(403, "No\r\nX: y"),
    ConnectionDeny(403, "No\n\n<html>"),
    ConnectionDeny(403, "\N{EURO SIGN}"),
    ConnectionDeny(403, "No", {"X": "a\r\nY: b"}),
    ConnectionDeny(403, "No", {"X\r\nY": "a"}),
    ConnectionDeny(403, "No", [("X", 5)]),  # type: ignore[list-item]
    ConnectionDeny(403, "No", [5]),  # type: ignore[list-item]
    ConnectionDeny(403, 5),  # type: ignore[arg-type]
    ConnectionDeny("403"),  # type: ignore[arg-type]
    ConnectionDeny(101),
    ConnectionDeny(100),
    ConnectionDeny(0),
    ConnectionDeny(600),
]


@pytest.mark.parametrize("error", UNSENDABLE, ids=repr)
def test_a_refusal_that_cannot_be_sent_becomes_a_plain_500_that_only_the_log_explains(error: ConnectionDeny) -> None:
    response, body = parse(refusal(error))

    assert (response.status, response.reason, body) == (500, "Internal Server Error", b"Internal Server Error\n")
    assert {name for name, _ in response.headers} == {"Connection", "Content-Type", "Content-Length"}
    assert "cannot be sent" in str(sendable(error))


def test_a_refusal_that_can_be_sent_stays_itself() -> None:
    error = ConnectionDeny(503, headers={"Retry-After": "5"})

    assert sendable(error) is error
