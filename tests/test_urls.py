"""URLs: what they say, and what is refused with which words (RFC 6455 section 3)."""

from __future__ import annotations

import sys

import pytest

from wsfactory.errors import InvalidURL
from wsfactory.urls import URL, basic_auth, parse_url


def fault(text: str) -> str:
    with pytest.raises(InvalidURL) as caught:
        parse_url(text)
    return str(caught.value)


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("ws://example.com", URL(False, "example.com", 80, "/")),
        ("wss://example.com/", URL(True, "example.com", 443, "/")),
        ("WS://EXAMPLE.com:9000/Chat?X=1", URL(False, "example.com", 9000, "/Chat?X=1")),
        ("wss://example.com:/?", URL(True, "example.com", 443, "/?")),
        ("ws://example.com?x=/y", URL(False, "example.com", 80, "/?x=/y")),
        ("ws://127.0.0.1:8080//a//", URL(False, "127.0.0.1", 8080, "//a//")),
        ("ws://my_service.local.:1", URL(False, "my_service.local.", 1, "/")),
        ("ws://[::1]:9000/", URL(False, "::1", 9000, "/")),
        ("ws://[2001:DB8:0:0::1]", URL(False, "2001:db8::1", 80, "/")),
        ("ws://[fe80::1%25eth0]/", URL(False, "fe80::1%eth0", 80, "/")),
        ("ws://user:pa%3Ass%20%C3%BC@a/", URL(False, "a", 80, "/", "user", "pa:ss ü")),
        ("ws://user@a/", URL(False, "a", 80, "/", "user", None)),
        ("ws://:word@a/", URL(False, "a", 80, "/", "", "word")),
        ("ws+unix:///run/a.sock", URL(False, "localhost", 80, "/", unix_path="/run/a.sock")),
        ("ws+unix:///run/a%3A%20b.sock:/x:y?z", URL(False, "localhost", 80, "/x:y?z", unix_path="/run/a: b.sock")),
    ],
)
def test_a_url_says_where_to_connect_and_what_to_ask_for(text: str, url: URL) -> None:
    assert parse_url(text) == url


@pytest.mark.parametrize(
    ("text", "resource"),
    [
        ("ws://a/b c", "/b%20c"),
        ("ws://a/ü?ö=€", "/%C3%BC?%C3%B6=%E2%82%AC"),
        ("ws://a/%c3%BC%", "/%c3%BC%"),
        ('ws://a/"<>\\^`{|}', "/%22%3C%3E%5C%5E%60%7B%7C%7D"),
        ("ws://a/b;c=d@e:f!$&'()*+,~", "/b;c=d@e:f!$&'()*+,~"),
    ],
)
def test_a_path_is_percent_encoded_where_it_has_to_be(text: str, resource: str) -> None:
    assert parse_url(text).resource == resource


@pytest.mark.parametrize("name", ["exämple.com", "EXÄMPLE.com", "exa\u0308mple.com"])
def test_an_internationalised_name_becomes_a_labels(name: str) -> None:
    assert parse_url(f"ws://{name}").host == "xn--exmple-cua.com"


def test_an_internationalised_name_needs_no_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "idna", None)

    assert parse_url("ws://Exämple.com").host == "xn--exmple-cua.com"


@pytest.mark.parametrize("name", ["a\N{ZERO WIDTH JOINER}b", "\N{CARE OF}.com", "a\N{SNOWMAN}", "ä" * 70, "\ud800"])
def test_a_name_that_only_looks_like_another_is_refused(name: str) -> None:
    assert "host name" in fault(f"ws://{name}")


@pytest.mark.parametrize("name", ["\N{CARE OF}.com", "a\N{FULLWIDTH SOLIDUS}.com", "ä" * 70, "\ud800"])
def test_without_the_package_no_character_ends_the_host_either(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """c/o in one character becomes three: the rest of the name would be the path."""
    monkeypatch.setitem(sys.modules, "idna", None)

    assert "host name" in fault(f"ws://{name}")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "scheme://"),
        ("example.com", "scheme://"),
        ("ws:example.com", "scheme://"),
        (" ws://example.com", "scheme://"),
        ("http://example.com", "ws, wss or ws+unix"),
        ("wss+unix:///a", "ws, wss or ws+unix"),
        ("ws://", "host is missing"),
        ("ws:///path", "host is missing"),
        ("ws://:80/", "host is missing"),
        ("ws://user@/", "host is missing"),
        ("ws://a#", "fragment"),
        ("ws://a/b#c", "fragment"),
        ("ws://a:0/", "1-65535"),
        ("ws://a:65536/", "1-65535"),
        ("ws://a:000080/", "1-65535"),
        ("ws://a:b/", "told apart"),
        ("ws://a:8\N{ARABIC-INDIC DIGIT ZERO}/", "told apart"),
        ("ws://a:-1/", "told apart"),
        ("ws://::1/", "told apart"),
        ("ws://[::1", "told apart"),
        ("ws://[::1]x/", "told apart"),
        ("ws://[::g]/", "IPv6"),
        ("ws://[127.0.0.1]/", "IPv6"),
        ("ws://[fe80::1%eth0]/", "IPv6"),
        ("ws://[fe80::1%25]/", "IPv6"),
        ("ws://[fe80::1%25a%0d]/", "IPv6"),
        ("ws://a b/", "host name"),
        ("ws://a..b/", "host name"),
        ("ws://./", "host name"),
        ("ws://-a/", "host name"),
        ("ws://a%41/", "host name"),
        ("ws://a\\b/", "host name"),
        ("ws://" + "a" * 64, "host name"),
        ("ws://" + "a." * 127 + "a", "host name"),
        ("ws://u@v@a/", "%40"),
        ("ws://u%3Av:w@a/", "user name"),
        ("ws://u:%0d%0a@a/", "user name"),
        ("ws://u:%ff@a/", "UTF-8"),
        ("ws://u:\ud800@a/", "UTF-8"),
        ("ws://a/\ud800", "surrogate"),
        ("ws://a/\r\nX: y", "control character"),
        ("ws://a/\0", "control character"),
        ("ws://a\t/", "control character"),
        ("ws+unix://", "ws+unix:///path"),
        ("ws+unix:///", "ws+unix:///path"),
        ("ws+unix://host/a.sock", "ws+unix:///path"),
        ("ws+unix:///a.sock?x", "ws+unix:///path"),
        ("ws+unix:///a%00", "NUL"),
    ],
)
def test_what_is_no_url_is_refused_with_the_fault(text: str, words: str) -> None:
    assert words in fault(text)


def test_credentials_are_never_shown() -> None:
    url = parse_url("ws://anna:secret@example.com/x")

    assert str(url) == "ws://example.com/x"
    assert "secret" not in repr(url) + fault("ws://anna:secret@example.com:port/")
    assert "anna" not in repr(url)


@pytest.mark.parametrize(
    "text",
    [
        "ws://anna:secret/w@host/",
        "ws://anna:secr#secret@host/",
        "ws://anna:secr?secret@host:port/",
        "ws://anna:secret@secret@host/",
        "ws:anna:secret@host",
        "anna:secret@host",
        "//anna:secret@host/",
        "ws+unix://anna:secret@host/",
        "http://anna:secret@host/",
        "ws://secret!/w@host/",
        "ws://[secret]/w@host/",
        "ws://anna:se\ncret:secret@host/",
    ],
)
def test_credentials_are_not_shown_where_they_cannot_be_told_from_the_rest(text: str) -> None:
    told = fault(text)

    assert "secret" not in told
    assert "@host" in told


def test_a_url_without_end_is_not_shown_to_its_end() -> None:
    assert len(fault("ws://" + "a" * 60_000)) < 400


@pytest.mark.parametrize(
    ("text", "host_header", "authority"),
    [
        ("ws://example.com", "example.com", "example.com:80"),
        ("ws://example.com:80", "example.com", "example.com:80"),
        ("wss://example.com:443", "example.com", "example.com:443"),
        ("ws://example.com:443", "example.com:443", "example.com:443"),
        ("wss://example.com:80", "example.com:80", "example.com:80"),
        ("ws://[::1]", "[::1]", "[::1]:80"),
        ("ws://[::1]:9000", "[::1]:9000", "[::1]:9000"),
        ("ws://[fe80::1%25eth0]:9", "[fe80::1]:9", "[fe80::1]:9"),
        ("ws+unix:///a", "localhost", "localhost:80"),
    ],
)
def test_host_has_brackets_around_ipv6_and_no_default_port(text: str, host_header: str, authority: str) -> None:
    url = parse_url(text)

    assert (url.host_header, url.authority) == (host_header, authority)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("WSS://a@EXAMPLE.com:443", "wss://example.com/"),
        ("ws://[fe80::1%25eth0]:9/x", "ws://[fe80::1%25eth0]:9/x"),
        ("ws+unix:///a%3Ab:/x", "ws+unix:///a%3Ab:/x"),
        ("ws+unix:///a", "ws+unix:///a:/"),
    ],
)
def test_the_text_of_a_url_reads_as_the_same_url(text: str, shown: str) -> None:
    assert str(parse_url(text)) == shown
    assert str(parse_url(shown)) == shown


def test_an_origin_is_scheme_host_and_port_or_the_socket() -> None:
    origins = {
        parse_url(text).origin for text in ("ws://a", "wss://a", "ws://a:81", "ws://b", "ws+unix:///a", "ws+unix:///b")
    }

    assert len(origins) == 6
    assert parse_url("ws://a/x").origin == parse_url("ws://u@A:80/y").origin


def test_basic_credentials_are_utf_8() -> None:
    """The example of RFC 7617 section 2.1."""
    assert basic_auth("test", "123£") == "Basic dGVzdDoxMjPCow=="
    assert basic_auth("test", None) == "Basic dGVzdDo="
