"""wss on Twisted, over real sockets: who is believed, who is not, and what the error says."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import pytest_twisted

from tests.certificates import Authority
from tests.http_peers import HttpServer, silent
from tests.loopback import (
    NotingClient,
    NotingServer,
    Serving,
    exchange,
    failure_of,
    nothing_left_over,
    on_reactor,
    until,
)
from wsfactory import (
    TLS,
    CloseCause,
    ConnectError,
)
from wsfactory.twisted import ClientFactory, connect

nothing_is_left_over = pytest_twisted.async_yield_fixture(autouse=True)(nothing_left_over)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("stranger"), "somebody else")


# TLS.


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
@on_reactor
async def test_wss_verifies_the_certificate_and_the_name(authority: Authority, host: str) -> None:
    serving = Serving()
    address = await serving.listen("wss://127.0.0.1:0/", tls=authority.issue(host).for_twisted())
    factory = ClientFactory(f"wss://{host}:{address.port}/", NotingClient, tls=TLS(trustRoots=str(authority.path)))
    session: Any = await connect(factory.url, factory)
    answer = await exchange(session)
    await serving.stop()

    assert answer == "hello"
    assert session.calls[-1] == ("onClose", True, 1000, "")


@pytest.mark.parametrize(
    ("shown", "says"),
    [
        (lambda authority, stranger: stranger.issue("localhost"), "unable to get local issuer certificate"),
        (lambda authority, stranger: authority.issue("example.com"), "the certificate is not for localhost"),
        (lambda authority, stranger: authority.issue("localhost", expired=True), "certificate has expired"),
    ],
)
@on_reactor
async def test_a_certificate_that_is_no_good_is_a_connect_error_that_says_why(
    authority: Authority, stranger: Authority, shown: Callable[..., Any], says: str
) -> None:
    """No request is sent to somebody who is not who they should be."""
    server = HttpServer(silent)
    port = await server.listen(tls=shown(authority, stranger).for_twisted())
    factory = ClientFactory(f"wss://localhost:{port}/", NotingClient, tls=TLS(trustRoots=str(authority.path)))
    error = await failure_of(connect(factory.url, factory))
    heard = list(server.heard)
    await server.stop()

    assert type(error) is ConnectError
    assert f"TLS with 127.0.0.1:{port} failed: " in str(error)
    assert says in str(error)
    assert error.__cause__ is not None
    assert heard == []
    assert dict(factory.counters.failed) == {CloseCause.CONNECT_FAILED: 1}


@on_reactor
async def test_by_default_only_the_systems_authorities_are_trusted(authority: Authority) -> None:
    serving = Serving()
    address = await serving.listen("wss://127.0.0.1:0/", tls=authority.issue("localhost").for_twisted())
    error = await failure_of(connect(f"wss://localhost:{address.port}/"))
    await serving.stop()

    assert type(error) is ConnectError


@on_reactor
async def test_without_verification_anybody_is_believed(stranger: Authority) -> None:
    serving = Serving()
    shown = stranger.issue("example.com", expired=True).for_twisted()
    address = await serving.listen("wss://127.0.0.1:0/", tls=shown)
    factory = ClientFactory(f"wss://127.0.0.1:{address.port}/", NotingClient, tls=TLS(verify=False))
    answer = await exchange(await connect(factory.url, factory))
    await serving.stop()

    assert answer == "hello"


@on_reactor
async def test_the_server_hears_which_name_is_meant(authority: Authority) -> None:
    names: list[bytes | None] = []
    serving = Serving()
    address = await serving.listen("wss://127.0.0.1:0/", tls=authority.issue("localhost").with_sni(names))
    factory = ClientFactory(f"wss://localhost:{address.port}/", NotingClient, tls=TLS(trustRoots=str(authority.path)))
    await exchange(await connect(factory.url, factory))
    await serving.stop()

    assert names == [b"localhost"]


@on_reactor
async def test_a_server_that_does_not_speak_tls_is_a_connect_error() -> None:
    server = HttpServer(silent)
    port = await server.listen()
    connecting = connect(f"wss://127.0.0.1:{port}/", tls=TLS(verify=False))
    await until(lambda: server.raws)
    server.raws[0].send(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    error = await failure_of(connecting)
    await server.stop()

    assert type(error) is ConnectError
    assert "TLS with" in str(error)


@on_reactor
async def test_a_server_that_leaves_during_the_tls_handshake_is_a_connect_error() -> None:
    server = HttpServer(silent)
    port = await server.listen()
    connecting = connect(f"wss://127.0.0.1:{port}/", tls=TLS(verify=False))
    await until(lambda: server.raws)
    server.raws[0].wire.loseConnection()
    error = await failure_of(connecting)
    await server.stop()

    assert type(error) is ConnectError
    assert "closed during the TLS handshake" in str(error)


@on_reactor
async def test_tls_that_cannot_be_used_is_a_connect_error_that_names_the_file() -> None:
    error = await failure_of(connect("wss://127.0.0.1:1/", tls=TLS(trustRoots="/none/such.pem")))

    assert type(error) is ConnectError
    assert "trustRoots='/none/such.pem' cannot be read" in str(error)


@on_reactor
async def test_a_large_message_and_a_backlog_pass_through_tls(authority: Authority) -> None:
    class Generous(NotingServer):
        def onMessage(self, payload: bytes, isBinary: bool) -> None:
            for _ in range(20):
                self.sendMessage(payload, isBinary)
            self.sendClose(3000, "enough")

    serving = Serving(Generous)
    address = await serving.listen("wss://127.0.0.1:0/", tls=authority.issue("localhost").for_twisted())
    factory = ClientFactory(f"wss://localhost:{address.port}/", NotingClient, tls=TLS(trustRoots=str(authority.path)))
    session: Any = await connect(factory.url, factory)
    payload = bytes(range(256)) * 1000
    session.sendMessage(payload, isBinary=True)
    ended = await session.closed
    await serving.stop()

    assert session.messages == [payload] * 20
    assert ended == (True, 3000, "enough")
