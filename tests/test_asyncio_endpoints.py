"""Where to listen and where to connect, on asyncio: what TLS is asked for, and who bounds what."""

from __future__ import annotations

import asyncio
import ssl
from typing import Any

import pytest

from tests.loops import Raw, on_loops
from wsfactory import TLS, OptionError
from wsfactory.asyncio import endpoints
from wsfactory.asyncio.endpoints import dial, listening
from wsfactory.urls import parse_url

URL = parse_url("wss://example.com/")


def test_by_default_a_server_is_verified_against_the_systems_authorities() -> None:
    asked = endpoints._client_tls(URL, None, 10.0, 5.0)

    assert asked["ssl"].verify_mode is ssl.CERT_REQUIRED
    assert asked["ssl"].check_hostname
    assert asked["server_hostname"] == "example.com"


def test_the_attempts_own_deadline_comes_before_that_of_tls() -> None:
    """Else it would be left to chance whether a stalled TLS handshake is told as a timeout."""
    asked = endpoints._client_tls(URL, None, 10.0, 5.0)

    assert asked["ssl_handshake_timeout"] > 10.0
    assert asked["ssl_shutdown_timeout"] == 5.0


def test_without_deadlines_asyncio_keeps_its_own() -> None:
    asked = endpoints._client_tls(URL, None, None, None)

    assert (asked["ssl_handshake_timeout"], asked["ssl_shutdown_timeout"]) == (None, None)


def test_another_name_may_be_expected() -> None:
    assert endpoints._client_tls(URL, TLS(serverName="other.example"), 10.0, 5.0)["server_hostname"] == "other.example"


def test_verification_ends_only_by_an_explicit_flag() -> None:
    context = endpoints._context(TLS(verify=False))

    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_NONE, False)


def test_a_context_is_taken_as_it_is_and_anything_else_refused() -> None:
    context = ssl.create_default_context()

    assert endpoints._context(context) is context
    with pytest.raises(OptionError, match=r"tls takes a wsfactory.TLS or an ssl.SSLContext"):
        endpoints._context("yes")


@on_loops
async def test_a_wss_url_to_listen_at_needs_a_certificate() -> None:
    with pytest.raises(OptionError, match=r"ssl.SSLContext"):
        await listening("wss://127.0.0.1:0/", Raw, None, 10.0, 10.0)


@on_loops
async def test_without_a_handshake_timeout_connecting_still_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    async def for_ever(*_: Any) -> None:
        await asyncio.get_running_loop().create_future()

    monkeypatch.setattr(endpoints, "CONNECT_SECONDS", 0.01)
    monkeypatch.setattr(endpoints, "connected_socket", for_ever)
    with pytest.raises(TimeoutError):
        await dial(parse_url("ws://127.0.0.1:1/"), Raw())
