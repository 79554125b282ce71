"""Where to listen and where to connect: URLs and descriptions in, Twisted endpoints out."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import CancelledError
from twisted.internet.endpoints import TCP4ServerEndpoint
from twisted.internet.error import CannotListenError, ConnectingCancelledError, DNSLookupError, UserError
from twisted.internet.error import ConnectError as TwistedConnectError
from twisted.internet.error import TimeoutError as TwistedTimeoutError
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.ssl import CertificateOptions
from twisted.python.failure import Failure

from tests.loopback import OfflineReactor, on_reactor, the_reactor
from wsfactory.errors import InvalidURL, OptionError
from wsfactory.twisted.endpoints import client_endpoint, server_endpoint
from wsfactory.urls import parse_url


@pytest.fixture
def reactor() -> Any:
    return OfflineReactor()


@pytest.fixture
def factory() -> Factory:
    return Factory.forProtocol(Protocol)


# Listening.


@pytest.mark.parametrize(
    ("where", "port", "interface"),
    [
        ("ws://127.0.0.1:9000/", 9000, "127.0.0.1"),
        ("ws://127.0.0.1:9000/some/path?query", 9000, "127.0.0.1"),
        ("WS://LOCALHOST:9000", 9000, "127.0.0.1"),
        ("ws://0.0.0.0/", 80, "0.0.0.0"),
        ("ws://127.0.0.1:0/", 0, "127.0.0.1"),
        ("ws://127.0.0.1:0", 0, "127.0.0.1"),
        ("ws://127.0.0.1:00?x=:0", 0, "127.0.0.1"),
        ("ws://[::1]:9000/", 9000, "::1"),
        ("ws://[::]:0/", 0, "::"),
        ("tcp:9000", 9000, ""),
        ("tcp:9000:interface=127.0.0.1", 9000, "127.0.0.1"),
        ("tcp6:9000", 9000, "::"),
    ],
)
def test_a_url_or_a_description_names_where_to_listen(
    reactor: Any, factory: Factory, where: str, port: int, interface: str
) -> None:
    server_endpoint(where, reactor).listen(factory)

    assert [(server[0], server[3]) for server in reactor.tcpServers] == [(port, interface)]


def test_an_endpoint_names_itself(reactor: Any) -> None:
    endpoint = TCP4ServerEndpoint(reactor, 9000)

    assert server_endpoint(endpoint, None) is endpoint


@pytest.mark.parametrize("where", ["ws+unix:///run/x.sock", "ws+unix:///run/x.sock:/path", "unix:/run/x.sock"])
def test_a_unix_socket_has_a_path(reactor: Any, factory: Factory, where: str) -> None:
    server_endpoint(where, reactor).listen(factory)

    assert [server[0] for server in reactor.unixServers] == ["/run/x.sock"]


@pytest.mark.parametrize(("where", "interface"), [("wss://127.0.0.1:9443/", "127.0.0.1"), ("wss://[::1]:9443/", "::1")])
def test_a_wss_url_listens_with_tls(reactor: Any, factory: Factory, where: str, interface: str) -> None:
    tls = CertificateOptions()
    server_endpoint(where, reactor, tls).listen(factory)

    assert [(server[0], server[2], server[4]) for server in reactor.sslServers] == [(9443, tls, interface)]


def test_a_wss_url_without_a_certificate_is_an_error_that_says_what_to_do(reactor: Any) -> None:
    with pytest.raises(OptionError, match=r"tls=CertificateOptions\(\.\.\.\)"):
        server_endpoint("wss://127.0.0.1:9443/", reactor)


@pytest.mark.parametrize("where", ["ws://example.com:9000/", "ws:127.0.0.1:9000", "ws://127.0.0.1:99999/", "ws://"])
def test_what_is_no_address_of_this_machine_is_an_error(reactor: Any, where: str) -> None:
    with pytest.raises(InvalidURL):
        server_endpoint(where, reactor)


def test_a_zero_in_the_credentials_is_no_port(reactor: Any, factory: Factory) -> None:
    server_endpoint("ws://user:0@127.0.0.1:9000/", reactor).listen(factory)

    assert reactor.tcpServers[0][0] == 9000


def test_a_description_of_no_known_kind_is_an_error(reactor: Any) -> None:
    with pytest.raises(ValueError, match="nonsense"):
        server_endpoint("nonsense:5", reactor)


@on_reactor
async def test_without_a_reactor_it_is_the_global_one(factory: Factory) -> None:
    port: Any = await server_endpoint("ws://127.0.0.1:0/", None).listen(factory)
    number = port.getHost().port
    await port.stopListening()

    assert number > 0


@on_reactor
async def test_a_port_in_use_is_an_error(factory: Factory) -> None:
    port: Any = await server_endpoint("ws://127.0.0.1:0/", the_reactor()).listen(factory)
    taken = f"ws://127.0.0.1:{port.getHost().port}/"
    with pytest.raises(CannotListenError, match="in use"):
        await server_endpoint(taken, the_reactor()).listen(factory)
    await port.stopListening()


# Connecting.


class Attempt:
    """One attempt to connect to *url*, on a reactor that connects nowhere."""

    def __init__(self, url: str, **keywords: Any) -> None:
        self.reactor: Any = OfflineReactor()
        endpoint = client_endpoint(parse_url(url), self.reactor, **keywords)
        self.outcome: list[Any] = []
        self.connecting: Any = endpoint.connect(Factory.forProtocol(Protocol))
        self.connecting.addBoth(self.outcome.append)

    @property
    def clients(self) -> list[tuple[Any, ...]]:
        return [client[:2] for client in self.reactor.tcpClients]

    @property
    def failure(self) -> Failure:
        (failure,) = self.outcome
        assert isinstance(failure, Failure)
        return failure


@pytest.mark.parametrize(
    ("url", "client"),
    [
        ("ws://127.0.0.1:9000/", ("127.0.0.1", 9000)),
        ("ws://127.0.0.1/", ("127.0.0.1", 80)),
        ("wss://127.0.0.1/", ("127.0.0.1", 443)),
        ("ws://[::1]:9000/", ("::1", 9000)),
        ("ws://example.com/", ("192.0.2.1", 80)),
    ],
)
def test_a_client_connects_to_the_urls_host_and_port(url: str, client: tuple[str, int]) -> None:
    assert Attempt(url).clients == [client]


def test_a_client_connects_to_the_urls_socket() -> None:
    assert [client[0] for client in Attempt("ws+unix:///run/x.sock:/path").reactor.unixClients] == ["/run/x.sock"]


@pytest.mark.parametrize("url", ["ws://example.com/", "wss://example.com/", "ws://[::1]/"])
def test_a_proxy_is_where_a_client_connects_to_instead(url: str) -> None:
    assert Attempt(url, proxy="http://127.0.0.1:3128").clients == [("127.0.0.1", 3128)]


@pytest.mark.parametrize("proxy", ["socks5://127.0.0.1:1080", "127.0.0.1:3128", "http://127.0.0.1:3128/path"])
def test_what_is_no_http_proxy_is_refused(proxy: str) -> None:
    with pytest.raises(InvalidURL):
        client_endpoint(parse_url("ws://example.com/"), None, proxy=proxy)


@pytest.mark.parametrize("url", ["ws://127.0.0.1:9000/", "ws+unix:///run/x.sock"])
def test_without_a_timeout_of_its_own_an_endpoint_leaves_no_timer(url: str) -> None:
    attempt = Attempt(url)
    clients = attempt.reactor.tcpClients or attempt.reactor.unixClients

    # (host, port, factory, timeout, bind address), (path, factory, timeout, check the pid)
    assert clients[0][-2] is None


def test_a_timeout_ends_an_attempt() -> None:
    attempt = Attempt("ws://127.0.0.1:9000/", timeout=5.0)
    assert attempt.reactor.tcpClients[0][3] == 5.0

    attempt.reactor.tcpClients[0][2].clientConnectionFailed(None, Failure(TwistedTimeoutError()))
    attempt.reactor.advance(60)
    assert attempt.failure.check(UserError, TwistedTimeoutError)


def test_cancelling_ends_an_attempt() -> None:
    attempt = Attempt("ws://127.0.0.1:9000/")
    attempt.connecting.cancel()

    assert attempt.failure.check(CancelledError, ConnectingCancelledError)
    assert attempt.reactor.getDelayedCalls() == []


def test_tls_that_is_of_no_use_is_refused() -> None:
    with pytest.raises(OptionError, match="tls='yes' is not allowed"):
        client_endpoint(parse_url("wss://example.com/"), None, tls="yes")


def test_without_tls_for_twisted_wss_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "wsfactory.twisted.certificates", None)
    with pytest.raises(OptionError, match=r"pip install wsfactory\[tls\]"):
        client_endpoint(parse_url("wss://example.com/"), None)


@on_reactor
async def test_a_name_that_does_not_resolve_is_the_endpoints_error() -> None:
    with pytest.raises(DNSLookupError):
        await client_endpoint(parse_url("ws://no-such-name.invalid/"), None).connect(Factory.forProtocol(Protocol))


@on_reactor
async def test_a_socket_that_is_not_there_is_the_endpoints_error(tmp_path: Path) -> None:
    url = parse_url(f"ws+unix://{tmp_path}/none.sock")
    with pytest.raises(TwistedConnectError, match="No such file"):
        await client_endpoint(url, None).connect(Factory.forProtocol(Protocol))
