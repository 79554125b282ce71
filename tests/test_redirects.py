"""Redirects: where they lead, and what is taken along (RFC 9110 section 15.4)."""

from __future__ import annotations

import pytest

from wsfactory.errors import HandshakeError, OptionError
from wsfactory.http11 import Headers, Response
from wsfactory.redirects import REDIRECTS, check_max_redirects, redirected
from wsfactory.urls import parse_url

HERE = parse_url("ws://anna:secret@a.example/x/y?z")
SECURE = parse_url("wss://anna:secret@a.example/x/y")
HEADERS = [
    ("Cookie", "c"),
    ("authorization", "b"),
    ("Proxy-Authorization", "p"),
    ("HOST", "h"),
    ("X", "1"),
    ("X", "2"),
]


@pytest.mark.parametrize("count", [-1, None, True, 2.5, "5"])
def test_how_many_to_follow_is_a_whole_number(count: object) -> None:
    check_max_redirects(0)
    with pytest.raises(OptionError, match=f"maxRedirects={count!r} is not allowed: maxRedirects takes a whole number"):
        check_max_redirects(count)


def to(*locations: str, status: int = 302) -> Response:
    return Response(status, "Found", Headers([("Location", location) for location in locations]), b"body")


def refused(response: Response, url: str = "ws://a.example/x") -> HandshakeError:
    with pytest.raises(HandshakeError) as caught:
        redirected(parse_url(url), response)
    return caught.value


@pytest.mark.parametrize(
    ("location", "url"),
    [
        ("ws://b.example/p?q", "ws://b.example/p?q"),
        ("http://b.example:81", "ws://b.example:81/"),
        ("HTTPS://B.example/", "wss://b.example/"),
        ("wss://a.example", "wss://a.example/"),
        ("//b.example/p", "ws://b.example/p"),
        ("/p?q", "ws://a.example/p?q"),
        ("p", "ws://a.example/x/p"),
        ("../../p", "ws://a.example/p"),
        ("?p", "ws://a.example/x/y?p"),
        ("./", "ws://a.example/x/"),
        ("/p#fragment", "ws://a.example/p"),
        ("http://a.example/p#", "ws://a.example/p"),
        ("/a b", "ws://a.example/a%20b"),
        ("/\xc3\xbc", "ws://a.example/%C3%BC"),
        ("/%C3%BC", "ws://a.example/%C3%BC"),
        ("/http://b.example", "ws://a.example/http://b.example"),
        ("?u=http://b.example", "ws://a.example/x/y?u=http://b.example"),
    ],
)
def test_a_location_may_be_relative_and_http_is_read_as_ws(location: str, url: str) -> None:
    assert str(redirected(HERE, to(location))[0]) == url


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_five_statuses_redirect(status: int) -> None:
    assert status in REDIRECTS
    assert str(redirected(HERE, to("/p", status=status))[0]) == "ws://a.example/p"


@pytest.mark.parametrize("status", [101, 200, 300, 304, 305, 306, 401])
def test_other_statuses_do_not(status: int) -> None:
    assert status not in REDIRECTS
    assert refused(to("/p", status=status)).status == status


@pytest.mark.parametrize("location", ["ws://a.example/", "http://a.example/", "http://b.example/"])
def test_a_redirect_from_wss_to_ws_is_refused(location: str) -> None:
    error = refused(to(location), "wss://a.example/")

    assert "from wss to ws" in str(error)
    assert (error.status, error.reason, error.body) == (302, "Found", b"body")


@pytest.mark.parametrize("location", ["/p", "https://a.example/p", "//a.example/p", "//a.example:443/p"])
def test_a_redirect_from_wss_stays_secure(location: str) -> None:
    assert str(redirected(SECURE, to(location))[0]) == "wss://a.example/p"


@pytest.mark.parametrize(
    "location", ["/p", "p", "ws://a.example/", "http://A.EXAMPLE:80/p", "//a.example", "http://eve@a.example"]
)
def test_credentials_go_along_within_the_origin(location: str) -> None:
    url, headers = redirected(HERE, to(location), HEADERS)

    assert (url.username, url.password) == ("anna", "secret")
    assert headers == Headers(HEADERS)


@pytest.mark.parametrize(
    "location",
    ["http://b.example/", "http://a.example:81/", "https://a.example/", "//b.a.example/", "http://eve:word@b.example/"],
)
def test_credentials_stay_behind_when_scheme_or_host_or_port_changes(location: str) -> None:
    """Nor does Host go along, where the application had set it for the first server; nor are any taken over."""
    url, headers = redirected(HERE, to(location), HEADERS)

    assert (url.username, url.password) == (None, None)
    assert list(headers) == [("X", "1"), ("X", "2")]


def test_a_redirect_from_a_unix_socket_stays_there_or_leaves_credentials_behind() -> None:
    here = parse_url("ws+unix:///run/a.sock:/x")

    assert str(redirected(here, to("/y"), HEADERS)[0]) == "ws+unix:///run/a.sock:/y"
    url, headers = redirected(here, to("http://localhost/y"), HEADERS)
    assert (str(url), url.unix_path, "Cookie" in headers) == ("ws://localhost/y", None, False)


@pytest.mark.parametrize("locations", [[], ["/a", "/b"]])
def test_a_redirect_needs_one_location(locations: list[str]) -> None:
    assert "Location" in str(refused(to(*locations)))


@pytest.mark.parametrize(
    "location",
    [
        "ftp://b.example/",
        "ws+unix:///run/a.sock",
        "javascript:x",
        "http:",
        "http:///p",
        "http://b:port/",
        "//",
        "http://\xe4/",
    ],
)
def test_a_location_that_leads_nowhere_is_refused(location: str) -> None:
    assert refused(to(location)).status == 302


def test_a_location_with_credentials_is_refused_without_showing_them() -> None:
    assert "secret" not in str(refused(to("http://anna:secret@b:port/")))
    assert "secret" not in str(refused(to("http://anna:secret@b/"), "wss://a.example/"))
