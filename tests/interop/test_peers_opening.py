"""Opening handshakes with other implementations: subprotocols, refusals, origins, in both roles."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from ours import Ours, Recorder
from peering import PEERS, PeerProcess, PeerRefused
from scenarios import exchange
from twisted.logger import eventAsText
from waiting import on_reactor

from wsfactory import ConnectionDeny, HandshakeError, Request

pytestmark = pytest.mark.interop

Peers = Callable[[str], PeerProcess]

# Their interfaces take and tell subprotocols and header fields.
WITH_HEADERS = [peer.name for peer in PEERS.values() if "headers" not in peer.lacks]

REFUSALS = {
    401: ("Unauthorized", ("WWW-Authenticate", 'Bearer realm="test"'), "Wer da?"),
    403: ("Forbidden", ("X-Why", "not yours"), "no"),
    404: ("Not Found", ("X-Why", "nothing here"), ""),
}


@pytest.mark.parametrize("peer", WITH_HEADERS)
@on_reactor
async def test_our_server_prefers_its_own_order(ours: Ours, peers: Peers, peer: str) -> None:
    """Of the subprotocols that both know, the first of the server's list is taken."""
    listening = await ours.listen(subprotocols=["none", "second", "first"])
    client = await peers(peer).connect(listening.url, subprotocols=["first", "second"])
    session = await listening.opens.get()

    assert (session.subprotocol, client.subprotocol) == ("second", "second")


@pytest.mark.parametrize("peer", WITH_HEADERS)
@on_reactor
async def test_our_client_learns_the_servers_choice(ours: Ours, peers: Peers, peer: str) -> None:
    """What the peer chose of our offer is told on both sides."""
    listening = await peers(peer).listen(subprotocols=["second", "first"])
    session = await ours.connect(listening.url, subprotocols=["first", "second"])
    server = await listening.opens.get()

    assert session.subprotocol == server.subprotocol
    assert session.subprotocol in ("first", "second")


@pytest.mark.parametrize("peer", WITH_HEADERS)
@on_reactor
async def test_our_server_goes_on_without_a_common_subprotocol(ours: Ours, peers: Peers, peer: str) -> None:
    """A client whose subprotocols are all unknown connects, without one."""
    listening = await ours.listen(subprotocols=["ours"])
    client = await peers(peer).connect(listening.url, subprotocols=["theirs"])
    session = await listening.opens.get()

    assert not session.subprotocol
    assert not client.subprotocol
    await exchange(session, client, "without")


@pytest.mark.parametrize("peer", WITH_HEADERS)
@on_reactor
async def test_our_client_goes_on_without_a_common_subprotocol(ours: Ours, peers: Peers, peer: str) -> None:
    """A server that takes none of our subprotocols is one without."""
    listening = await peers(peer).listen(subprotocols=["theirs"])
    session = await ours.connect(listening.url, subprotocols=["ours"])

    assert session.subprotocol is None
    await exchange(session, await listening.opens.get(), "without")


class Chooser(Recorder):
    """Chooses by itself, and notes what was asked."""

    asked: Request

    def onConnect(self, request: Request) -> tuple[str, dict[str, str]]:
        type(self).asked = request
        return "first", {"X-Chosen": "yes"}


@pytest.mark.parametrize("peer", WITH_HEADERS)
@on_reactor
async def test_on_connect_overrides_the_preference(ours: Ours, peers: Peers, peer: str) -> None:
    """onConnect's subprotocol and headers reach the client; it has seen the client's own header."""
    listening = await ours.listen(Chooser, subprotocols=["second", "first"])
    client = await peers(peer).connect(
        listening.url, subprotocols=["first", "second"], headers=[("X-Trace", "Zug 4711")]
    )
    session = await listening.opens.get()

    assert (session.subprotocol, client.subprotocol) == ("first", "first")
    assert session.asked.headers.get("x-trace") == "Zug 4711"


class Refuser(Recorder):
    """Refuses with the status that the path names."""

    def onConnect(self, request: Request) -> None:
        status = int(request.path.strip("/"))
        reason, header, body = REFUSALS[status]
        raise ConnectionDeny(status, reason, [header], body)


@pytest.mark.parametrize("status", REFUSALS)
@pytest.mark.parametrize("peer", PEERS)
@on_reactor
async def test_our_refusal_reaches_the_peer(ours: Ours, peers: Peers, peer: str, status: int) -> None:
    """Status, headers and body of a ConnectionDeny are what the client gets, and no connection opens."""
    listening = await ours.listen(Refuser)
    with pytest.raises(PeerRefused) as refused:
        await peers(peer).connect(f"{listening.url}{status}")

    _, (name, value), body = REFUSALS[status]
    assert refused.value.status == status
    assert refused.value.headers.get(name.lower(), value) == value
    assert ("a refusal's headers" in PEERS[peer].lacks) is not (name.lower() in refused.value.headers)
    assert refused.value.body == ("" if "a refusal's body" in PEERS[peer].lacks else body).encode()
    assert listening.factory.counters.opened == 0


@pytest.mark.parametrize("status", REFUSALS)
@pytest.mark.parametrize("peer", PEERS)
@on_reactor
async def test_a_peers_refusal_reaches_us(ours: Ours, peers: Peers, peer: str, status: int) -> None:
    """connect fails with the refusal's status, reason, headers and body."""
    reason, header, body = REFUSALS[status]
    refuse = {"status": status, "reason": reason, "headers": [header], "body": body}
    listening = await peers(peer).listen(refuse=refuse)
    with pytest.raises(HandshakeError) as refused:
        await ours.connect(listening.url)

    error: Any = refused.value
    assert (error.status, error.reason) == (status, reason)
    if "a refusal's headers" not in PEERS[peer].lacks:
        assert error.headers.get(header[0]) == header[1]
    if "a refusal's body" not in PEERS[peer].lacks or peer == "aiohttp":
        assert error.body == body.encode()


@pytest.mark.parametrize("peer", WITH_HEADERS)
@on_reactor
async def test_a_foreign_origin_is_refused(ours: Ours, peers: Peers, peer: str, logged: list[dict[str, Any]]) -> None:
    """A page of another site gets 403; one log line names both values and the option."""
    listening = await ours.listen()
    with pytest.raises(PeerRefused) as refused:
        await peers(peer).connect(listening.url, origin="https://evil.example")

    host = listening.url.removeprefix("ws://").rstrip("/")
    (line,) = [text for text in map(eventAsText, logged) if " 403" in text]
    assert refused.value.status == 403
    for told in ("https://evil.example", host, "allowedOrigins"):
        assert told in line
        assert "a refusal's body" in PEERS[peer].lacks or told.encode() in refused.value.body


@pytest.mark.parametrize("peer", WITH_HEADERS)
@on_reactor
async def test_the_same_origin_is_allowed(ours: Ours, peers: Peers, peer: str) -> None:
    """A page of this server's connects, as does one that is listed."""
    listening = await ours.listen(allowedOrigins=["https://app.example", "http://127.0.0.1"])
    same = await ours.listen()
    process = peers(peer)
    await process.connect(listening.url, origin="https://app.example")
    await process.connect(same.url, origin=same.url.replace("ws:", "http:").rstrip("/"))

    assert (listening.factory.counters.opened, same.factory.counters.opened) == (1, 1)
