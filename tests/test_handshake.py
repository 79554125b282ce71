"""The opening handshake, the server's side (RFC 6455 section 4.2): what is asked, what is answered."""

from __future__ import annotations

import pytest

from wsfactory.errors import Refused
from wsfactory.extensions import MAX_LIST, ExtensionOffer
from wsfactory.handshake import (
    Offer,
    accept,
    accept_key,
    choose_subprotocol,
    is_upgrade,
    not_an_upgrade,
    read_offer,
    refusal,
    sendable,
)
from wsfactory.http11 import Headers, Request, Response, request_reader, response_reader

KEY = "dGhlIHNhbXBsZSBub25jZQ=="

# The example of section 1.2, less its Origin and its subprotocols.
ASKED = (
    ("Host", "server.example.com"),
    ("Upgrade", "websocket"),
    ("Connection", "Upgrade"),
    ("Sec-WebSocket-Key", KEY),
    ("Sec-WebSocket-Version", "13"),
)


def request(*added: tuple[str, str], without: str = "", method: str = "GET", target: str = "/chat") -> Request:
    return Request(method, target, Headers([*Headers(ASKED).without([without]), *added]))


def replaced(name: str, *values: str) -> Request:
    return request(*((name, value) for value in values), without=name)


def refused(asked: Request, allowed_origins: str | tuple[str, ...] = "same-origin") -> Refused:
    with pytest.raises(Refused) as caught:
        read_offer(asked, allowed_origins=allowed_origins)
    return caught.value


def parse(answer: bytes) -> tuple[Response, bytes]:
    reader = response_reader()
    response = reader.feed(answer)
    assert response is not None
    return response, reader.rest


def failure_of(offer: Offer, subprotocol: str | None = None, headers: object = ()) -> Refused:
    with pytest.raises(Refused) as caught:
        accept(offer, subprotocol, headers)  # type: ignore[arg-type]
    return caught.value


# What is asked.


def test_the_example_of_the_rfc_is_understood() -> None:
    asked = request(("Origin", "http://example.com"), ("Sec-WebSocket-Protocol", "chat, superchat"))

    assert read_offer(asked, allowed_origins=["http://example.com"]) == Offer(asked, KEY, ("chat", "superchat"))


@pytest.mark.parametrize("value", ["keep-alive, Upgrade", "Upgrade", "upgrade , keep-alive", "keep-alive,,UPGRADE"])
def test_a_browser_may_ask_for_keep_alive_too(value: str) -> None:
    assert read_offer(replaced("Connection", value)).key == KEY


def test_connection_may_come_in_two_lines() -> None:
    assert read_offer(replaced("Connection", "keep-alive", "Upgrade")).key == KEY


@pytest.mark.parametrize("value", ["websocket", "WebSocket", "h2c, websocket"])
def test_upgrade_is_compared_without_case(value: str) -> None:
    assert read_offer(replaced("Upgrade", value)).key == KEY


def test_a_request_read_from_bytes_is_the_same_as_one_that_was_made() -> None:
    assert read_offer(request_reader().feed(request().encode()) or Request("", "")) == read_offer(request())


@pytest.mark.parametrize("asked", [replaced("Upgrade"), replaced("Upgrade", "h2c"), replaced("Upgrade", "web socket")])
def test_a_request_without_upgrade_is_a_plain_one_and_gets_426_with_the_reason(asked: Request) -> None:
    error = not_an_upgrade(asked)

    assert not is_upgrade(asked)
    assert error.status == refused(asked).status == 426
    assert ("Upgrade", "websocket") in error.headers
    assert b"no Upgrade: websocket header" in error.body


def test_an_upgrade_in_http_1_0_is_ignored_and_gets_426_with_the_reason() -> None:
    """What nginx sends unless it is told otherwise."""
    asked = Request("GET", "/", Headers(ASKED), version="HTTP/1.0")

    assert not is_upgrade(asked)
    assert refused(asked).status == 426
    assert b"proxy_http_version 1.1" in refused(asked).body


@pytest.mark.parametrize("method", ["POST", "HEAD", "get", "OPTIONS"])
def test_another_method_than_get_gets_405(method: str) -> None:
    error = refused(request(method=method))

    assert error.status == 405
    assert error.headers == [("Allow", "GET")]


@pytest.mark.parametrize("version", ["12", "8", "14", "013", "13.0", "", "x"])
def test_another_version_gets_426_and_is_told_ours(version: str) -> None:
    error = refused(replaced("Sec-WebSocket-Version", version))

    assert error.status == 426
    assert ("Sec-WebSocket-Version", "13") in error.headers


@pytest.mark.parametrize("name", ["Host", "Connection", "Sec-WebSocket-Key", "Sec-WebSocket-Version"])
def test_a_header_that_is_missing_gets_400_and_is_named(name: str) -> None:
    error = refused(request(without=name))

    assert error.status == 400
    assert name in str(error)


@pytest.mark.parametrize("name", ["Host", "Sec-WebSocket-Key", "Sec-WebSocket-Version"])
def test_a_header_that_comes_twice_gets_400_and_is_named(name: str) -> None:
    error = refused(request((name.lower(), Headers(ASKED)[name])))

    assert error.status == 400
    assert name in str(error)


@pytest.mark.parametrize(
    "key",
    ["", "x", KEY[:-1], KEY + "=", KEY[:-2] + "AA", " " + KEY, KEY.replace("Z", "-"), "A" * 24, "A" * 24 + "=="],
)
def test_a_key_that_is_not_16_bytes_in_base64_gets_400(key: str) -> None:
    assert refused(replaced("Sec-WebSocket-Key", key)).status == 400


@pytest.mark.parametrize("host", ["", " ", "a b", "a/b", "a:b", "a@b", "[::1", "a:80:80", "\xe4", "a,b c", "a:123456"])
def test_a_host_that_is_none_gets_400(host: str) -> None:
    assert refused(replaced("Host", host)).status == 400


@pytest.mark.parametrize("host", ["a", "a:80", "a:", "[::1]", "[::1]:80", "127.0.0.1:8080", "my_host", "xn--a.b."])
def test_a_host_may_be_a_name_or_an_address_with_or_without_port(host: str) -> None:
    assert read_offer(replaced("Host", host)).request.host == host


@pytest.mark.parametrize(
    "added",
    [
        [("Content-Length", "5")],
        [("Content-Length", "0"), ("Content-Length", "0")],
        [("Content-Length", "+0")],
        [("Transfer-Encoding", "chunked")],
        [("Transfer-Encoding", "identity")],
    ],
)
def test_a_request_with_a_body_gets_400(added: list[tuple[str, str]]) -> None:
    """Its bytes would be taken for frames."""
    assert refused(request(*added)).status == 400


def test_a_body_of_no_bytes_is_none() -> None:
    assert read_offer(request(("Content-Length", "0"))).key == KEY


# Origins.


def test_a_request_without_origin_is_allowed() -> None:
    assert read_offer(request(), allowed_origins=()).key == KEY


@pytest.mark.parametrize("allowed", ["same-origin", ("http://a",), ("https://*.server.example.com",)])
def test_a_page_from_elsewhere_gets_403_that_names_both_values_and_the_option(allowed: str | tuple[str, ...]) -> None:
    error = refused(request(("Origin", "http://evil.com")), allowed)

    assert error.status == 403
    for text in (error.body.decode(), str(error)):
        assert "'http://evil.com'" in text
        assert "'server.example.com'" in text
        assert "allowedOrigins" in text


def test_null_is_allowed_only_when_it_is_listed_or_all_are() -> None:
    asked = request(("Origin", "null"))

    assert refused(asked).status == 403
    assert refused(asked, ("http://server.example.com",)).status == 403
    assert read_offer(asked, allowed_origins=("null",)) == read_offer(asked, allowed_origins="*")


def test_two_origins_get_400() -> None:
    asked = request(("Origin", "http://server.example.com"), ("Origin", "http://evil.com"))

    assert refused(asked, "*").status == 400


def test_an_absolute_target_says_which_host_is_the_same_origin() -> None:
    asked = request(("Origin", "http://other.example"), target="http://other.example/x")

    assert read_offer(asked).key == KEY


def test_what_a_page_claims_is_answered_in_printable_ascii() -> None:
    error = refused(request(("Origin", "http://\x9b<script>")))

    assert error.body.isascii()
    assert str(error).isprintable()


def test_what_a_page_claims_is_cut_in_answer_and_log() -> None:
    """An Origin, and a Host, may be as long as a head: the log need not be."""
    error = refused(request(("Origin", "http://" + "o" * 60_000), target=f"http://{'h' * 7000}/"))

    assert error.status == 403
    assert len(error.body) < 400
    assert len(str(error)) < 400
    assert "'http://ooo" in str(error)
    assert "'hhh" in str(error)


# Subprotocols.


def test_subprotocols_may_come_in_several_lines() -> None:
    asked = request(("Sec-WebSocket-Protocol", "v3 ,v2"), ("sec-websocket-protocol", "v1"))

    assert read_offer(asked).subprotocols == ("v3", "v2", "v1")


@pytest.mark.parametrize("value", ["", "a,", ",a", "a,,b", "a, a", "a b", "a;b", '"a"', "\xe4", "a/b"])
def test_subprotocols_that_are_not_different_tokens_get_400(value: str) -> None:
    assert refused(request(("Sec-WebSocket-Protocol", value))).status == 400


def test_the_first_of_the_servers_preferences_that_is_offered_is_chosen() -> None:
    offer = Offer(request(), KEY, ("v1", "v2", "v3"))

    assert choose_subprotocol(offer, ["v4", "v3", "v1"]) == "v3"
    assert choose_subprotocol(offer, ["V1"]) is None
    assert choose_subprotocol(offer, []) is None


# Extensions.


def test_extensions_in_several_headers_are_read_like_one_list() -> None:
    asked = request(
        ("Sec-WebSocket-Extensions", "permessage-deflate; server_no_context_takeover; client_max_window_bits=10, x"),
        ("Sec-WebSocket-Extensions", 'foo; bar="b\\az"; baz'),
    )

    assert read_offer(asked).extensions == (
        ExtensionOffer("permessage-deflate", (("server_no_context_takeover", None), ("client_max_window_bits", "10"))),
        ExtensionOffer("x"),
        ExtensionOffer("foo", (("bar", "baz"), ("baz", None))),
    )


@pytest.mark.parametrize(
    "value",
    [
        "unknown-extension",
        "permessage-deflate; server_max_window_bits=99",
        "permessage-deflate; client_max_window_bits=8; client_max_window_bits=8",
        "permessage-deflate; nonsense=1, permessage-deflate",
    ],
)
def test_an_extension_that_is_unknown_or_impossible_is_declined_and_not_refused(value: str) -> None:
    response, _ = parse(accept(read_offer(request(("Sec-WebSocket-Extensions", value)))))

    assert response.status == 101
    assert "Sec-WebSocket-Extensions" not in response.headers


def test_extensions_outside_of_the_grammar_get_400() -> None:
    assert refused(request(("Sec-WebSocket-Extensions", "a; b="))).status == 400


@pytest.mark.parametrize("name", ["Sec-WebSocket-Extensions", "Sec-WebSocket-Protocol"])
def test_a_list_beyond_all_use_gets_400_before_it_takes_memory(name: str) -> None:
    half = ",".join(f"x{number}" for number in range(MAX_LIST))

    assert refused(request((name, half), (name, half.replace("x", "y")))).status == 400


# What is answered.


def test_the_accept_value_is_that_of_the_rfc() -> None:
    assert accept_key(KEY) == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="


def test_an_accepted_request_is_answered_with_101() -> None:
    offer = read_offer(request(("Sec-WebSocket-Protocol", "chat")))
    answer = accept(offer, "chat", [("Set-Cookie", "a=1"), ("Set-Cookie", "b=2")], "permessage-deflate")

    assert answer == (
        b"HTTP/1.1 101 Switching Protocols\r\n"
        b"Upgrade: websocket\r\n"
        b"Connection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"
        b"Sec-WebSocket-Protocol: chat\r\n"
        b"Sec-WebSocket-Extensions: permessage-deflate\r\n"
        b"Set-Cookie: a=1\r\n"
        b"Set-Cookie: b=2\r\n\r\n"
    )


def test_a_subprotocol_need_not_be_chosen() -> None:
    response, _ = parse(accept(read_offer(request(("Sec-WebSocket-Protocol", "chat")))))

    assert "Sec-WebSocket-Protocol" not in response.headers


@pytest.mark.parametrize("subprotocol", ["other", "", "Chat", "chat\r\nX: y"])
def test_a_choice_that_the_client_did_not_offer_is_a_500_that_only_the_log_explains(subprotocol: str) -> None:
    error = failure_of(Offer(request(), KEY, ("chat",)), subprotocol)

    assert error.status == 500
    assert repr(subprotocol) in str(error)
    assert b"chat" not in refusal(error)


def test_what_the_client_offers_is_cut_in_the_log() -> None:
    error = failure_of(Offer(request(), KEY, ("chat", "x" * 60_000)), "other")

    assert "'chat, xxx" in str(error)
    assert len(str(error)) < 300


@pytest.mark.parametrize(
    "headers",
    [
        [("X", "a\r\nSet-Cookie: b=1")],
        [("X", "a\nb")],
        [("X", "a\rb")],
        [("X", "a\0")],
        [("X\r\nY", "a")],
        [("X:", "a")],
        [("", "a")],
        {"X": "\N{EURO SIGN}"},
        [("X", 5)],
        [(5, "x")],
        ["X"],
        5,
    ],
)
def test_response_headers_that_cannot_be_sent_are_a_500_that_only_the_log_explains(headers: object) -> None:
    error = failure_of(Offer(request(), KEY), headers=headers)

    assert error.status == 500
    assert "response headers" in str(error)
    assert parse(refusal(error))[1] == b"Internal Server Error\n"


@pytest.mark.parametrize(
    "name", ["Upgrade", "connection", "Sec-WebSocket-Accept", "sec-websocket-protocol", "Content-Length"]
)
def test_the_handshakes_own_headers_are_not_the_applications(name: str) -> None:
    error = failure_of(Offer(request(), KEY), headers={name: "x"})

    assert error.status == 500
    assert name in str(error)


@pytest.mark.parametrize(
    "asked",
    [request(without="Host"), request(method="POST"), request(without="Upgrade"), request(("Origin", "\xff"))],
)
def test_every_refusal_of_ours_can_be_sent(asked: Request) -> None:
    error = refused(asked)

    assert sendable(error) is error
    assert parse(refusal(error))[1] == error.body
