"""Heads: what is understood, what is refused, within which bounds; what may be written (RFC 9112)."""

from __future__ import annotations

import pytest

from wsfactory.errors import InvalidState, MalformedHead
from wsfactory.http11 import (
    MAX_HEADERS,
    Headers,
    Request,
    Response,
    encode_request,
    encode_response,
    escaped,
    parse_field,
    phrase,
    request_reader,
    response_reader,
)

GET = b"GET / HTTP/1.1\r\n"


def read(data: bytes) -> Request:
    head = request_reader().feed(data)
    assert head is not None
    return head


def read_response(data: bytes) -> Response:
    head = response_reader().feed(data)
    assert head is not None
    return head


def refused(data: bytes) -> MalformedHead:
    with pytest.raises(MalformedHead) as caught:
        request_reader().feed(data)
    return caught.value


# Requests.


def test_a_request_is_its_method_its_target_and_its_headers_in_order() -> None:
    request = read(b"GET /a%20b?x=1&x=2&y= HTTP/1.1\r\nHost: example.com\r\nA: 1\r\na:  2 \r\n\r\n")

    assert (request.method, request.target, request.version) == ("GET", "/a%20b?x=1&x=2&y=", "HTTP/1.1")
    assert (request.path, request.query) == ("/a%20b", {"x": ["1", "2"], "y": [""]})
    assert list(request.headers) == [("Host", "example.com"), ("A", "1"), ("a", "2")]


def test_a_request_knows_what_browsers_say_about_themselves() -> None:
    request = read(
        GET + b"Host: example.com:81\r\nOrigin: http://a\r\n"
        b"Sec-WebSocket-Protocol: chat, v2\r\nSec-WebSocket-Protocol: v1\r\n\r\n"
    )

    assert (request.host, request.origin) == ("example.com:81", "http://a")
    assert request.subprotocols == ("chat", "v2", "v1")


def test_a_request_that_says_nothing_has_empty_properties() -> None:
    request = Request("GET", "/")

    assert (request.host, request.origin, request.subprotocols, request.query, request.peer) == ("", None, (), {}, "")


def test_a_request_that_was_parsed_elsewhere_may_have_any_target() -> None:
    request = Request("OPTIONS", "*", Headers({"Host": "a"}))

    assert (request.path, request.query, request.host) == ("*", {}, "a")


@pytest.mark.parametrize(
    ("target", "path", "query"),
    [
        ("http://example.com:81/x?y=1", "/x", {"y": ["1"]}),
        ("WSS://example.com:81", "/", {}),
        ("https://example.com:81?y=1", "/", {"y": ["1"]}),
    ],
)
def test_an_absolute_target_is_understood_and_goes_before_the_host_header(
    target: str, path: str, query: dict[str, list[str]]
) -> None:
    request = read(f"GET {target} HTTP/1.1\r\nHost: other.example\r\n\r\n".encode())

    assert (request.path, request.query, request.host) == (path, query, "example.com:81")


@pytest.mark.parametrize(
    "target", ["*", "x", "?x", "example.com:80", "/a#b", "ftp://example.com/", "http://", "http://a@b/", "/ü", "/a\tb"]
)
def test_a_target_that_is_no_path_and_no_http_url_gets_400(target: str) -> None:
    assert refused(f"GET {target} HTTP/1.1\r\n\r\n".encode()).status == 400


@pytest.mark.parametrize(
    "line",
    [
        "",
        "GET",
        "GET /",
        "GET  / HTTP/1.1",
        "GET / HTTP/1.1 ",
        " GET / HTTP/1.1",
        "GET\t/ HTTP/1.1",
        "GET / http/1.1",
        "GET / HTTP/1.10",
        "GET / HTTP/\N{ARABIC-INDIC DIGIT ONE}.1",
        "G(T / HTTP/1.1",
        "GET /\rX: HTTP/1.1",
        "GET /\0 HTTP/1.1",
    ],
)
def test_a_line_that_is_no_request_line_gets_400(line: str) -> None:
    assert refused(line.encode() + b"\r\n").status == 400


@pytest.mark.parametrize("version", ["HTTP/2.0", "HTTP/1.2", "HTTP/0.9"])
def test_a_version_of_http_that_is_not_spoken_gets_505(version: str) -> None:
    assert refused(f"PRI * {version}\r\n".encode()).status == 505


def test_http_1_0_is_understood_so_that_it_can_be_answered() -> None:
    assert read(b"GET /health HTTP/1.0\r\n\r\n").version == "HTTP/1.0"


# Header lines.


@pytest.mark.parametrize("character", ["\x85", "\xa0", "\xad", "\xff"])
def test_a_byte_above_127_is_text_and_ends_no_line_and_is_no_blank(character: str) -> None:
    """What str.splitlines() and str.strip() take for a line end or a blank stays part of the value."""
    request = read(GET + f"A: {character}x{character}B: y{character}\r\n\r\n".encode("latin-1"))

    assert list(request.headers) == [("A", f"{character}x{character}B: y{character}")]


@pytest.mark.parametrize("character", [chr(code) for code in range(0x20) if chr(code) not in "\t\n"] + ["\x7f"])
def test_a_control_character_in_a_value_gets_400(character: str) -> None:
    """Also those that some take for line ends: VT, FF, FS, GS, RS, and a CR without its LF."""
    assert refused(GET + f"A: x{character}B: y\r\n".encode()).status == 400


def test_a_value_that_no_byte_stands_for_is_told_as_that() -> None:
    with pytest.raises(MalformedHead, match="the header 'X' has a character in its value that is not latin-1"):
        parse_field("X: \N{EURO SIGN}")


@pytest.mark.parametrize("head", [b"GET / HTTP/1.1\n", GET + b"A: 1\n", GET + b"\n", GET + b"A: 1\nB: 2\r\n", b"\n"])
def test_a_bare_lf_ends_no_line(head: bytes) -> None:
    assert "bare LF" in str(refused(head))


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        (b"A : 1", "not a token"),
        (b"A\t: 1", "not a token"),
        (b": 1", "not a token"),
        (b"A\xe4: 1", "not a token"),
        (b"A(: 1", "not a token"),
        (b" folded: 1", "folded"),
        (b"\tfolded", "folded"),
        (b"no colon here", "no colon"),
    ],
)
def test_a_header_line_outside_of_the_grammar_gets_400(line: bytes, fault: str) -> None:
    error = refused(GET + b"Host: a\r\n" + line + b"\r\n")

    assert error.status == 400
    assert fault in str(error)


def test_a_refused_value_is_not_repeated_in_the_fault() -> None:
    error = refused(GET + b"Cookie: secret\0\r\n")

    assert "secret" not in str(error) + repr(error.body)


def test_what_is_repeated_of_a_fault_is_short_and_printable() -> None:
    error = refused(GET + b"\x1b" * 500 + b": 1\r\n")

    assert str(error).isprintable()
    assert len(str(error)) < 500


# Reading.


def test_bytes_behind_the_head_are_left_for_the_next_reader() -> None:
    """A second, pipelined request opens nothing: it stays bytes."""
    reader = request_reader()
    reader.feed(GET)
    reader.feed(b"\r\n" + GET + b"\r\n")

    assert reader.rest == GET + b"\r\n"
    with pytest.raises(InvalidState):
        reader.feed(GET + b"\r\n")


def test_a_reader_that_refused_stays_refusing() -> None:
    reader = request_reader()
    with pytest.raises(MalformedHead):
        reader.feed(b"\n")

    with pytest.raises(InvalidState):
        reader.feed(GET + b"\r\n")


def test_a_head_may_come_byte_by_byte() -> None:
    reader = request_reader()
    heads = [reader.feed(bytes([byte])) for byte in GET + b"Host: a\r\n\r\n"]

    assert heads[:-1] == [None] * (len(heads) - 1)
    assert heads[-1] == Request("GET", "/", Headers({"host": "a"}))


def test_a_fault_is_told_when_its_line_ends_and_not_when_the_head_does() -> None:
    reader = request_reader()
    reader.feed(GET + b"Bad Name: 1\r")

    with pytest.raises(MalformedHead):
        reader.feed(b"\n")


# Responses.


def test_a_response_is_its_status_its_reason_and_its_headers() -> None:
    response = read_response(b"HTTP/1.1 404 Not  here \r\nA: 1\r\n\r\nbody")

    assert response == Response(404, "Not  here ", Headers({"A": "1"}))


@pytest.mark.parametrize(
    "line",
    [
        "HTTP/1.1 200",
        "HTTP/1.1  200 OK",
        "HTTP/1.1 20 OK",
        "HTTP/1.1 2000 OK",
        "HTTP/1.1 000 OK",
        "HTTP/1.1 \N{FULLWIDTH DIGIT TWO}00 OK",
        "HTTP/2 200 OK",
        "http/1.1 200 OK",
        "ICY 200 OK",
        "HTTP/1.1 200 O\0K",
        "SSH-2.0-OpenSSH_9.2",
    ],
)
def test_a_line_that_is_no_status_line_is_malformed(line: str) -> None:
    with pytest.raises(MalformedHead):
        response_reader().feed(line.encode() + b"\r\n")


def test_an_old_proxy_may_answer_in_http_1_0() -> None:
    assert read_response(b"HTTP/1.0 200 Connection established\r\n\r\n").version == "HTTP/1.0"


def test_interim_responses_are_skipped_up_to_the_final_one() -> None:
    early = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: <a>\r\n\r\n"
    response = read_response(early + b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n")

    assert response == Response(101, "Switching Protocols", Headers({"Upgrade": "websocket"}))


def test_interim_responses_without_end_are_refused_at_the_bound() -> None:
    interim = b"HTTP/1.1 100 \r\n\r\n"

    with pytest.raises(MalformedHead):
        response_reader().feed(interim * (MAX_HEADERS // len(interim) + 2))


@pytest.mark.parametrize("name", ["Cookie", "set-cookie", "Authorization", "Proxy-Authorization"])
def test_secrets_are_not_shown(name: str) -> None:
    request = Request("GET", "/", Headers([(name, "secret"), ("X", "shown")]))

    assert "secret" not in repr(request)
    assert name in repr(request)
    assert "shown" in repr(request)


# Writing.


def test_a_request_that_is_written_is_read_as_the_same() -> None:
    request = Request("GET", "/?a=b", Headers([("Host", "a"), ("X", "é\xa0 é"), ("Empty", "")]))

    assert read(request.encode()) == request


def test_a_response_that_is_written_is_read_as_the_same() -> None:
    data = encode_response(200, "Fine", [("A", "1"), ("A", "2")], b"body")

    assert data == b"HTTP/1.1 200 Fine\r\nA: 1\r\nA: 2\r\n\r\nbody"
    assert read_response(data) == Response(200, "Fine", Headers([("A", "1"), ("A", "2")]))


INJECTIONS = ["\r\nB: 2", "x\nB: 2", "x\rB", "x\0", "x\x0b", "x\x7f", "x\r\n\r\n<html>"]


@pytest.mark.parametrize("text", [*INJECTIONS, " x", "x ", "\tx", "\N{EURO SIGN}", "\ud800"])
def test_a_value_that_would_change_the_head_is_not_written(text: str) -> None:
    with pytest.raises(ValueError, match="header A"):
        encode_response(200, "OK", [("A", text)])


@pytest.mark.parametrize("text", [*INJECTIONS, "", "A:", "A b", " A", "Ä"])
def test_a_name_that_would_change_the_head_is_not_written(text: str) -> None:
    with pytest.raises(ValueError, match="header name"):
        encode_response(200, "OK", {text: "1"})


@pytest.mark.parametrize("text", [*INJECTIONS, "\N{EURO SIGN}"])
def test_a_reason_that_would_change_the_head_is_not_written(text: str) -> None:
    with pytest.raises(ValueError, match="reason"):
        encode_response(200, text, ())


@pytest.mark.parametrize("status", [0, 99, 600, 1000, -1])
def test_a_status_that_is_none_is_not_written(status: int) -> None:
    with pytest.raises(ValueError, match="status"):
        encode_response(status, "", ())


@pytest.mark.parametrize("text", ["/\r\nA: 1", "/ b", "/ HTTP/1.1", "x", "", "*", "?x", "/#x", "/é", "/\0"])
def test_a_target_that_would_change_the_head_is_not_written(text: str) -> None:
    with pytest.raises(ValueError, match="target"):
        encode_request("GET", text, ())


@pytest.mark.parametrize("text", ["", "G T", "GET\r\n", "GÈT"])
def test_a_method_that_is_no_token_is_not_written(text: str) -> None:
    with pytest.raises(ValueError, match="method"):
        encode_request(text, "/", ())


def test_an_authority_may_only_be_asked_for_with_connect() -> None:
    assert encode_request("CONNECT", "a:80", ()) == b"CONNECT a:80 HTTP/1.1\r\n\r\n"
    with pytest.raises(ValueError, match="target"):
        encode_request("CONNECT", "a:80\r\nX:", ())


@pytest.mark.parametrize("value", [5, None, b"bytes"])
def test_a_value_that_is_no_text_is_named_and_not_written(value: object) -> None:
    with pytest.raises(ValueError, match="header A"):
        encode_response(200, "OK", [("A", value)])  # type: ignore[list-item]


def test_a_value_that_cannot_be_sent_is_not_repeated_in_the_error() -> None:
    with pytest.raises(ValueError, match="Authorization") as caught:
        encode_request("GET", "/", {"Authorization": "Basic c2VjcmV0\n"})

    assert "c2VjcmV0" not in str(caught.value)


def test_an_unknown_status_has_no_usual_reason() -> None:
    assert (phrase(404), phrase(599)) == ("Not Found", "")


def test_text_of_the_peer_is_escaped_where_it_is_shown() -> None:
    assert escaped("No\x9b31m\xfc") == "No\\x9b31m\\xfc"
    assert escaped("No" * 5000) == "No" * 40 + "..."
