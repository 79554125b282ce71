"""Both flavours in one process: a client of one, a server of the other, on one loop."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_twisted
from ours import FLAVOURS, End, OnAsyncio, OnTwisted, Ours
from waiting import on_reactor

from wsfactory import ConnectionDeny, HandshakeError, Request
from wsfactory.session import Session

pytestmark = [
    pytest.mark.interop,
    pytest.mark.skipif("asyncio" not in FLAVOURS, reason="needs a reactor that runs on asyncio: --reactor=asyncio"),
]

LARGE = bytes(range(256)) * 4096

Pair = tuple[Ours, Ours]


@pytest_twisted.async_yield_fixture(params=["asyncio serves", "twisted serves"])
async def flavours(request: pytest.FixtureRequest) -> AsyncIterator[Pair]:
    """Give the server's flavour, then the client's."""
    pair: Any = (OnAsyncio(), OnTwisted()) if request.param == "asyncio serves" else (OnTwisted(), OnAsyncio())
    yield pair
    for flavour in pair:
        await flavour.stop()


@on_reactor
async def test_messages_and_the_close_pass_between_flavours(flavours: Pair) -> None:
    serving, connecting = flavours
    listening = await serving.listen(subprotocols=["chat"])
    client = await connecting.connect(listening.url, subprotocols=["chat"])
    server = await listening.opens.get()
    client.sendMessage("Grüße")
    client.sendMessage(LARGE, isBinary=True)
    server.sendMessage(LARGE, isBinary=True)
    there = [await server.messages.get() for _ in range(2)]
    back = await client.messages.get()
    round_trip = await connecting.waited(client.ping())
    client.sendClose(3000, "bye")

    assert client.subprotocol == server.subprotocol == "chat"
    assert there == [("Grüße".encode(), False), (LARGE, True)]
    assert back == (LARGE, True)
    assert round_trip >= 0.0
    assert await server.ends.get() == End(True, 3000, "bye")
    assert await client.ends.get() == End(True, 3000, "")


@on_reactor
async def test_a_refusal_passes_between_flavours(flavours: Pair) -> None:
    serving, connecting = flavours

    class Refusing(Session):
        def onConnect(self, request: Request) -> None:
            raise ConnectionDeny(403, "Forbidden", [("X-Why", "not yours")], "no")

    listening: Any = await serving.listen(Refusing)  # type: ignore[arg-type]
    with pytest.raises(HandshakeError) as refused:
        await connecting.connect(listening.url)

    assert (refused.value.status, refused.value.body) == (403, b"no")


@on_reactor
async def test_a_shutdown_reaches_the_other_flavour(flavours: Pair) -> None:
    serving, connecting = flavours
    listening = await serving.listen()
    clients = [await connecting.connect(listening.url) for _ in range(5)]
    aborted = await serving.waited(listening.factory.shutdown())

    assert aborted == []
    assert [(await client.ends.get()).code for client in clients] == [1001] * 5
