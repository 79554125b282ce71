"""The opening handshake, the client's side (RFC 6455 section 4.1): what is asked, which answers count."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from wsfactory.errors import HandshakeError
from wsfactory.extensions import ExtensionOffer
from wsfactory.handshake import accept, accept_key, choose_subprotocol, read_offer
from wsfactory.handshake_client import Accepted, Ask, ask, check_response
from wsfactory.http11 import Headers, Request, Response, request_reader, response_reader
from wsfactory.urls import URL, parse_url

HERE = parse_url("ws://server.example.com/chat")
NONCE = b"the sample nonce"


def ask_rfc(url: URL = HERE, subprotocols: Sequence[str] = (), extensions: str = "") -> Ask:
    return ask(url, subprotocols=subprotocols, extensions=extensions, random=lambda size: NONCE[:size])


def read(asked: Ask) -> Request:
    request = request_reader().feed(asked.encode())
    assert request is not None
    return request


def answer(*added: tuple[str, str], without: str = "", status: int = 101, version: str = "HTTP/1.1") -> Response:
    """Return a valid answer to ``ask_rfc()``, changed."""
    headers = Headers(
        [
            ("Upgrade", "websocket"),
            ("Connection", "Upgrade"),
            ("Sec-WebSocket-Accept", accept_key("dGhlIHNhbXBsZSBub25jZQ==")),
        ]
    )
    return Response(status, "Reason", Headers([*headers.without([without]), *added]), version=version)


def failure(response: Response, asked: Ask | None = None) -> HandshakeError:
    with pytest.raises(HandshakeError) as caught:
        check_response(asked or ask_rfc(), response)
    return caught.value


# What is asked.


def test_the_request_is_that_of_the_rfc() -> None:
    asked = ask(
        HERE,
        subprotocols=["chat", "superchat"],
        headers=[("Origin", "http://example.com"), ("Cookie", "a=1"), ("Cookie", "b=2")],
        extensions="permessage-deflate",
        random=lambda size: NONCE[:size],
    )

    assert asked.encode() == (
        b"GET /chat HTTP/1.1\r\n"
        b"Host: server.example.com\r\n"
        b"Upgrade: websocket\r\n"
        b"Connection: Upgrade\r\n"
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
        b"Sec-WebSocket-Version: 13\r\n"
        b"Sec-WebSocket-Protocol: chat, superchat\r\n"
        b"Sec-WebSocket-Extensions: permessage-deflate\r\n"
        b"Origin: http://example.com\r\n"
        b"Cookie: a=1\r\n"
        b"Cookie: b=2\r\n\r\n"
    )


def test_nothing_is_said_that_was_not_asked_for() -> None:
    assert [name for name, _ in ask(HERE).headers] == [
        "Host",
        "Upgrade",
        "Connection",
        "Sec-WebSocket-Key",
        "Sec-WebSocket-Version",
    ]


def test_every_request_has_a_key_of_its_own() -> None:
    assert len({ask(HERE).key for _ in range(100)}) == 100


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("ws://a", "a"),
        ("ws://a:80", "a"),
        ("wss://a:80", "a:80"),
        ("ws://[::1]", "[::1]"),
        ("ws://[::1]:9000", "[::1]:9000"),
        ("ws+unix:///a.sock", "localhost"),
    ],
)
def test_host_has_brackets_around_ipv6_and_no_default_port(url: str, host: str) -> None:
    assert read(ask(parse_url(url))).headers.get_all("Host") == [host]


def test_host_may_be_given() -> None:
    asked = ask(HERE, headers={"host": "other.example"})

    assert read(asked).headers.get_all("Host") == ["other.example"]


def test_user_and_password_of_the_url_become_basic_credentials() -> None:
    asked = ask(parse_url("ws://Aladdin:open%20sesame@a/"))

    assert asked.headers["Authorization"] == "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="
    assert "open" not in repr(asked)
    assert "QWxh" not in repr(asked)


def test_an_authorization_that_was_given_goes_before_that_of_the_url() -> None:
    asked = ask(parse_url("ws://u:p@a/"), headers={"authorization": "Bearer x"})

    assert asked.headers.get_all("Authorization") == ["Bearer x"]


@pytest.mark.parametrize(
    "name",
    ["Upgrade", "connection", "Sec-WebSocket-Key", "sec-websocket-protocol", "Content-Length", "Transfer-Encoding"],
)
def test_the_handshakes_own_headers_are_not_the_applications(name: str) -> None:
    with pytest.raises(ValueError, match=name):
        ask(HERE, headers={name: "x"})


@pytest.mark.parametrize("name", ["Host", "Authorization", "Origin"])
def test_a_header_that_must_be_single_cannot_be_given_twice(name: str) -> None:
    with pytest.raises(ValueError, match=name):
        ask(HERE, headers=[(name, "a"), (name.lower(), "a")])


@pytest.mark.parametrize("subprotocols", [["a", "a"], [""], ["a b"], ["a,b"], ["a\r\nX: y"], ["\xe4"]])
def test_subprotocols_must_be_different_tokens(subprotocols: list[str]) -> None:
    with pytest.raises(ValueError, match="subprotocols"):
        ask(HERE, subprotocols=subprotocols)


@pytest.mark.parametrize("headers", [{"X": "a\r\nY: b"}, {"X\r\n": "a"}, {"X": "\0"}, {"X": "\N{EURO SIGN}"}])
def test_a_header_that_would_change_the_head_is_not_sent(headers: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="header"):
        ask(HERE, headers=headers).encode()


def test_a_resource_that_would_change_the_head_is_not_sent() -> None:
    with pytest.raises(ValueError, match="target"):
        ask(replace(HERE, resource="/ HTTP/1.1\r\nX: y")).encode()


# Which answers count.


def test_the_answer_of_the_rfc_counts() -> None:
    asked = ask_rfc(subprotocols=["chat", "superchat"])
    response = answer(("Sec-WebSocket-Protocol", "chat"))

    assert check_response(asked, response) == Accepted("chat", (), response)


def test_both_sides_agree() -> None:
    asked = ask(HERE, subprotocols=["a", "b"], extensions="x; y=1", headers={"Cookie": "c"})
    offer = read_offer(read(asked))
    answered = accept(offer, choose_subprotocol(offer, ["c", "b"]), [("Set-Cookie", "d")], str(offer.extensions[0]))
    response = response_reader().feed(answered)

    assert response is not None
    accepted = check_response(asked, response)
    assert (accepted.subprotocol, accepted.extensions) == ("b", (ExtensionOffer("x", (("y", "1"),)),))
    assert accepted.response.headers["Set-Cookie"] == "d"


@pytest.mark.parametrize("value", ["Upgrade", "upgrade", "keep-alive, Upgrade"])
def test_connection_is_a_list_without_case(value: str) -> None:
    assert check_response(ask_rfc(), answer(("Connection", value), without="Connection")).subprotocol is None


@pytest.mark.parametrize("status", [200, 301, 400, 401, 404, 426, 500, 503])
def test_another_status_fails_with_all_that_the_server_said(status: int) -> None:
    headers = Headers({"Retry-After": "5"})
    error = failure(Response(status, "No", headers, b"why"))

    assert (error.status, error.reason, error.headers, error.body) == (status, "No", headers, b"why")
    assert f"{status} No" in str(error)


def test_what_the_server_says_is_escaped_where_it_is_shown() -> None:
    assert str(failure(Response(403, "\x9b31mNo"))).isprintable()
    assert str(failure(answer(("Sec-WebSocket-Protocol", "\x9b")))).isprintable()


@pytest.mark.parametrize(
    ("response", "words"),
    [
        (answer(version="HTTP/1.0"), "HTTP/1.0"),
        (answer(without="Upgrade"), "no Upgrade"),
        (answer(("Upgrade", "websocket")), "more than one Upgrade"),
        (answer(("Upgrade", "h2c"), without="Upgrade"), "Upgrade"),
        (answer(("Upgrade", "websocket, h2c"), without="Upgrade"), "Upgrade"),
        (answer(without="Connection"), "Connection"),
        (answer(("Connection", "keep-alive"), without="Connection"), "Connection"),
        (answer(without="Sec-WebSocket-Accept"), "no Sec-WebSocket-Accept"),
        (
            answer(("Sec-WebSocket-Accept", accept_key("dGhlIHNhbXBsZSBub25jZQ=="))),
            "more than one Sec-WebSocket-Accept",
        ),
        (answer(("Sec-WebSocket-Accept", accept_key("x")), without="Sec-WebSocket-Accept"), "key"),
        (answer(("Sec-WebSocket-Accept", ""), without="Sec-WebSocket-Accept"), "key"),
        (answer(("Sec-WebSocket-Protocol", "chat")), "subprotocol"),
        (answer(("Sec-WebSocket-Extensions", "permessage-deflate")), "extension"),
        (answer(("Sec-WebSocket-Extensions", "a b")), "Sec-WebSocket-Extensions"),
    ],
)
def test_an_answer_that_does_not_fit_fails_and_names_the_fault(response: Response, words: str) -> None:
    error = failure(response)

    assert words in str(error)
    assert error.status == 101


@pytest.mark.parametrize(
    "protocols", [["Chat"], ["chat, superchat"], [""], ["chat", "chat"], ["chat", "superchat"], ["other"]]
)
def test_a_subprotocol_that_was_not_asked_for_fails(protocols: list[str]) -> None:
    response = answer(*(("Sec-WebSocket-Protocol", protocol) for protocol in protocols))

    assert "protocol" in str(failure(response, ask_rfc(subprotocols=["chat", "superchat"]))).lower()


def test_a_server_need_not_choose_a_subprotocol() -> None:
    assert check_response(ask_rfc(subprotocols=["chat"]), answer()).subprotocol is None


def test_extensions_that_were_offered_may_be_agreed_upon() -> None:
    asked = ask_rfc(extensions="a; b=1, c")
    response = answer(("Sec-WebSocket-Extensions", "c"), ("Sec-WebSocket-Extensions", "a; d"))

    assert check_response(asked, response).extensions == (ExtensionOffer("c"), ExtensionOffer("a", (("d", None),)))
    assert "e" in str(failure(answer(("Sec-WebSocket-Extensions", "a, e")), asked))
