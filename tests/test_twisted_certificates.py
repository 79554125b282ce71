"""TLS of a client on Twisted: what is verified, what is shown, and why it failed, in words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from twisted.internet.interfaces import IHandshakeListener, IOpenSSLClientConnectionCreator
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.ssl import optionsForClientTLS
from twisted.internet.testing import StringTransport
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.python.failure import Failure
from twisted.test.iosim import FakeTransport, connect
from zope.interface import implementer
from zope.interface.verify import verifyObject

from tests.certificates import Authority
from wsfactory.errors import OptionError
from wsfactory.tls import TLS
from wsfactory.twisted.certificates import connection_creator, tls_fault

HOST = "localhost"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("stranger"), "somebody else")


@pytest.fixture(scope="module")
def trusting(authority: Authority) -> TLS:
    return TLS(trustRoots=str(authority.path))


@implementer(IHandshakeListener)
class Side(Protocol):
    """One side above TLS: whether that stands, and how it ended."""

    def __init__(self) -> None:
        self.stands = False
        self.fault: str | None = None
        self.lost: Failure | None = None

    def handshakeCompleted(self) -> None:
        self.stands = True

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.lost = reason
        assert reason.value is not None
        self.fault = tls_fault(self.transport, reason.value)


class Handshake:
    """A TLS handshake in memory, between what a Twisted server shows and what our client asks."""

    def __init__(self, shown: Any, asked: TLS, host: str = HOST) -> None:
        self.client, self.server = Side(), Side()
        creator: Any = connection_creator(host, asked)
        top = _above(creator, True, self.client), _above(shown, False, self.server)
        self.pump: Any = connect(
            top[1],
            FakeTransport(top[1], isServer=True),
            top[0],
            FakeTransport(top[0], isServer=False),
        )
        self.pump.flush()

    @property
    def succeeded(self) -> bool:
        sides = (self.client, self.server)
        return all(side.stands and side.lost is None for side in sides)


def _above(creator: Any, is_client: bool, side: Side) -> Any:
    return TLSMemoryBIOFactory(creator, is_client, Factory.forProtocol(lambda: side)).buildProtocol(None)


# What is verified.


def test_a_server_that_is_who_it_says_is_believed(authority: Authority, trusting: TLS) -> None:
    handshake = Handshake(authority.issue(HOST).for_twisted(), trusting)

    assert handshake.succeeded
    assert handshake.client.lost is None


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "fe80::1%eth0"])
def test_an_address_is_verified_as_one(authority: Authority, trusting: TLS, host: str) -> None:
    shown = authority.issue(host.partition("%")[0]).for_twisted()

    assert Handshake(shown, trusting, host).succeeded
    assert not Handshake(shown, trusting, "127.0.0.2").succeeded


def test_an_authority_that_is_not_trusted_is_refused_and_it_says_so(stranger: Authority, trusting: TLS) -> None:
    handshake = Handshake(stranger.issue(HOST).for_twisted(), trusting)

    assert not handshake.succeeded
    assert handshake.client.fault == "the certificate was not accepted: unable to get local issuer certificate"


def test_by_default_only_the_systems_authorities_are_trusted(authority: Authority) -> None:
    handshake = Handshake(authority.issue(HOST).for_twisted(), TLS())

    assert not handshake.succeeded


def test_a_certificate_for_another_name_is_refused_and_it_says_so(authority: Authority, trusting: TLS) -> None:
    handshake = Handshake(authority.issue("example.com").for_twisted(), trusting)

    assert not handshake.succeeded
    assert handshake.client.fault == f"the certificate is not for {HOST}"


def test_a_certificate_for_another_address_is_refused_and_it_says_so(authority: Authority, trusting: TLS) -> None:
    handshake = Handshake(authority.issue("192.0.2.1").for_twisted(), trusting, "192.0.2.2")

    assert not handshake.succeeded
    assert handshake.client.fault == "the certificate is not for 192.0.2.2"


def test_an_expired_certificate_is_refused_and_it_says_so(authority: Authority, trusting: TLS) -> None:
    handshake = Handshake(authority.issue(HOST, expired=True).for_twisted(), trusting)

    assert not handshake.succeeded
    assert handshake.client.fault == "the certificate was not accepted: certificate has expired"


def test_another_name_than_the_urls_may_be_expected(authority: Authority) -> None:
    expecting = TLS(trustRoots=str(authority.path), serverName="example.com")

    assert Handshake(authority.issue("example.com").for_twisted(), expecting).succeeded
    assert not Handshake(authority.issue(HOST).for_twisted(), expecting).succeeded


def test_several_authorities_may_be_trusted(authority: Authority, stranger: Authority, tmp_path: Path) -> None:
    both = tmp_path / "both.pem"
    both.write_bytes(b"comment\n" + authority.path.read_bytes() + b"another\n" + stranger.path.read_bytes() + b"end\n")
    trusting_both = TLS(trustRoots=str(both))

    assert Handshake(authority.issue(HOST).for_twisted(), trusting_both).succeeded
    assert Handshake(stranger.issue(HOST).for_twisted(), trusting_both).succeeded


@pytest.mark.parametrize("host", [HOST, "127.0.0.1"])
def test_without_verification_anybody_is_believed(stranger: Authority, host: str) -> None:
    """Another authority, another name, expired: only where the user said so."""
    shown = stranger.issue("example.com", expired=True).for_twisted()

    assert Handshake(shown, TLS(verify=False), host).succeeded


# What is said and shown.


@pytest.mark.parametrize("verify", [True, False])
@pytest.mark.parametrize(("host", "names"), [(HOST, [b"localhost"]), ("127.0.0.1", [None])])
def test_the_server_hears_which_name_is_meant_and_never_an_address(
    authority: Authority, verify: bool, host: str, names: list[bytes | None]
) -> None:
    """RFC 6066 section 3: literal addresses are not permitted in server_name."""
    heard: list[bytes | None] = []
    Handshake(authority.issue(host).with_sni(heard), TLS(trustRoots=str(authority.path), verify=verify), host)

    assert heard == names


@pytest.mark.parametrize("verify", [True, False])
def test_a_client_shows_itself_where_it_has_a_certificate(authority: Authority, verify: bool) -> None:
    own = authority.issue("client")
    asked = TLS(str(authority.path), certificate=str(own.path), key=str(own.key_path), verify=verify)
    server = authority.issue(HOST).asking_for(authority)

    assert Handshake(server, asked).succeeded
    assert not Handshake(server, TLS(str(authority.path), verify=verify)).succeeded


def test_certificate_and_key_may_be_in_one_file(authority: Authority, tmp_path: Path) -> None:
    own, both = authority.issue("client"), tmp_path / "both.pem"
    both.write_bytes(own.path.read_bytes() + own.key_path.read_bytes())
    asked = TLS(str(authority.path), certificate=str(both))

    assert Handshake(authority.issue(HOST).asking_for(authority), asked).succeeded


def test_a_connection_creator_of_twisteds_is_taken_as_it_is() -> None:
    creator = optionsForClientTLS(HOST)

    assert connection_creator(HOST, creator) is creator


def test_without_verification_it_is_a_connection_creator_too() -> None:
    assert verifyObject(IOpenSSLClientConnectionCreator, connection_creator(HOST, TLS(verify=False)))


# What is of no use.


@pytest.mark.parametrize("tls", [True, "roots.pem", object()])
def test_what_is_no_tls_is_refused(tls: object) -> None:
    with pytest.raises(OptionError, match=r"tls=.* is not allowed: it takes a wsfactory\.TLS or"):
        connection_creator(HOST, tls)


@pytest.mark.parametrize("what", ["trustRoots", "certificate", "key"])
def test_a_file_that_is_not_there_is_named(authority: Authority, what: str) -> None:
    own = authority.issue("client")
    files = {"certificate": str(own.path), "key": str(own.key_path)} | {what: "/none/such.pem"}
    with pytest.raises(OptionError, match=f"tls: {what}='/none/such.pem' cannot be read: No such file"):
        connection_creator(HOST, TLS(**files))  # type: ignore[arg-type]


@pytest.mark.parametrize("content", [b"", b"nothing of the kind"])
def test_trust_roots_without_a_certificate_are_refused(tmp_path: Path, content: bytes) -> None:
    """Nobody would be trusted, and the reason given would be the server's certificate."""
    roots = tmp_path / "roots.pem"
    roots.write_bytes(content)
    with pytest.raises(OptionError, match="there is no certificate in trustRoots="):
        connection_creator(HOST, TLS(trustRoots=str(roots)))


@pytest.mark.parametrize("what", ["trustRoots", "certificate"])
def test_a_broken_certificate_is_refused_and_its_file_named(tmp_path: Path, what: str) -> None:
    broken = tmp_path / "broken.pem"
    broken.write_bytes(b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
    with pytest.raises(OptionError, match=f"what is in '{broken}' is no certificate in PEM format"):
        connection_creator(HOST, TLS(**{what: str(broken)}))  # type: ignore[arg-type]


# What was wrong.


def test_who_does_not_speak_tls_is_told_by_openssls_reason(trusting: TLS) -> None:
    side = Side()
    client: Any = _above(connection_creator(HOST, trusting), True, side)
    transport: Any = StringTransport()
    client.makeConnection(transport)
    client.dataReceived(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    client.connectionLost(connectionDone)

    assert side.fault
    assert "version" in side.fault or "packet length" in side.fault


def test_who_leaves_during_the_handshake_is_told_so(trusting: TLS) -> None:
    side = Side()
    client: Any = _above(connection_creator(HOST, trusting), True, side)
    client.makeConnection(StringTransport())
    client.connectionLost(connectionDone)

    assert side.fault == "the connection was closed during the TLS handshake"


def test_the_end_of_an_established_connection_is_no_fault_of_tls(authority: Authority, trusting: TLS) -> None:
    handshake = Handshake(authority.issue(HOST).for_twisted(), trusting)
    handshake.server.transport.loseConnection()  # type: ignore[union-attr]
    handshake.pump.flush()

    assert handshake.client.lost is not None
    assert handshake.client.fault is None


def test_without_tls_there_is_no_fault_of_tls() -> None:
    class Plain:
        def getHandle(self) -> None: ...

    assert tls_fault(Plain(), ConnectionError()) is None
