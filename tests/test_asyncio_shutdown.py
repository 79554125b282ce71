"""Factories that were shut down, on asyncio: nothing new begins."""

from __future__ import annotations

import asyncio

import pytest

from tests.loops import on_loops
from wsfactory import InvalidState
from wsfactory.asyncio import ClientFactory, ClientProtocol, ServerFactory, ServerProtocol, connect, listen


@on_loops
async def test_after_a_shutdown_listening_and_connecting_is_an_error() -> None:
    server, client = ServerFactory(ServerProtocol), ClientFactory("ws://127.0.0.1:9/", ClientProtocol)
    await server.shutdown()
    await client.shutdown()

    with pytest.raises(InvalidState, match="was shut down"):
        await listen("ws://127.0.0.1:0/", server)
    with pytest.raises(InvalidState, match="was shut down"):
        await connect("ws://127.0.0.1:9/", client)


@on_loops
async def test_a_port_that_comes_too_late_is_closed_again() -> None:
    factory = ServerFactory(ServerProtocol)
    listening = asyncio.ensure_future(listen("ws://localhost:0/", factory))
    await asyncio.sleep(0)
    await factory.shutdown()

    with pytest.raises(InvalidState, match="was shut down meanwhile"):
        await listening
