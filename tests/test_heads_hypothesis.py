"""Heads and handshakes under arbitrary input: cut anywhere, garbage, injection, and there and back again."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import TypeVar

from hypothesis import example, given, settings
from hypothesis import strategies as st

from wsfactory.bodies import BodyReader
from wsfactory.errors import ConnectionDeny, HandshakeError, InvalidURL, MalformedHead, Refused
from wsfactory.extensions import ExtensionOffer, parse_extensions
from wsfactory.handshake import accept, choose_subprotocol, is_upgrade, not_an_upgrade, read_offer, refusal
from wsfactory.handshake_client import ask, check_response
from wsfactory.http11 import (
    Headers,
    HeadReader,
    Request,
    Response,
    encode_response,
    parse_request_line,
    parse_status_line,
    request_reader,
    response_reader,
)
from wsfactory.origins import is_origin_allowed
from wsfactory.redirects import redirected
from wsfactory.urls import URL, parse_url

Head = TypeVar("Head", bound=Request | Response)
Error = TypeVar("Error", bound=Exception)
Result = TypeVar("Result")
Outcome = tuple[Head | None, bytes] | tuple[int, str]

# The same examples every time: a suite that fails now and then teaches nobody.
claim = settings(derandomize=True, deadline=None, database=None, max_examples=200)

KEY = "dGhlIHNhbXBsZSBub25jZQ=="
UPGRADE = [
    ("Host", "example.com"),
    ("Upgrade", "websocket"),
    ("Connection", "Upgrade"),
    ("Sec-WebSocket-Key", KEY),
    ("Sec-WebSocket-Version", "13"),
]
NAMES = [*dict(UPGRADE), "Origin", "Sec-WebSocket-Protocol", "Sec-WebSocket-Extensions", "Content-Length", "X"]
TCHARS = "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"

any_text = st.text(st.characters(), max_size=20)
latin = st.text(st.characters(max_codepoint=0xFF), max_size=20)
# Text that is likely to be taken apart wrongly by whoever splits at the wrong place.
nasty = st.lists(
    st.sampled_from(
        [
            "\r\n",
            "\n",
            "\r",
            "\0",
            "\x0b",
            "\x1c",
            "\x85",
            "\xa0",
            " ",
            "\t",
            ":",
            ",",
            ";",
            '"',
            "\\",
            "=",
            "a",
            "B: 1",
        ]
    )
    | latin,
    max_size=6,
).map("".join)
tokens = st.text(st.sampled_from(TCHARS), min_size=1, max_size=10)
values = st.text(st.sampled_from('\t !,;:="\\az09\x80\x85\xa0\xff'), max_size=12).map(lambda text: text.strip(" \t"))
fields = st.lists(st.tuples(tokens, values), max_size=5)
cuts = st.lists(st.integers(0, 300), max_size=8)

pieces = st.sampled_from(
    [
        b"GET / HTTP/1.1\r\n",
        b"GET /x?y HTTP/1.0\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\n",
        b"HTTP/1.1 100 \r\n\r\n",
        b"HTTP/1.0 404 Not Found\r\n",
        b"Host: a\r\n",
        b"A:b\r\n",
        b" folded\r\n",
        b"A : b\r\n",
        b"\r\n",
        b"\n",
        b"\r",
        b":",
        b"\0",
    ]
)
head_bytes = st.lists(pieces | st.binary(max_size=12), max_size=14).map(b"".join)


def cut_up(data: bytes, places: Sequence[int]) -> list[bytes]:
    ends = [0, *sorted(min(place, len(data)) for place in places), len(data)]
    return [data[start:end] for start, end in pairwise(ends)]


def outcome(reader: HeadReader[Head], parts: Sequence[bytes]) -> Outcome[Head]:
    """Return the head and all that came behind it; or the status and the words of the fault."""
    for number, part in enumerate(parts):
        try:
            head = reader.feed(part)
        except MalformedHead as error:
            return error.status, str(error)
        if head is not None:
            return head, reader.rest + b"".join(parts[number + 1 :])
    return None, b""


def attempt(expected: type[Error], call: Callable[[], Result]) -> Result | Error:
    """Return what *call* does, or the *expected* error; another one ends the test."""
    try:
        return call()
    except expected as error:
        return error


def read_response(data: bytes) -> tuple[Response, bytes]:
    reader = response_reader()
    response = reader.feed(data)
    assert response is not None
    return response, reader.rest


# Cutting.


@claim
@given(head_bytes, cuts)
def test_a_request_head_is_the_same_however_it_is_cut(data: bytes, places: list[int]) -> None:
    assert outcome(request_reader(), cut_up(data, places)) == outcome(request_reader(), [data])


@claim
@given(head_bytes, cuts)
def test_a_response_head_is_the_same_however_it_is_cut(data: bytes, places: list[int]) -> None:
    assert outcome(response_reader(), cut_up(data, places)) == outcome(response_reader(), [data])


@claim
@given(head_bytes, cuts, st.integers(0, 40), st.integers(0, 60), st.integers(0, 4), st.booleans())
def test_the_bounds_are_the_same_however_a_head_is_cut(
    data: bytes, places: list[int], line: int, headers: int, count: int, is_request: bool
) -> None:
    parse: Callable[[str], Request | Response] = parse_request_line if is_request else parse_status_line

    def reader() -> HeadReader[Request | Response]:
        return HeadReader(parse, max_line=line, max_headers=headers, max_fields=count)

    one_by_one = [data[place : place + 1] for place in range(len(data))]
    assert outcome(reader(), cut_up(data, places)) == outcome(reader(), [data]) == outcome(reader(), one_by_one)


@claim
@given(
    st.lists(st.binary(max_size=5) | st.sampled_from([b"5\r\nhello\r\n", b"0\r\n\r\n", b"3;x\r\nabc\r\n"]), max_size=8),
    cuts,
    st.sampled_from([[], [("Transfer-Encoding", "chunked")], [("Content-Length", "7")], [("Content-Length", "x")]]),
    st.integers(1, 12),
)
def test_a_body_is_the_same_however_it_is_cut(
    parts: list[bytes], places: list[int], headers: list[tuple[str, str]], limit: int
) -> None:
    response = Response(403, headers=Headers(headers))
    whole, cut = BodyReader(response, limit), BodyReader(response, limit)
    whole.feed(b"".join(parts))
    for part in cut_up(b"".join(parts), places):
        cut.feed(part)

    assert (cut.body, cut.done) == (whole.body, whole.done)
    assert len(cut.body) <= limit


# Garbage.


@claim
@given(st.binary(max_size=200) | head_bytes)
def test_bytes_are_a_head_or_not_yet_or_malformed_and_nothing_else(data: bytes) -> None:
    for result in (outcome(request_reader(), [data]), outcome(response_reader(), [data])):
        assert result[0] is None or isinstance(result[0], Request | Response) or result[0] in (400, 414, 431, 505)


requests = st.builds(
    Request,
    method=st.sampled_from(["GET", "POST"]) | latin,
    target=st.sampled_from(["/", "/x?a=%ff&b", "http://a:1/?"]) | nasty,
    headers=st.lists(
        st.sampled_from(UPGRADE)
        | st.tuples(st.sampled_from(NAMES), nasty | st.sampled_from(list(dict(UPGRADE).values()))),
        max_size=8,
    ).map(lambda added: Headers([*UPGRADE[len(added) % 6 :], *added])),
    version=st.sampled_from(["HTTP/1.1", "HTTP/1.0"]),
)


@claim
@given(requests, st.sampled_from(["same-origin", "*", ("null", "https://*.example.com", "http://[::1]:80")]))
@example(Request("GET", "/", Headers(UPGRADE)), "same-origin")
def test_a_request_is_an_offer_or_refused_with_an_answer_that_can_be_sent(
    request: Request, allowed: str | tuple[str, ...]
) -> None:
    try:
        answer = accept(read_offer(request, allowed_origins=allowed))
    except Refused as error:
        answer = refusal(error)

    response, body = read_response(answer)
    assert response.status in (101, 400, 403, 405, 426)
    assert response.status == 101 or len(body) == int(response.headers["Content-Length"])


@claim
@given(requests)
def test_the_properties_of_a_request_always_have_a_value(request: Request) -> None:
    assert isinstance(request.path, str)
    assert isinstance(request.query, dict)
    assert isinstance(request.host, str)
    assert isinstance(is_upgrade(request), bool)
    assert read_response(refusal(not_an_upgrade(request)))[0].status == 426


@claim
@given(latin, latin, st.sampled_from(["same-origin", "*", ("null", "https://*.a", "http://a:1")]))
def test_an_origin_is_allowed_or_not_and_nothing_else(origin: str, host: str, allowed: str | tuple[str, ...]) -> None:
    assert is_origin_allowed(origin, host, allowed) in (True, False)


@claim
@given(st.lists(nasty, max_size=3))
def test_extensions_are_understood_or_refused_and_nothing_else(texts: list[str]) -> None:
    offers = attempt(Refused, lambda: parse_extensions(texts))

    if isinstance(offers, Refused):
        assert offers.status == 400
    else:
        assert parse_extensions([", ".join(map(str, offers))]) == offers


@claim
@given(
    st.integers(100, 599) | st.just(101),
    st.lists(st.tuples(st.sampled_from(NAMES), nasty) | st.sampled_from(UPGRADE), max_size=6),
    st.sampled_from(["HTTP/1.1", "HTTP/1.0"]),
)
def test_a_response_is_accepted_or_a_handshake_error_and_nothing_else(
    status: int, pairs: list[tuple[str, str]], version: str
) -> None:
    asked = ask(parse_url("ws://a"), subprotocols=["a"], extensions="a")
    response = Response(status, "Why", Headers(pairs), version=version)
    accepted = attempt(HandshakeError, lambda: check_response(asked, response))

    if isinstance(accepted, HandshakeError):
        assert accepted.status == status
        assert str(accepted).isprintable()
    else:
        assert accepted.subprotocol in (None, "a")


hosts = st.sampled_from(
    ["a", "a.example", "[::1]", "[fe80::1%25e]", "ex\xe4mple", "127.0.0.1", "-", "u:p@a", "u%0a@a", ""]
)
urls = st.one_of(
    any_text,
    st.builds(
        "{}://{}{}{}".format,
        st.sampled_from(["ws", "WSS", "http"]),
        hosts,
        st.sampled_from(["", ":", ":80", ":0"]),
        any_text,
    ),
    st.builds("{}://{}/{}".format, st.sampled_from(["ws", "wss"]), hosts, any_text),
    st.builds("ws+unix:///{}:/{}".format, any_text, any_text),
)


@claim
@given(urls)
def test_text_is_a_url_that_can_be_asked_for_or_invalid_and_nothing_else(text: str) -> None:
    try:
        url = parse_url(text)
    except InvalidURL:
        return

    assert parse_url(str(url)) == URL(url.secure, url.host, url.port, url.resource, unix_path=url.unix_path)
    request, rest = outcome(request_reader(), [ask(url).encode()])
    assert isinstance(request, Request)
    assert (request.target, request.host, rest) == (url.resource, url.host_header, b"")


@claim
@given(
    st.sampled_from(["ws://a/x/y?z", "wss://u:p@a", "ws+unix:///a:/x"]),
    latin | urls.filter(lambda text: text.isascii()),
)
def test_a_location_leads_somewhere_or_is_a_handshake_error_and_nothing_else(start: str, location: str) -> None:
    here = parse_url(start)
    response = Response(302, headers=Headers([("Location", location)]))
    result = attempt(HandshakeError, lambda: redirected(here, response, {"Cookie": "c"}))

    if isinstance(result, HandshakeError):
        assert result.status == 302
        return
    there, headers = result
    assert there.secure or not here.secure
    assert ("Cookie" in headers) == (there.origin == here.origin)
    assert there.username == (here.username if there.origin == here.origin else None)
    assert re.fullmatch(r"/[!-~]*", there.resource)


# There and back, and nothing in between.


@claim
@given(tokens, st.sampled_from(["/", "/a?b=c", "http://a/b"]), fields)
def test_a_request_that_is_written_is_read_as_the_same(method: str, target: str, pairs: list[tuple[str, str]]) -> None:
    request = Request(method, target, Headers(pairs))

    assert outcome(request_reader(), [request.encode()]) == (request, b"")


@claim
@given(any_text | nasty, any_text | nasty, st.lists(st.tuples(any_text | nasty | tokens, any_text | nasty), max_size=3))
def test_a_request_of_any_text_is_read_as_the_same_or_not_written(
    method: str, target: str, pairs: list[tuple[str, str]]
) -> None:
    """Nothing that an application puts into a part can become another part."""
    for request in (
        Request(method, "/", Headers(pairs)),
        Request("GET", target, Headers()),
        Request("GET", "/" + target),
    ):
        try:
            data = request.encode()
        except ValueError:
            continue
        assert method == "CONNECT" or outcome(request_reader(), [data]) == (request, b"")


@claim
@given(
    st.integers(200, 599), any_text | nasty, st.lists(st.tuples(tokens | nasty, any_text | nasty | values), max_size=3)
)
def test_a_response_of_any_text_is_read_as_the_same_or_not_written(
    status: int, reason: str, pairs: list[tuple[str, str]]
) -> None:
    try:
        data = encode_response(status, reason, pairs, b"body")
    except ValueError:
        return

    assert read_response(data) == (Response(status, reason, Headers(pairs)), b"body")


@claim
@given(
    st.integers(-1, 700),
    any_text | nasty,
    st.lists(st.tuples(tokens | st.sampled_from(["Content-Length", "Connection"]), nasty | values), max_size=3),
    st.binary(max_size=20),
)
def test_whatever_the_application_refuses_with_is_one_whole_response(
    status: int, reason: str, pairs: list[tuple[str, str]], body: bytes
) -> None:
    response, sent = read_response(refusal(ConnectionDeny(status, reason, pairs, body)))

    assert response.headers.get_all("Content-Length") in ([str(len(sent))], [])
    assert response.headers.get_all("Connection") in (["close"], ["close, Upgrade"])
    assert (response.status, sent) in ((status, body), (status, b""), (500, b"Internal Server Error\n"))


@claim
@given(
    st.lists(tokens, unique=True, max_size=5),
    st.lists(tokens, max_size=5),
    fields.filter(lambda pairs: not any(name.lower() in ("host", "upgrade") for name, _ in pairs)),
    st.lists(
        st.builds(ExtensionOffer, tokens, st.lists(st.tuples(tokens, st.none() | tokens), max_size=3).map(tuple)),
        max_size=3,
    ),
    cuts,
)
def test_both_sides_agree_however_their_bytes_are_cut(
    asked_for: list[str],
    preferred: list[str],
    pairs: list[tuple[str, str]],
    extensions: list[ExtensionOffer],
    places: list[int],
) -> None:
    text = ", ".join(map(str, extensions))
    asked = ask(parse_url("ws://example.com/x"), subprotocols=asked_for, headers=pairs, extensions=text)
    request, rest = outcome(request_reader(), cut_up(asked.encode() + b"more", places))
    assert isinstance(request, Request)
    offer = read_offer(request)
    answer = accept(offer, choose_subprotocol(offer, preferred), pairs, str(extensions[0]) if extensions else None)
    response, early = outcome(response_reader(), cut_up(answer + b"frames", places))
    assert isinstance(response, Response)
    accepted = check_response(asked, response)

    assert (rest, early) == (b"more", b"frames")
    assert offer.extensions == tuple(extensions)
    assert accepted.extensions == tuple(extensions[:1])
    assert accepted.subprotocol == next((name for name in preferred if name in asked_for), None)
