"""Giving up a connection on Twisted: cancelling connect() at every stage leaves nothing behind."""

from __future__ import annotations

from typing import Any

import pytest
import pytest_twisted
from twisted.internet.defer import CancelledError, Deferred

from tests.http_peers import HttpServer, silent
from tests.loopback import (
    Echo,
    NotingClient,
    OfflineReactor,
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
    HandshakeError,
)
from wsfactory.opening import Connecting
from wsfactory.twisted import ClientFactory, connect

nothing_is_left_over = pytest_twisted.async_yield_fixture(autouse=True)(nothing_left_over)


def redirect(location: str, status: int = 302) -> bytes:
    return f"HTTP/1.1 {status} Elsewhere\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n".encode()


# Giving up.


async def cancelled(connecting: Deferred[Any]) -> Any:
    connecting.cancel()
    return await failure_of(connecting)


@on_reactor
async def test_cancelling_while_the_application_is_asked_asks_no_more() -> None:
    told: list[str] = []
    asked: Deferred[None] = Deferred(lambda _: told.append("cancelled"))

    class Client(NotingClient):
        def onConnecting(self, details: Connecting) -> Deferred[None]:
            return asked

    factory = ClientFactory("ws://127.0.0.1:1/", Client)
    error = await cancelled(connect(factory.url, factory))
    await until(lambda: told)

    assert type(error) is CancelledError
    assert told == ["cancelled"]


@pytest.mark.parametrize("url", ["ws://127.0.0.1:9000/", "wss://127.0.0.1:9000/", "ws+unix:///run/x.sock"])
def test_cancelling_while_tcp_is_being_connected_stops_that(url: str) -> None:
    reactor: Any = OfflineReactor()
    factory = ClientFactory(url, NotingClient, reactor=reactor)
    connecting, outcome = connect(url, factory), []
    connecting.addErrback(lambda failure: outcome.append(failure.type))
    connecting.cancel()
    reactor.pump([0.0, 0.02, 60.0])
    (connector,) = reactor.connectors

    assert outcome == [CancelledError]
    assert connector.stoppedConnecting
    assert reactor.getDelayedCalls() == []
    assert not factory.openings


@pytest.mark.parametrize("scheme", ["ws", "wss"])
@on_reactor
async def test_cancelling_while_the_server_says_nothing_closes_the_socket(scheme: str) -> None:
    server = HttpServer(silent)
    port = await server.listen()
    connecting = connect(f"{scheme}://127.0.0.1:{port}/", tls=TLS(verify=False))
    await until(lambda: server.raws)
    error = await cancelled(connecting)
    await server.raws[0].lost
    await server.stop()

    assert type(error) is CancelledError


@on_reactor
async def test_cancelling_while_the_proxy_says_nothing_closes_the_socket() -> None:
    proxy = HttpServer(silent)
    port = await proxy.listen()
    connecting = connect("ws://127.0.0.1:1/", proxy=f"http://127.0.0.1:{port}")
    await until(lambda: proxy.heard)
    error = await cancelled(connecting)
    await proxy.raws[0].lost
    await proxy.stop()

    assert type(error) is CancelledError


@on_reactor
async def test_cancelling_amid_a_refusal_closes_the_socket() -> None:
    server = HttpServer(lambda request: b"HTTP/1.1 404 Not Found\r\nContent-Length: 100\r\n\r\nnot all")
    port = await server.listen()
    sessions: list[Any] = []

    class Client(NotingClient):
        def __init__(self) -> None:
            super().__init__()
            sessions.append(self)

    factory = ClientFactory(f"ws://127.0.0.1:{port}/", Client)
    connecting = connect(factory.url, factory)
    await until(lambda: server.heard)
    error = await cancelled(connecting)
    await server.raws[0].lost
    await server.stop()

    assert type(error) is CancelledError


@on_reactor
async def test_cancelling_while_on_connect_is_awaited_closes_the_socket() -> None:
    asked: list[Deferred[None]] = []

    class Client(NotingClient):
        def onConnect(self, response: object) -> Deferred[None]:
            asked.append(Deferred())
            return asked[0]

    serving = Serving()
    address = await serving.listen()
    factory = ClientFactory(f"ws://127.0.0.1:{address.port}/", Client)
    connecting = connect(factory.url, factory)
    await until(lambda: asked)
    error = await cancelled(connecting)
    session = await serving.session()
    ended = await session.closed
    await serving.stop()

    assert type(error) is CancelledError
    assert ended[:2] == (False, 1006)


@on_reactor
async def test_cancelling_at_a_later_hop_closes_its_socket() -> None:
    server = HttpServer(lambda request: redirect("/there") if request.target == "/here" else None)
    port = await server.listen()
    connecting = connect(f"ws://127.0.0.1:{port}/here")
    await until(lambda: len(server.heard) == 2)
    error = await cancelled(connecting)
    await server.raws[1].lost
    await server.stop()

    assert type(error) is CancelledError


@on_reactor
async def test_cancelling_what_is_open_does_nothing() -> None:
    serving = Serving()
    address = await serving.listen()
    factory = ClientFactory(f"ws://127.0.0.1:{address.port}/", NotingClient)
    connecting = connect(factory.url, factory)
    session = await connecting
    connecting.cancel()
    answer = await exchange(session)
    await serving.stop()

    assert answer == "hello"


@on_reactor
async def test_a_protocol_may_give_up_while_it_is_being_connected() -> None:
    class Client(NotingClient):
        def onConnecting(self, details: Connecting) -> None:
            self.dropConnection(abort=True)

    factory = ClientFactory("ws://127.0.0.1:1/", Client)
    error = await failure_of(connect(factory.url, factory))

    assert type(error) is HandshakeError
    assert "dropped by the application" in str(error)


@on_reactor
async def test_attempts_that_fail_leave_nothing_behind() -> None:
    serving = Serving(Echo)
    address = await serving.listen()
    factory = ClientFactory(f"ws://127.0.0.1:{address.port}/", NotingClient, maxRedirects=0)
    await serving.stop()
    errors = [await failure_of(connect(factory.url, factory)) for _ in range(3)]

    assert {type(error) for error in errors} == {ConnectError}
    assert not factory.openings
    assert not factory.connections
    assert factory.counters.failed[CloseCause.CONNECT_FAILED] == 3
