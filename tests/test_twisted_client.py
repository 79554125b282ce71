"""The client's side on Twisted: connecting over real sockets, and what an attempt fails with."""

from __future__ import annotations

import socket
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.internet.interfaces import IProtocol
from twisted.internet.testing import StringTransport
from zope.interface.verify import verifyObject

from tests.http_peers import HttpServer, silent
from tests.loopback import (
    NotingClient,
    OfflineReactor,
    Serving,
    exchange,
    failure_of,
    nothing_left_over,
    on_reactor,
    the_reactor,
    until,
)
from wsfactory import (
    TLS,
    CloseCause,
    ConnectError,
    HandshakeError,
    HandshakeTimeout,
    Headers,
    InvalidState,
    InvalidURL,
    OptionError,
)
from wsfactory.opening import Connecting
from wsfactory.testing import upgrade_response
from wsfactory.twisted import ClientFactory, ClientProtocol, ServerProtocol, connect

nothing_is_left_over = pytest_twisted.async_yield_fixture(autouse=True)(nothing_left_over)


UNAUTHORIZED = (
    b"HTTP/1.1 401 Who are you\r\nWWW-Authenticate: Basic\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\n"
    b"Content-Length: 5\r\n\r\nhello"
)


# The factory.


def test_a_factory_makes_protocols_as_twisted_expects() -> None:
    factory = ClientFactory("ws://localhost/", NotingClient)
    session = factory.buildProtocol(None)

    assert verifyObject(IProtocol, session)
    assert session.factory is factory
    assert not factory.noisy


def test_a_protocol_may_be_given_later_or_by_for_protocol() -> None:
    later = ClientFactory("ws://localhost/")
    later.protocol = NotingClient
    by_name: Any = ClientFactory.forProtocol(NotingClient, "ws://localhost/", maxFragments=5)  # type: ignore[arg-type]

    assert isinstance(later.buildProtocol(None), NotingClient)
    assert isinstance(by_name.buildProtocol(None), NotingClient)
    assert by_name.options.maxFragments == 5


def test_without_a_protocol_it_says_what_to_do() -> None:
    factory = ClientFactory("ws://localhost/")
    with pytest.raises(InvalidState, match=r"ClientFactory\(url, MyProtocol\), or factory.protocol = MyProtocol"):
        factory.buildProtocol(None)
    with pytest.raises(InvalidState, match="the factory has no protocol"):
        connect("ws://localhost/", factory)


def test_a_bad_url_or_option_is_an_error_at_once() -> None:
    with pytest.raises(InvalidURL):
        ClientFactory("http://localhost/", NotingClient)
    with pytest.raises(InvalidURL):
        connect("ws://localhost:99999/")
    with pytest.raises(OptionError, match="unknown option 'maxMessageSize'"):
        ClientFactory("ws://localhost/", NotingClient, maxMessageSize=5)


def test_a_wss_client_sends_nothing_over_plain_tcp() -> None:
    """``reactor.connectTCP`` and ``connectSSL`` both take any factory."""
    factory = ClientFactory("wss://anna:secret@localhost/", NotingClient, reactor=OfflineReactor())
    session: Any = factory.buildProtocol(None)
    transport: Any = StringTransport()
    session.makeConnection(transport)

    assert session.names == ["onConnecting", "onHandshakeFailed"]
    assert "without TLS" in str(session.calls[-1])
    assert (transport.value(), transport.disconnected) == (b"", True)


@pytest.mark.parametrize(
    ("wrong", "fault", "words"),
    [
        ({"proxy": "socks5://localhost/"}, InvalidURL, "a proxy is written http://host:port"),
        ({"proxy": b"http://localhost/"}, OptionError, "proxy takes a URL"),
        ({"tls": "yes"}, OptionError, "tls takes a wsfactory.TLS or an IOpenSSLClientConnectionCreator"),
        ({"maxRedirects": -1}, OptionError, "maxRedirects takes a whole number"),
        ({"protocol": "x"}, OptionError, r"a subclass of wsfactory\.twisted\.ClientProtocol"),
        ({"protocol": ServerProtocol}, OptionError, r"a subclass of wsfactory\.twisted\.ClientProtocol"),
    ],
)
def test_what_connecting_would_fail_for_is_an_error_at_once(
    wrong: dict[str, Any], fault: type[Exception], words: str
) -> None:
    with pytest.raises(fault, match=words):
        ClientFactory("ws://localhost/", **wrong)


def test_what_makes_a_protocol_need_not_be_a_class() -> None:
    factory = ClientFactory("ws://localhost/", lambda: NotingClient())  # type: ignore[arg-type]

    assert isinstance(factory.buildProtocol(None), NotingClient)


# Connecting.


@on_reactor
async def test_connect_fires_with_the_protocol_once_it_is_open() -> None:
    serving = Serving()
    address = await serving.listen()
    factory = ClientFactory(f"ws://127.0.0.1:{address.port}/", NotingClient)
    session: Any = await connect(factory.url, factory)
    open_then = (session.isOpen, list(session.names), session in factory.connections)
    answer = await exchange(session)
    await serving.stop()

    assert open_then == (True, ["onConnecting", "onConnect", "onOpen"], True)
    assert answer == "hello"


@on_reactor
async def test_without_a_factory_options_are_enough() -> None:
    serving = Serving(subprotocols=["chat"])
    address = await serving.listen()
    url = f"ws://127.0.0.1:{address.port}/"
    session = await connect(url, subprotocols=["chat"], maxFragments=5, headers={"X-Test": "1"})
    agreed = (session.subprotocol, session.factory.options.maxFragments)
    session.dropConnection(abort=True)
    await serving.stop()

    assert isinstance(session, ClientProtocol)
    assert agreed == ("chat", 5)


@on_reactor
async def test_connect_may_lead_elsewhere_than_the_factorys_url() -> None:
    serving = Serving()
    address = await serving.listen()
    factory = ClientFactory("ws://localhost:1/", NotingClient, maxFragments=7)
    session: Any = await connect(f"ws://127.0.0.1:{address.port}/", factory)
    answer = await exchange(session)
    await serving.stop()

    assert answer == "hello"
    assert session.factory.options.maxFragments == 7


def test_options_beside_a_factory_would_be_those_of_its_other_connections() -> None:
    factory = ClientFactory("ws://localhost/", NotingClient)
    with pytest.raises(OptionError, match=r"a factory or options, not both: .* maxQueue"):
        connect("ws://localhost/", factory, maxQueue=7)

    assert factory.options.maxQueue == (32, 8)


@on_reactor
async def test_it_works_with_reactor_connect_tcp_and_with_endpoints() -> None:
    serving, opened = Serving(), []
    address = await serving.listen()

    class Client(NotingClient):
        def onOpen(self) -> None:
            opened.append(self)

    factory = ClientFactory(f"ws://127.0.0.1:{address.port}/", Client)
    the_reactor().connectTCP("127.0.0.1", address.port, factory)
    endpoint: Any = TCP4ClientEndpoint(the_reactor(), "127.0.0.1", address.port)
    await endpoint.connect(factory)
    await until(lambda: len(opened) == 2)
    answers = [await exchange(session) for session in opened]
    await serving.stop()

    assert answers == ["hello", "hello"]


@on_reactor
async def test_it_connects_to_a_unix_socket(tmp_path: Path) -> None:
    serving = Serving()
    await serving.listen(f"unix:{tmp_path}/x.sock")
    factory = ClientFactory(f"ws+unix://{tmp_path}/x.sock:/path", NotingClient)
    session: Any = await connect(factory.url, factory)
    answer = await exchange(session)
    peer = session.peer
    await serving.stop()

    assert (answer, peer) == ("hello", "unix")


@pytest.mark.skipif(not socket.has_ipv6, reason="IPv6")
@on_reactor
async def test_it_connects_to_an_ipv6_literal() -> None:
    serving = Serving()
    address = await serving.listen("ws://[::1]:0/")
    factory = ClientFactory(f"ws://[::1]:{address.port}/", NotingClient)
    session: Any = await connect(factory.url, factory)
    peer = session.peer
    answer = await exchange(session)
    await serving.stop()

    assert (answer, peer) == ("hello", f"[::1]:{address.port}")


@on_reactor
async def test_a_name_is_resolved() -> None:
    serving = Serving()
    address = await serving.listen()
    factory = ClientFactory(f"ws://localhost:{address.port}/", NotingClient)
    answer = await exchange(await connect(factory.url, factory))
    await serving.stop()

    assert answer == "hello"


@on_reactor
async def test_what_the_server_hears_is_what_the_factory_and_the_url_say() -> None:
    server = HttpServer(upgrade_response)
    port = await server.listen()
    url = f"ws://user:pass@127.0.0.1:{port}/path?query"
    session = await connect(url, headers={"X-Test": "1"}, subprotocols=["a", "b"])
    session.dropConnection(abort=True)
    (heard,) = server.heard
    await server.stop()

    assert heard.target == "/path?query"
    assert heard.headers.get("Host") == f"127.0.0.1:{port}"
    assert heard.headers.get("Authorization") == "Basic dXNlcjpwYXNz"
    assert heard.headers.get("X-Test") == "1"
    assert heard.headers.tokens("Sec-WebSocket-Protocol") == ["a", "b"]


@on_reactor
async def test_on_connecting_may_lead_elsewhere() -> None:
    """A fresh token, or another server: what it returns is what is dialled and sent."""
    server = HttpServer(upgrade_response)
    port = await server.listen()
    token: Deferred[str] = Deferred()

    class Client(NotingClient):
        async def onConnecting(self, details: Connecting) -> Connecting:
            headers = Headers({"Authorization": f"Bearer {await token}"})
            return replace(details, url=replace(details.url, port=port), headers=headers)

    factory = ClientFactory("ws://127.0.0.1:1/", Client)
    connecting = connect(factory.url, factory)
    token.callback("fresh")
    session = await connecting
    session.dropConnection(abort=True)
    (heard,) = server.heard
    await server.stop()

    assert heard.headers.get("Authorization") == "Bearer fresh"


# Refusals.


@on_reactor
async def test_a_refusal_carries_status_headers_and_body() -> None:
    server = HttpServer(lambda request: UNAUTHORIZED)
    port = await server.listen()
    factory = ClientFactory(f"ws://127.0.0.1:{port}/", NotingClient)
    error = await failure_of(connect(factory.url, factory))
    await server.stop()

    assert type(error) is HandshakeError
    assert (error.status, error.reason, error.body) == (401, "Who are you", b"hello")
    assert Headers(error.headers).get("WWW-Authenticate") == "Basic"
    assert Headers(error.headers).get_all("Set-Cookie") == ["a=1", "b=2"]
    assert str(error) == "the server answered 401 Who are you"


@on_reactor
async def test_a_refusals_body_may_end_with_the_connection() -> None:
    server = HttpServer(lambda request: b"HTTP/1.1 404 Not Found\r\n\r\nnothing here")
    port = await server.listen()
    connecting = connect(f"ws://127.0.0.1:{port}/")
    await until(lambda: server.heard)
    server.raws[0].wire.loseConnection()
    error = await failure_of(connecting)
    await server.stop()

    assert (error.status, error.body) == (404, b"nothing here")


@on_reactor
async def test_the_protocol_hears_why_it_will_not_open() -> None:
    server, sessions = HttpServer(lambda request: UNAUTHORIZED), []

    class Client(NotingClient):
        def __init__(self) -> None:
            super().__init__()
            sessions.append(self)

    port = await server.listen()
    factory = ClientFactory(f"ws://127.0.0.1:{port}/", Client)
    error = await failure_of(connect(factory.url, factory))
    await server.stop()

    (session,) = sessions
    assert session.names == ["onConnecting", "onHandshakeFailed", "onClose"]
    assert session.calls[1] == ("onHandshakeFailed", error)
    assert session.calls[2] == ("onClose", False, 1006, str(error))
    assert session.closeInfo is not None
    assert session.closeInfo.cause is CloseCause.HANDSHAKE_REFUSED


@on_reactor
async def test_a_port_that_refuses_is_a_connect_error() -> None:
    with socket.socket() as unheard:
        unheard.bind(("127.0.0.1", 0))
        url = f"ws://127.0.0.1:{unheard.getsockname()[1]}/"
        error = await failure_of(connect(url))

    assert type(error) is ConnectError
    assert str(error).startswith(f"cannot connect to {url}: Connection was refused")
    assert error.__cause__ is not None


@on_reactor
async def test_a_name_that_does_not_resolve_is_a_connect_error() -> None:
    error = await failure_of(connect("ws://no-such-name.invalid/"))

    assert type(error) is ConnectError
    assert "no-such-name.invalid" in str(error)


@on_reactor
async def test_a_unix_socket_that_is_not_there_is_a_connect_error(tmp_path: Path) -> None:
    error = await failure_of(connect(f"ws+unix://{tmp_path}/none.sock"))

    assert type(error) is ConnectError


@on_reactor
async def test_credentials_of_the_url_are_in_no_error() -> None:
    error = await failure_of(connect("ws://user:secret@127.0.0.1:1/"))

    assert "secret" not in str(error)
    assert "user" not in str(error)


@on_reactor
async def test_a_server_that_never_answers_is_a_handshake_timeout() -> None:
    server = HttpServer(silent)
    port = await server.listen()
    error = await failure_of(connect(f"ws://127.0.0.1:{port}/", openHandshakeTimeout=0.05))
    await server.stop()

    assert type(error) is HandshakeTimeout
    assert str(error) == "not open within 0.05 s"


@on_reactor
async def test_a_server_that_never_speaks_tls_is_a_handshake_timeout() -> None:
    server = HttpServer(silent)
    port = await server.listen()
    error = await failure_of(connect(f"wss://127.0.0.1:{port}/", tls=TLS(verify=False), openHandshakeTimeout=0.05))
    await server.stop()

    assert type(error) is HandshakeTimeout


def test_a_network_that_never_answers_is_a_handshake_timeout() -> None:
    """Only one timeout runs: which of two of the same length fires first would be left to chance."""
    reactor: Any = OfflineReactor()
    factory = ClientFactory("ws://127.0.0.1:9000/", NotingClient, reactor=reactor, openHandshakeTimeout=5)
    outcome: list[Any] = []
    connect(factory.url, factory).addBoth(outcome.append)
    reactor.pump([1.0] * 5 + [0.02, 0.02])

    assert reactor.tcpClients[0][3] is None
    assert outcome[0].check(HandshakeTimeout)
    assert reactor.getDelayedCalls() == []


def test_without_a_handshake_timeout_connecting_still_ends() -> None:
    reactor: Any = OfflineReactor()
    factory = ClientFactory("ws://127.0.0.1:9000/", NotingClient, reactor=reactor, openHandshakeTimeout=None)
    connect(factory.url, factory).addErrback(lambda _: None)

    assert reactor.tcpClients[0][3] == 30.0
