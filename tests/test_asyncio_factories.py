"""The factories of the asyncio flavour: what they refuse as soon as they are made."""

from __future__ import annotations

import ssl
from typing import Any

import pytest

from tests.loops import NotingClient, NotingServer
from wsfactory import TLS, InvalidURL, OptionError
from wsfactory.asyncio import ClientFactory, ClientProtocol, ServerFactory, connect

URL = "ws://localhost/"


@pytest.mark.parametrize(
    ("wrong", "fault", "words"),
    [
        ({"proxy": "socks5://localhost/"}, InvalidURL, "a proxy is written http://host:port"),
        ({"proxy": b"http://localhost/"}, OptionError, "proxy takes a URL"),
        ({"tls": "yes"}, OptionError, r"tls takes a wsfactory\.TLS or an ssl\.SSLContext"),
        ({"maxRedirects": -1}, OptionError, "maxRedirects takes a whole number"),
        ({"protocol": "x"}, OptionError, r"a subclass of wsfactory\.asyncio\.ClientProtocol"),
        ({"protocol": NotingServer}, OptionError, r"a subclass of wsfactory\.asyncio\.ClientProtocol"),
    ],
)
def test_what_connecting_would_fail_for_is_an_error_at_once(
    wrong: dict[str, Any], fault: type[Exception], words: str
) -> None:
    with pytest.raises(fault, match=words):
        ClientFactory(URL, **wrong)


@pytest.mark.parametrize("tls", [None, TLS(), ssl.create_default_context()], ids=["None", "TLS", "SSLContext"])
def test_tls_comes_in_our_words_or_in_those_of_the_standard_library(tls: object) -> None:
    assert ClientFactory(URL, NotingClient, tls=tls).tls is tls


@pytest.mark.parametrize("protocol", ["x", ClientProtocol, int])
def test_what_is_no_servers_protocol_is_an_error_at_once(protocol: Any) -> None:
    with pytest.raises(OptionError, match=r"protocol takes a subclass of wsfactory\.asyncio\.ServerProtocol"):
        ServerFactory(protocol)


def test_what_makes_a_protocol_need_not_be_a_class() -> None:
    make: Any = lambda: NotingServer()  # noqa: E731 - what users write

    assert ServerFactory(make).protocol is make


def test_options_beside_a_factory_would_be_those_of_its_other_connections() -> None:
    factory = ClientFactory(URL, NotingClient)
    with pytest.raises(OptionError, match=r"a factory or options, not both: .* maxQueue"):
        connect(URL, factory, maxQueue=7)

    assert factory.options.maxQueue == (32, 8)
