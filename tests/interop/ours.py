"""Our side of a connection, one adapter per flavour: ``listen``, ``connect``, ``stop``.

A test says what its protocol does in a subclass of ``Recorder``, which belongs to no flavour; the adapter mixes it with
the flavour's own base.  Everything that happens lands in DeferredQueues, for the test to await.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Coroutine
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from twisted.internet.defer import Deferred, DeferredQueue, maybeDeferred
from waiting import within

from wsfactory import asyncio as aio
from wsfactory.session import Session
from wsfactory.twisted import ClientFactory, ClientProtocol, ServerFactory, ServerProtocol, connect, listen

if TYPE_CHECKING:
    from tests.certificates import Certificate

__all__ = ["FLAVOURS", "End", "Listening", "OnAsyncio", "OnTwisted", "Ours", "Recorder"]


# A safety net: stopping takes no time, unless a connection is lost track of.
STOP_SECONDS = 5.0

Result = TypeVar("Result")


class End(NamedTuple):
    """What onClose was called with."""

    clean: bool
    code: int
    reason: str


class Recorder(Session):
    """Puts down what happens to a connection."""

    opens: DeferredQueue[Recorder]
    ours: Ours

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

    @staticmethod
    def native(deferred: Deferred[Result]) -> Awaitable[Result]:
        """Return what a behaviour's coroutine can await of *deferred*."""
        return deferred

    @staticmethod
    def spawn(coroutine: Coroutine[Any, Any, Any]) -> object:
        """Run a behaviour's *coroutine* beside everything else."""
        return Deferred.fromCoroutine(coroutine)

    @staticmethod
    def waited(awaitable: Any) -> Deferred[Any]:
        """Return what a test can await of an awaitable of ours, like ``drain()`` or ``shutdown()``."""
        return awaitable

    async def listen(
        self, behaviour: type[Recorder] = Recorder, *, certificate: Certificate | None = None, **options: Any
    ) -> Listening:
        """Listen on a free port; TLS with *certificate*."""
        protocol, opens = _mixed(self, behaviour, ServerProtocol)
        factory = ServerFactory(protocol, **options)
        scheme, tls = ("ws", None) if certificate is None else ("wss", certificate.for_twisted())
        port: Any = await listen(f"{scheme}://127.0.0.1:0/", factory, tls=tls)
        self._factories.append(factory)
        self._ports.append(port)
        return Listening(f"{scheme}://127.0.0.1:{port.getHost().port}/", opens, factory)

    async def connect(self, url: str, behaviour: type[Recorder] = Recorder, **options: Any) -> Any:
        """Return an open connection to *url*."""
        protocol, _ = _mixed(self, behaviour, ClientProtocol)
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
            await within(STOP_SECONDS, self.waited(factory.shutdown()))


class OnAsyncio:
    """The asyncio flavour, on the loop that Twisted's reactor runs on."""

    def __init__(self) -> None:
        self._factories: list[Any] = []
        self._servers: list[asyncio.Server] = []

    @staticmethod
    def native(deferred: Deferred[Result]) -> Awaitable[Result]:
        """Return what a behaviour's coroutine, which runs in a task, can await of *deferred*."""
        return deferred.asFuture(asyncio.get_running_loop())

    @staticmethod
    def spawn(coroutine: Coroutine[Any, Any, Any]) -> object:
        """Run a behaviour's *coroutine* beside everything else."""
        return asyncio.get_running_loop().create_task(coroutine)

    @staticmethod
    def waited(awaitable: Any) -> Deferred[Any]:
        """Return what a test, which runs in no task, can await of an awaitable of ours."""

        async def waiting() -> Any:
            return await awaitable

        return Deferred.fromFuture(asyncio.ensure_future(waiting()))

    async def listen(
        self, behaviour: type[Recorder] = Recorder, *, certificate: Certificate | None = None, **options: Any
    ) -> Listening:
        """Listen on a free port; TLS with *certificate*."""
        protocol, opens = _mixed(self, behaviour, aio.ServerProtocol)
        factory = aio.ServerFactory(protocol, **options)
        scheme, tls = ("ws", None) if certificate is None else ("wss", certificate.for_asyncio())
        server = await self.waited(aio.listen(f"{scheme}://127.0.0.1:0/", factory, tls=tls))
        self._factories.append(factory)
        self._servers.append(server)
        return Listening(f"{scheme}://127.0.0.1:{server.sockets[0].getsockname()[1]}/", opens, factory)

    async def connect(self, url: str, behaviour: type[Recorder] = Recorder, **options: Any) -> Any:
        """Return an open connection to *url*."""
        protocol, _ = _mixed(self, behaviour, aio.ClientProtocol)
        factory = aio.ClientFactory(url, protocol, **options)
        self._factories.append(factory)
        return await self.waited(aio.connect(url, factory))

    async def stop(self) -> None:
        """Close the ports and abort every connection that is left."""
        for server in self._servers:
            server.close()
        for factory in self._factories:
            factory.shutdown()
            # The second call aborts what the first has begun to close.
            await within(STOP_SECONDS, self.waited(factory.shutdown()))


Ours = OnTwisted | OnAsyncio


def _flavours() -> dict[str, type[Ours]]:
    from twisted.internet import reactor

    # On any other reactor there is no loop for asyncio to run on.
    on_asyncio = type(reactor).__name__ == "AsyncioSelectorReactor"
    return {"twisted": OnTwisted, "asyncio": OnAsyncio} if on_asyncio else {"twisted": OnTwisted}


FLAVOURS = _flavours()


def _mixed(ours: Ours, behaviour: type[Recorder], base: type) -> tuple[Any, DeferredQueue[Any]]:
    opens: DeferredQueue[Any] = DeferredQueue()
    return type(behaviour.__name__, (behaviour, base), {"opens": opens, "ours": ours}), opens
