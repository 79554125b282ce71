"""A tunnel through an HTTP proxy: CONNECT, an answer, and then nothing but what the wrapped protocol speaks."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.internet.error import ConnectError as TwistedConnectError
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from zope.interface import implementer

from wsfactory.errors import ConnectError
from wsfactory.proxy import parse_proxy_url
from wsfactory.twisted.tunnel import TunnelEndpoint
from wsfactory.urls import parse_url

LOST = Failure(ConnectionDone("bye"))
AnyStringTransport: Any = StringTransport


class Inner(Protocol):
    """What speaks through the tunnel."""

    def __init__(self) -> None:
        self.events: list[Any] = []

    def connectionMade(self) -> None:
        self.events.append("made")

    def dataReceived(self, data: bytes) -> None:
        self.events.append(data)

    def connectionLost(self, reason: Failure = LOST) -> None:
        self.events.append(reason.type)


@implementer(IHalfCloseableProtocol)
class HalfClosing(Inner):
    """The same, and it wants to hear of half-closing."""

    def readConnectionLost(self) -> None:
        self.events.append("eof")

    def writeConnectionLost(self) -> None: ...


class ToProxy:
    """An endpoint that leads to a proxy which the test plays."""

    def __init__(self) -> None:
        self.transport = AnyStringTransport()
        self.protocol: Any = None

    def connect(self, factory: Factory) -> Deferred[Any]:
        self.protocol = factory.buildProtocol(None)
        self.protocol.makeConnection(self.transport)
        return succeed(self.protocol)


class Bench:
    """A tunnel on the way, its proxy, and what came of it."""

    def __init__(
        self, proxy: str = "http://proxy:3128", url: str = "ws://example.com/x", inner: type[Inner] = Inner
    ) -> None:
        self.proxy, self.clock, self.inner = ToProxy(), Clock(), inner()
        endpoint = TunnelEndpoint(
            self.proxy,  # type: ignore[arg-type]
            parse_url(url),
            parse_proxy_url(proxy),
            self.clock,
            10.0,
        )
        self.outcome: list[Any] = []
        self.connecting = endpoint.connect(Factory.forProtocol(lambda: self.inner))
        self.connecting.addBoth(self.outcome.append)

    @property
    def asked(self) -> bytes:
        return self.proxy.transport.value()

    def answer(self, *parts: bytes) -> None:
        for part in parts:
            self.proxy.protocol.dataReceived(part)

    @property
    def error(self) -> str:
        """The text of the ConnectError that the attempt failed with."""
        (failure,) = self.outcome
        failure.trap(ConnectError)
        return str(failure.value)


def test_the_proxy_is_asked_for_the_urls_host_and_port() -> None:
    assert Bench().asked == b"CONNECT example.com:80 HTTP/1.1\r\nHost: example.com:80\r\n\r\n"
    assert Bench(url="wss://[::1]/").asked.startswith(b"CONNECT [::1]:443 HTTP/1.1\r\n")


def test_a_proxy_that_knows_us_gets_our_credentials() -> None:
    asked = Bench(proxy="http://user:pass%20word@proxy:3128").asked

    assert b"\r\nProxy-Authorization: Basic dXNlcjpwYXNzIHdvcmQ=\r\n" in asked


def test_what_speaks_through_the_tunnel_speaks_to_its_transport() -> None:
    bench = Bench()
    bench.answer(b"HTTP/1.1 200 Connection established\r\n\r\n", b"a", b"b")

    assert bench.outcome == [bench.inner]
    assert bench.inner.transport is bench.proxy.transport
    assert bench.inner.events == ["made", b"a", b"b"]


def test_nothing_is_connected_before_the_proxy_has_answered() -> None:
    bench = Bench()
    bench.answer(b"HTTP/1.1 200 Connection est")

    assert bench.outcome == bench.inner.events == []


def test_what_came_with_the_answer_belongs_to_the_other_end() -> None:
    bench = Bench()
    bench.answer(b"HTTP/1.1 200 OK\r\nVia: x\r\n\r\nearly", b"later")

    assert bench.inner.events == ["made", b"early", b"later"]


def test_a_proxy_that_refuses_says_why() -> None:
    bench = Bench()
    bench.answer(b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n")

    assert bench.error == "the proxy answered 407 Proxy Authentication Required"
    assert bench.proxy.transport.disconnecting
    assert bench.inner.events == []


def test_what_a_refusing_proxy_says_next_is_not_heard() -> None:
    """Its page could look like an answer."""
    bench = Bench()
    bench.answer(b"HTTP/1.1 403 Forbidden\r\n\r\n", b"HTTP/1.1 200 OK\r\n\r\n", b"more")

    assert bench.error == "the proxy answered 403 Forbidden"
    assert bench.inner.events == []


def test_a_proxy_that_does_not_speak_http_is_told_so() -> None:
    bench = Bench()
    bench.answer(b"SSH-2.0-OpenSSH_9.2\r\n\r\n")

    assert bench.error.startswith("the proxy's answer is not HTTP/1.1: ")
    assert bench.proxy.transport.disconnecting


def test_a_proxy_that_closes_without_an_answer_is_an_error() -> None:
    bench = Bench()
    bench.proxy.protocol.connectionLost(LOST)

    assert bench.error.startswith("the proxy closed the connection: ")


def test_a_slow_proxy_is_given_up() -> None:
    bench = Bench()
    bench.clock.advance(9.9)
    early = list(bench.outcome)
    bench.clock.advance(0.2)
    aborted = bench.proxy.transport.disconnected
    bench.proxy.protocol.connectionLost(LOST)

    assert early == []
    assert bench.error == "the proxy did not answer within 10 s"
    assert aborted
    assert bench.clock.getDelayedCalls() == []


def test_a_proxy_that_answers_in_time_leaves_no_timer() -> None:
    bench = Bench()
    bench.answer(b"HTTP/1.1 200 OK\r\n\r\n")

    assert bench.clock.getDelayedCalls() == []


def test_cancelling_aborts_the_connection_to_the_proxy() -> None:
    bench = Bench()
    bench.connecting.cancel()
    aborted = bench.proxy.transport.disconnected
    bench.proxy.protocol.connectionLost(LOST)

    assert aborted
    assert bench.outcome[0].check(CancelledError)
    assert bench.clock.getDelayedCalls() == []


def test_a_proxy_that_cannot_be_reached_is_the_endpoints_error() -> None:
    class Nowhere:
        def connect(self, factory: Factory) -> Deferred[Any]:
            raise TwistedConnectError

    url, proxy = parse_url("ws://example.com/"), parse_proxy_url("http://proxy:3128")
    outcome: list[Any] = []
    endpoint = TunnelEndpoint(Nowhere(), url, proxy, Clock())  # type: ignore[arg-type]
    endpoint.connect(Factory.forProtocol(Inner)).addErrback(outcome.append)

    assert outcome[0].check(TwistedConnectError)


def test_the_end_of_the_connection_is_passed_on() -> None:
    bench = Bench()
    bench.answer(b"HTTP/1.1 200 OK\r\n\r\n")
    bench.proxy.protocol.connectionLost(LOST)

    assert bench.inner.events == ["made", ConnectionDone]


@pytest.mark.parametrize(("inner", "hears"), [(HalfClosing, ["made", "eof"]), (Inner, ["made"])])
def test_the_end_of_the_others_sending_is_passed_on_to_whom_it_concerns(inner: type[Inner], hears: list[str]) -> None:
    bench = Bench(inner=inner)
    bench.answer(b"HTTP/1.1 200 OK\r\n\r\n")
    bench.proxy.protocol.readConnectionLost()
    bench.proxy.protocol.writeConnectionLost()

    assert bench.inner.events == hears
    assert bench.proxy.transport.disconnecting is (inner is Inner)


def test_a_proxy_that_half_closes_instead_of_answering_is_closed() -> None:
    bench = Bench()
    bench.proxy.protocol.readConnectionLost()

    assert bench.proxy.transport.disconnecting
