"""Our side of a connection, one adapter per flavour: ``listen``, ``connect``, ``stop``.

A test says what its protocol does in a subclass of ``Recorder``, which belongs to no flavour; the adapter mixes it with
the flavour's own base.  Everything that happens lands in DeferredQueues, for the test to await.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from twisted.internet.defer import Deferred, DeferredQueue, maybeDeferred
from waiting import within

from wsfactory import asyncio as aio
from wsfactory.session import Session
from wsfactory.twisted import ClientFactory, ClientProtocol, ServerFactory, ServerProtocol, connect, listen

if TYPE_CHECKING:
    from certificates import Certificate

__all__ = ["FLAVOURS", "End", "Listening", "OnAsyncio", "OnTwisted", "Ours", "Recorder"]


# A safety net: stopping takes no time, unless a connection is lost track of.
STOP_SECONDS = 5.0


class End(NamedTuple):
    """What onClose was called with."""

    clean: bool
    code: int
    reason: str


class Recorder(Session):
    """Puts down what happens to a connection."""

    opens: DeferredQueue[Recorder]

    def __init__(self) -> None:
        self.messages: DeferredQueue[tuple[bytes, bool]] = DeferredQueue()
        self.ends: DeferredQueue[End] = DeferredQueue()
        self.pings: DeferredQueue[bytes] = DeferredQueue()
        self.pongs: DeferredQueue[bytes] = DeferredQueue()

    def onOpen(self) -> None:
        self.opens.put(self)

    def onMessage(self, payload: bytes, isBinary: bool) -> Any:
        self.messages.put((payload, isBinary))

    def onPing(self, payload: bytes) -> None:
        self.pings.put(payload)

    def onPong(self, payload: bytes) -> None:
        self.pongs.put(payload)

    def onClose(self, wasClean: bool, code: int, reason: str) -> None:
        self.ends.put(End(wasClean, code, reason))


@dataclass
class Listening:
    """One server of ours: where it is, and the connections that opened there."""

    url: str
    opens: DeferredQueue[Any]
    factory: Any


class OnTwisted:
    """The Twisted flavour."""

    def __init__(self) -> None:
        self._factories: list[ServerFactory | ClientFactory] = []
        self._ports: list[Any] = []

    async def listen(
        self, behaviour: type[Recorder] = Recorder, *, certificate: Certificate | None = None, **options: Any
    ) -> Listening:
        """Listen on a free port; TLS with *certificate*."""
        protocol, opens = _mixed(behaviour, ServerProtocol)
        factory = ServerFactory(protocol, **options)
        scheme, tls = ("ws", None) if certificate is None else ("wss", certificate.for_twisted())
        port: Any = await listen(f"{scheme}://127.0.0.1:0/", factory, tls=tls)
        self._factories.append(factory)
        self._ports.append(port)
        return Listening(f"{scheme}://127.0.0.1:{port.getHost().port}/", opens, factory)

    async def connect(self, url: str, behaviour: type[Recorder] = Recorder, **options: Any) -> Any:
        """Return an open connection to *url*."""
        protocol, _ = _mixed(behaviour, ClientProtocol)
        factory = ClientFactory(url, protocol, **options)
        self._factories.append(factory)
        return await connect(url, factory)

    async def stop(self) -> None:
        """Close the ports and abort every connection that is left."""
        for port in self._ports:
            await maybeDeferred(port.stopListening)
        for factory in self._factories:
            factory.shutdown()
            # The second call aborts what the first has begun to close.
            stopped: Any = factory.shutdown()
            await within(STOP_SECONDS, stopped)


class OnAsyncio:
    """The asyncio flavour, on the loop that Twisted's reactor runs on."""

    def __init__(self) -> None:
        self._factories: list[Any] = []
        self._servers: list[asyncio.Server] = []

    async def listen(
        self, behaviour: type[Recorder] = Recorder, *, certificate: Certificate | None = None, **options: Any
    ) -> Listening:
        """Listen on a free port; TLS with *certificate*."""
        protocol, opens = _mixed(behaviour, aio.ServerProtocol)
        factory = aio.ServerFactory(protocol, **options)
        scheme, tls = ("ws", None) if certificate is None else ("wss", certificate.for_asyncio())
        server = await _deferred(aio.listen(f"{scheme}://127.0.0.1:0/", factory, tls=tls))
        self._factories.append(factory)
        self._servers.append(server)
        return Listening(f"{scheme}://127.0.0.1:{server.sockets[0].getsockname()[1]}/", opens, factory)

    async def connect(self, url: str, behaviour: type[Recorder] = Recorder, **options: Any) -> Any:
        """Return an open connection to *url*."""
        protocol, _ = _mixed(behaviour, aio.ClientProtocol)
        factory = aio.ClientFactory(url, protocol, **options)
        self._factories.append(factory)
        return await _deferred(aio.connect(url, factory))

    async def stop(self) -> None:
        """Close the ports and abort every connection that is left."""
        for server in self._servers:
            server.close()
        for factory in self._factories:
            factory.shutdown()
            # The second call aborts what the first has begun to close.
            await within(STOP_SECONDS, _deferred(factory.shutdown()))


def _deferred(awaitable: Any) -> Deferred[Any]:
    """Return what an asyncio awaitable gives as something that a test on a reactor can await."""

    async def waiting() -> Any:
        return await awaitable

    return Deferred.fromFuture(asyncio.ensure_future(waiting()))


Ours = OnTwisted | OnAsyncio


def _flavours() -> dict[str, type[Ours]]:
    from twisted.internet import reactor

    # On any other reactor there is no loop for asyncio to run on.
    on_asyncio = type(reactor).__name__ == "AsyncioSelectorReactor"
    return {"twisted": OnTwisted, "asyncio": OnAsyncio} if on_asyncio else {"twisted": OnTwisted}


FLAVOURS = _flavours()


def _mixed(behaviour: type[Recorder], base: type) -> tuple[Any, DeferredQueue[Any]]:
    opens: DeferredQueue[Any] = DeferredQueue()
    return type(behaviour.__name__, (behaviour, base), {"opens": opens}), opens
