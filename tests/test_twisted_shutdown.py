"""Factories that were shut down, on Twisted: nothing new begins."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IStreamServerEndpoint
from zope.interface import implementer

from tests.loopback import NotingClient, NotingServer, on_reactor
from wsfactory import InvalidState
from wsfactory.twisted import ClientFactory, ServerFactory, connect, listen


@on_reactor
async def test_after_a_shutdown_listening_and_connecting_is_an_error() -> None:
    """A port that comes too late is closed again."""
    server, client, late = ServerFactory(NotingServer), ClientFactory("ws://127.0.0.1:9/", NotingClient), Late()
    listening = listen(late, server)
    await server.shutdown()
    await client.shutdown()
    late.port.callback(late)

    for call in (lambda: listen("ws://127.0.0.1:0/", server), lambda: connect("ws://127.0.0.1:9/", client)):
        with pytest.raises(InvalidState, match="was shut down"):
            call()
    with pytest.raises(InvalidState, match="was shut down meanwhile"):
        await listening
    assert late.stopped


@implementer(IStreamServerEndpoint)
class Late:
    """An endpoint whose port, which is itself, takes its time."""

    def __init__(self) -> None:
        self.port: Any = Deferred()
        self.stopped = False

    def listen(self, factory: object) -> Any:
        return self.port

    def stopListening(self) -> None:
        self.stopped = True
