"""The client's way to its server on Twisted: redirects and proxies, over real sockets."""

from __future__ import annotations

from typing import Any

import pytest
import pytest_twisted

from tests.certificates import Authority
from tests.http_peers import HttpProxy, HttpServer, silent
from tests.loopback import (
    NotingClient,
    Serving,
    exchange,
    failure_of,
    nothing_left_over,
    on_reactor,
    until,
)
from wsfactory import (
    TLS,
    ConnectError,
    HandshakeError,
    HandshakeTimeout,
)
from wsfactory.testing import upgrade_response
from wsfactory.twisted import ClientFactory, connect

nothing_is_left_over = pytest_twisted.async_yield_fixture(autouse=True)(nothing_left_over)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


def redirect(location: str, status: int = 302) -> bytes:
    return f"HTTP/1.1 {status} Elsewhere\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n".encode()


# Redirects.


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("location", ["ws://127.0.0.1:{port}/there", "http://127.0.0.1:{port}/there"])
@on_reactor
async def test_redirects_are_followed(status: int, location: str) -> None:
    serving = Serving()
    address = await serving.listen()
    server = HttpServer(lambda request: redirect(location.format(port=address.port), status))
    port = await server.listen()
    factory = ClientFactory(f"ws://127.0.0.1:{port}/here", NotingClient)
    answer = await exchange(await connect(factory.url, factory))
    await server.stop()
    await serving.stop()

    assert answer == "hello"


@on_reactor
async def test_each_hop_is_a_protocol_of_its_own() -> None:
    sessions: list[Any] = []

    class Client(NotingClient):
        def __init__(self) -> None:
            super().__init__()
            sessions.append(self)

    server = HttpServer(lambda request: redirect("/there") if request.target == "/here" else upgrade_response(request))
    port = await server.listen()
    factory = ClientFactory(f"ws://127.0.0.1:{port}/here", Client)
    session = await connect(factory.url, factory)
    session.dropConnection(abort=True)
    targets = [request.target for request in server.heard]
    await server.stop()

    assert targets == ["/here", "/there"]
    assert sessions[1] is session
    assert sessions[0].names == ["onConnecting", "onClose"]
    assert sessions[0].calls[-1] == ("onClose", False, 1006, f"redirected to ws://127.0.0.1:{port}/there")


@pytest.mark.parametrize(("allowed", "hops"), [(5, 6), (0, 1), (2, 3)])
@on_reactor
async def test_redirects_come_to_an_end(allowed: int, hops: int) -> None:
    server = HttpServer(lambda request: redirect(request.target + "x"))
    port = await server.listen()
    factory = ClientFactory(f"ws://127.0.0.1:{port}/", NotingClient, maxRedirects=allowed)
    error = await failure_of(connect(factory.url, factory))
    heard = len(server.heard)
    await server.stop()

    assert type(error) is HandshakeError
    assert error.status == 302
    assert heard == hops


def test_five_redirects_are_followed_by_default() -> None:
    assert ClientFactory("ws://localhost/").maxRedirects == 5


@on_reactor
async def test_credentials_stay_with_the_server_that_they_were_meant_for() -> None:
    other = HttpServer(upgrade_response)
    elsewhere = await other.listen()
    server = HttpServer(
        lambda request: redirect("/there" if request.target == "/here" else f"ws://127.0.0.1:{elsewhere}/")
    )
    port = await server.listen()
    headers = {"Cookie": "a=1", "X-Test": "1"}
    session = await connect(f"ws://user:pass@127.0.0.1:{port}/here", headers=headers)
    session.dropConnection(abort=True)
    first, second, third = (request.headers for request in (*server.heard, *other.heard))
    await server.stop()
    await other.stop()

    assert first.get("Authorization") == second.get("Authorization") == "Basic dXNlcjpwYXNz"
    assert first.get("Cookie") == second.get("Cookie") == "a=1"
    assert third.get("Authorization") is third.get("Cookie") is None
    assert third.get("X-Test") == "1"


@on_reactor
async def test_a_redirect_from_wss_to_ws_is_refused(authority: Authority) -> None:
    server = HttpServer(lambda request: redirect("ws://127.0.0.1:1/"))
    port = await server.listen(tls=authority.issue("localhost").for_twisted())
    error = await failure_of(connect(f"wss://localhost:{port}/", tls=TLS(trustRoots=str(authority.path))))
    await server.stop()

    assert type(error) is HandshakeError
    assert "redirects from wss to ws" in str(error)


# Proxies.


@on_reactor
async def test_a_proxy_tunnels() -> None:
    serving, proxy = Serving(), HttpProxy(silent)
    address = await serving.listen()
    port = await proxy.listen()
    factory = ClientFactory(f"ws://127.0.0.1:{address.port}/", NotingClient, proxy=f"http://127.0.0.1:{port}")
    answer = await exchange(await connect(factory.url, factory))
    (asked,) = proxy.heard
    await proxy.stop()
    await serving.stop()

    assert answer == "hello"
    assert (asked.method, asked.target) == ("CONNECT", f"127.0.0.1:{address.port}")
    assert asked.headers.get("Proxy-Authorization") is None


@on_reactor
async def test_tls_goes_through_a_proxy_to_the_server(authority: Authority) -> None:
    serving, proxy = Serving(), HttpProxy(silent)
    address = await serving.listen("wss://127.0.0.1:0/", tls=authority.issue("localhost").for_twisted())
    port = await proxy.listen()
    factory = ClientFactory(
        f"wss://localhost:{address.port}/",
        NotingClient,
        proxy=f"http://user:pass@127.0.0.1:{port}",
        tls=TLS(trustRoots=str(authority.path)),
    )
    answer = await exchange(await connect(factory.url, factory))
    (asked,) = proxy.heard
    await proxy.stop()
    await serving.stop()

    assert answer == "hello"
    assert asked.target == f"localhost:{address.port}"
    assert asked.headers.get("Proxy-Authorization") == "Basic dXNlcjpwYXNz"


@on_reactor
async def test_a_proxy_that_refuses_is_a_connect_error() -> None:
    proxy = HttpProxy(lambda request: b"HTTP/1.1 407 Who are you\r\nContent-Length: 0\r\n\r\n")
    port = await proxy.listen()
    error = await failure_of(connect("ws://127.0.0.1:1/x", proxy=f"http://user:secret@127.0.0.1:{port}"))
    await proxy.stop()

    assert type(error) is ConnectError
    assert str(error) == "cannot connect to ws://127.0.0.1:1/x: the proxy answered 407 Who are you"


@on_reactor
async def test_a_proxy_that_is_not_there_is_a_connect_error() -> None:
    error = await failure_of(connect("ws://127.0.0.1:1/", proxy="http://127.0.0.1:1"))

    assert type(error) is ConnectError


@on_reactor
async def test_a_proxy_that_never_answers_is_a_handshake_timeout() -> None:
    proxy = HttpServer(silent)
    port = await proxy.listen()
    error = await failure_of(connect("ws://127.0.0.1:1/", proxy=f"http://127.0.0.1:{port}", openHandshakeTimeout=0.05))
    await until(lambda: proxy.raws[0].lost.has_happened)
    await proxy.stop()

    assert type(error) is HandshakeTimeout
