"""A tunnel through an HTTP proxy: how it is asked for, and when it stands (RFC 9110 section 9.3.6)."""

from __future__ import annotations

import pytest

from wsfactory.errors import ConnectError, InvalidURL, OptionError
from wsfactory.http11 import Response
from wsfactory.proxy import ProxyURL, check_proxy, check_proxy_response, parse_proxy_url, proxy_request
from wsfactory.urls import parse_url

PROXY = ProxyURL(False, "proxy.example", 3128)


@pytest.mark.parametrize(
    ("text", "proxy"),
    [
        ("http://proxy.example:3128", PROXY),
        ("http://proxy.example", ProxyURL(False, "proxy.example", 80)),
        ("HTTPS://proxy.example/", ProxyURL(True, "proxy.example", 443)),
        ("http://u:p%40@[::1]:8080/", ProxyURL(False, "::1", 8080, "u", "p@")),
    ],
)
def test_a_proxy_is_an_http_url(text: str, proxy: ProxyURL) -> None:
    assert parse_proxy_url(text) == proxy


@pytest.mark.parametrize(
    "text",
    ["proxy:3128", "socks5://proxy", "ws://proxy", "http://proxy/x", "http://proxy?x", "http://proxy#", "http://"],
)
def test_another_url_is_none_of_a_proxy(text: str) -> None:
    with pytest.raises(InvalidURL):
        parse_proxy_url(text)


@pytest.mark.parametrize(
    ("url", "authority"),
    [
        ("ws://a.example/x", b"a.example:80"),
        ("wss://a.example", b"a.example:443"),
        ("wss://a.example:9", b"a.example:9"),
        ("wss://[::1]", b"[::1]:443"),
        ("ws://ex\xe4mple", b"xn--exmple-cua:80"),
    ],
)
def test_the_tunnel_is_asked_for_by_host_and_port(url: str, authority: bytes) -> None:
    request = proxy_request(parse_url(url), PROXY)

    assert request == b"CONNECT " + authority + b" HTTP/1.1\r\nHost: " + authority + b"\r\n\r\n"


def test_the_proxy_gets_its_own_credentials_and_not_the_servers() -> None:
    request = proxy_request(parse_url("ws://anna:secret@a/"), parse_proxy_url("http://u:p@proxy"))

    assert request.endswith(b"\r\nProxy-Authorization: Basic dTpw\r\n\r\n")
    assert request.count(b"uthorization") == 1


def test_credentials_are_not_shown() -> None:
    assert "secret" not in repr(parse_proxy_url("http://u:secret@proxy"))


def test_what_a_factory_is_given_is_a_proxys_url_or_none() -> None:
    check_proxy(None)
    check_proxy("http://u:secret@proxy:3128")
    with pytest.raises(InvalidURL):
        check_proxy("http://u:secret@proxy:port")


@pytest.mark.parametrize("proxy", [b"http://u:secret@proxy", 3128, ("proxy", 3128)])
def test_anything_else_is_refused_and_not_shown(proxy: object) -> None:
    with pytest.raises(OptionError, match="proxy takes a URL") as caught:
        check_proxy(proxy)

    assert f"of type {type(proxy).__name__} is not allowed" in str(caught.value)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("status", [200, 201, 299])
def test_the_tunnel_stands_with_any_2xx(status: int) -> None:
    check_proxy_response(Response(status))


@pytest.mark.parametrize("status", [101, 301, 403, 407, 502])
def test_any_other_status_fails_and_is_named(status: int) -> None:
    with pytest.raises(ConnectError, match=f"{status} N") as caught:
        check_proxy_response(Response(status, "N\x9b"))

    assert str(caught.value).isprintable()
