"""The client's side on Twisted: connecting over real sockets, every way that can fail, and giving up at every stage."""

from __future__ import annotations

import socket
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.internet.interfaces import IProtocol
from zope.interface.verify import verifyObject

from tests.certificates import Authority
from tests.loopback import (
    Echo,
    HttpProxy,
    HttpServer,
    NotingClient,
    NotingServer,
    OfflineReactor,
    Serving,
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
    Request,
)
from wsfactory.opening import Connecting
from wsfactory.testing import upgrade_response
from wsfactory.twisted import ClientFactory, ClientProtocol, connect

nothing_is_left_over = pytest_twisted.async_yield_fixture(autouse=True)(nothing_left_over)

UNAUTHORIZED = (
    b"HTTP/1.1 401 Who are you\r\nWWW-Authenticate: Basic\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\n"
    b"Content-Length: 5\r\n\r\nhello"
)
TUNNEL = None  # what makes an HttpProxy do its work


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("stranger"), "somebody else")


def redirect(location: str, status: int = 302) -> bytes:
    return f"HTTP/1.1 {status} Elsewhere\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n".encode()


def silent(request: Request) -> None:
    """Say nothing."""


async def failure_of(connecting: Deferred[Any]) -> Any:
    """Return the exception that *connecting* fails with."""
    try:
        session = await connecting
    except Exception as error:
        return error
    pytest.fail(f"{session} is open")


async def exchange(session: Any) -> Any:
    """Say hello, and return the answer; then close."""
    session.sendMessage("hello")
    await until(lambda: session.messages)
    session.sendClose()
    await session.closed
    return session.messages[0]


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
async def test_connect_may_change_a_factorys_url_and_options() -> None:
    serving = Serving()
    address = await serving.listen()
    factory = ClientFactory("ws://localhost:1/", NotingClient, maxFragments=7)
    session: Any = await connect(f"ws://127.0.0.1:{address.port}/", factory, maxQueue=3)
    answer = await exchange(session)
    await serving.stop()

    assert answer == "hello"
    assert (factory.options.maxFragments, factory.options.maxQueue) == (7, (3, 0))


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
