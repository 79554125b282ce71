"""Open connections to other implementations: every scenario, with every peer, in both roles."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from ours import Ours, Recorder
from peering import PEERS, PeerConnection, PeerFailed, PeerProcess
from scenarios import SCENARIOS, Scenario, exchange
from waiting import on_reactor

pytestmark = pytest.mark.interop

Peers = Callable[[str], PeerProcess]
Pair = tuple[Recorder, PeerConnection]

AT_ONCE = 20


async def we_serve(ours: Ours, peer: PeerProcess, **options: Any) -> Pair:
    """Open a connection that the peer makes."""
    listening = await ours.listen(**options)
    connection = await peer.connect(listening.url)
    return await listening.opens.get(), connection


async def peer_serves(ours: Ours, peer: PeerProcess, **options: Any) -> Pair:
    """Open a connection that we make."""
    listening = await peer.listen()
    return await ours.connect(listening.url, **options), await listening.opens.get()


ROLES = {"we-serve": we_serve, "peer-serves": peer_serves}


# Every scenario in both roles with every peer whose interface can do what it asks.
COMBINATIONS = [
    pytest.param(peer.name, role, scenario, id=f"{peer.name}-{role}-{name}")
    for name, scenario in SCENARIOS.items()
    for peer in PEERS.values()
    for role in ROLES
    if not scenario.asks & peer.lacks
]


@pytest.mark.parametrize(("peer", "role", "scenario"), COMBINATIONS)
@on_reactor
async def test_open_connection(ours: Ours, peers: Peers, peer: str, role: str, scenario: Scenario) -> None:
    """Each scenario states its own claim."""
    connection, other_end = await ROLES[role](ours, peers(peer), **scenario.options)

    await scenario.run(connection, other_end)


@pytest.mark.parametrize("peer", PEERS)
@on_reactor
async def test_many_clients_at_once(ours: Ours, peers: Peers, peer: str) -> None:
    """A server of ours keeps the messages of concurrent connections apart."""
    listening = await ours.listen()
    process = peers(peer)
    clients = [await process.connect(listening.url) for _ in range(AT_ONCE)]
    sessions = [await listening.opens.get() for _ in clients]
    assert len(listening.factory.connections) == AT_ONCE

    for number, client in enumerate(clients):
        await client.send(str(number))
    received = [await session.messages.get() for session in sessions]
    for session, (payload, _) in zip(sessions, received, strict=True):
        session.sendMessage(payload)

    assert [await client.message() for client in clients] == [str(number) for number in range(AT_ONCE)]


@pytest.mark.parametrize("peer", PEERS)
@on_reactor
async def test_many_connections_of_ours_at_once(ours: Ours, peers: Peers, peer: str) -> None:
    """Connections of ours that open at the same time are all usable."""
    listening = await peers(peer).listen()
    sessions = [ours.connect(listening.url) for _ in range(AT_ONCE)]
    opened = [await session for session in sessions]
    others = [await listening.opens.get() for _ in opened]

    for session, other in zip(opened, others, strict=True):
        await exchange(session, other, "one of many")


@pytest.mark.parametrize("peer", PEERS)
@on_reactor
async def test_shutdown_closes_every_connection(ours: Ours, peers: Peers, peer: str) -> None:
    """factory.shutdown() sends what is queued, closes all with 1001, and has nobody to abort."""
    listening = await ours.listen()
    clients = [await peers(peer).connect(listening.url) for _ in range(AT_ONCE)]
    sessions = [await listening.opens.get() for _ in clients]
    for session in sessions:
        session.sendMessage("the last")
    aborted = await ours.waited(listening.factory.shutdown())

    assert aborted == []
    for client in clients:
        assert await client.message() == "the last"
        assert (await client.expect("closed"))["code"] in (1001, None)
    assert [(await session.ends.get()).clean for session in sessions] == [True] * AT_ONCE
    with pytest.raises(PeerFailed):
        await peers(peer).connect(listening.url)
