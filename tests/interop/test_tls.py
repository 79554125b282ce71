"""wss with other implementations: verified on both sides, and refused where it should be."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
from ours import End, Ours
from peering import PEERS, PeerFailed, PeerProcess
from rawsocket import RawPeer, in_thread
from scenarios import exchange, pattern
from waiting import on_reactor

from wsfactory import TLS, CloseCause, ConnectError

if TYPE_CHECKING:
    from tests.certificates import Authority

pytestmark = pytest.mark.interop

Peers = Callable[[str], PeerProcess]

HERE = "127.0.0.1"


@pytest.mark.parametrize("peer", PEERS)
@on_reactor
async def test_our_server_over_tls(ours: Ours, peers: Peers, authority: Authority, peer: str) -> None:
    """A client that verifies our certificate talks to us; 1 MiB and the close code pass."""
    listening = await ours.listen(certificate=authority.issue(HERE))
    client = await peers(peer).connect(listening.url, trust=str(authority.path))
    session = await listening.opens.get()
    await exchange(session, client, pattern(2**20))
    await client.close(3001, "bye")

    assert await session.ends.get() == End(True, 3001, "bye")


@pytest.mark.parametrize("peer", PEERS)
@on_reactor
async def test_our_client_over_tls(ours: Ours, peers: Peers, authority: Authority, peer: str) -> None:
    """We talk to a server whose certificate we verify; 1 MiB and the close code pass."""
    listening = await peers(peer).listen(certificate=authority.issue(HERE).files())
    # Its HTTP channel stays the producer of a TLS transport, which therefore never ends the connection.
    patience: Any = {"closeHandshakeTimeout": 0.2} if "ending TLS" in PEERS[peer].lacks else {}
    session = await ours.connect(listening.url, tls=TLS(trustRoots=str(authority.path)), **patience)
    server = await listening.opens.get()
    await exchange(session, server, pattern(2**20))
    session.sendClose(3001, "bye")

    assert (await server.expect("closed"))["code"] in (3001, None)
    assert (await session.ends.get()).clean


@pytest.mark.parametrize("peer", PEERS)
@on_reactor
async def test_a_backlog_over_tls_arrives_before_the_close(
    ours: Ours, peers: Peers, authority: Authority, peer: str
) -> None:
    """sendMessage(3 MB); sendClose() arrives whole through TLS, too."""
    listening = await ours.listen(certificate=authority.issue(HERE))
    client = await peers(peer).connect(listening.url, trust=str(authority.path))
    session = await listening.opens.get()
    session.sendMessage(pattern(3_000_000), isBinary=True)
    session.sendClose()

    assert await client.message() == pattern(3_000_000)
    assert (await client.expect("closed"))["code"] in (1000, None)
    assert (await session.ends.get()).clean


@pytest.mark.parametrize("peer", PEERS)
@on_reactor
async def test_a_peer_that_vanishes_behind_tls(ours: Ours, peers: Peers, authority: Authority, peer: str) -> None:
    """The end of TCP without close_notify and without a Close frame is a 1006."""
    listening = await ours.listen(certificate=authority.issue(HERE))
    client = await peers(peer).connect(listening.url, trust=str(authority.path))
    session = await listening.opens.get()
    await client.vanish()

    assert (await session.ends.get())[:2] == (False, 1006)
    assert session.closeInfo.cause is CloseCause.CONNECTION_LOST


@pytest.mark.parametrize(
    "peer", [peer.name for peer in PEERS.values() if "telling a failed handshake" not in peer.lacks]
)
@on_reactor
async def test_a_client_that_does_not_trust_us_leaves(
    ours: Ours, peers: Peers, authority: Authority, peer: str
) -> None:
    """A client without our authority refuses to talk; that costs us nothing but its connection."""
    listening = await ours.listen(certificate=authority.issue(HERE))
    with pytest.raises(PeerFailed, match=r"(?i)certificate"):
        await peers(peer).connect(listening.url)
    client = await peers(peer).connect(listening.url, trust=str(authority.path))

    await exchange(await listening.opens.get(), client, "still here")


@pytest.mark.parametrize("peer", PEERS)
@on_reactor
async def test_we_do_not_trust_an_unknown_authority(ours: Ours, peers: Peers, authority: Authority, peer: str) -> None:
    """Without the authority, connect fails with ConnectError, which says why."""
    listening = await peers(peer).listen(certificate=authority.issue(HERE).files())

    with pytest.raises(ConnectError, match=r"(?i)certificate"):
        await ours.connect(listening.url)


@pytest.mark.parametrize("peer", PEERS)
@on_reactor
async def test_we_do_not_trust_another_name(ours: Ours, peers: Peers, authority: Authority, peer: str) -> None:
    """A certificate for another host is refused, unless that host is the one to expect."""
    listening = await peers(peer).listen(certificate=authority.issue("other.example").files())
    trusted = str(authority.path)
    with pytest.raises(ConnectError, match=r"(?i)127\.0\.0\.1|verif"):
        await ours.connect(listening.url, tls=TLS(trustRoots=trusted))
    session = await ours.connect(listening.url, tls=TLS(trustRoots=trusted, serverName="other.example"))

    await exchange(session, await listening.opens.get(), "as expected")


@pytest.mark.parametrize("said", [b"", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"], ids=["nothing", "no TLS"])
@on_reactor
async def test_a_client_without_tls_is_dropped(ours: Ours, authority: Authority, said: bytes) -> None:
    """At a wss port a client that says nothing is dropped after the timeouts, one that says something else at once."""
    certificate = authority.issue(HERE)
    listening = await ours.listen(certificate=certificate, openHandshakeTimeout=0.2, closeHandshakeTimeout=0.2)

    def conversation() -> bytes:
        with RawPeer.connect(listening.url.replace("wss:", "ws:")) as peer:
            peer.send(said)
            return peer.read_until_gone()

    assert not (await in_thread(conversation)).startswith(b"HTTP")
    assert await ours.waited(listening.factory.shutdown()) == []


@on_reactor
async def test_a_client_with_tls_at_a_port_without_is_refused(ours: Ours) -> None:
    """A TLS handshake is no HTTP request: 400, which that client cannot read; it fails with ConnectError."""
    listening = await ours.listen()

    with pytest.raises(ConnectError):
        await ours.connect(listening.url.replace("ws:", "wss:"))


@pytest.mark.parametrize("peer", PEERS)
@on_reactor
async def test_unverified_only_by_an_explicit_flag(ours: Ours, peers: Peers, authority: Authority, peer: str) -> None:
    """TLS(verify=False) talks to whoever answers."""
    listening = await peers(peer).listen(certificate=authority.issue("other.example").files())
    session = await ours.connect(listening.url, tls=TLS(verify=False))

    await exchange(session, await listening.opens.get(), "to anybody")
