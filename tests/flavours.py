"""One text for every flavour: a coroutine test that runs on Twisted, on asyncio and on uvloop.

The coroutine gets a ``Flavour``: the public names of one framework, and the few things that a test needs beside them.
Each test has to leave nothing behind: no task, no socket.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from functools import partial, wraps
from types import ModuleType
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred
from twisted.internet.threads import blockingCallFromThread, deferToThread

import wsfactory.asyncio.client
import wsfactory.asyncio.server
import wsfactory.twisted.client
import wsfactory.twisted.server
from tests import loopback, loops
from wsfactory.twisted.transport import DeferredFutures


class Flavour:
    """One framework, as a test sees it."""

    # What a cancelled coroutine raises.
    cancelled: type[BaseException]

    def __init__(self, name: str, client: ModuleType, server: ModuleType) -> None:
        self.name = name
        self.connect: Any = client.connect
        self.ClientFactory: Any = client.ClientFactory
        self.ClientProtocol: Any = client.ClientProtocol
        self.ClientStream: Any = client.ClientStream
        self.listen: Any = server.listen
        self.ServerFactory: Any = server.ServerFactory
        self.ServerProtocol: Any = server.ServerProtocol
        self.ServingFactory: Any = server.ServingFactory

    async def until(self, condition: Callable[[], object]) -> None:
        """Let the loop run until *condition* holds."""
        while not condition():
            await self.turn()

    async def turn(self) -> None:
        """Let the loop look once at all sockets."""
        raise NotImplementedError

    def port_of(self, listening: Any) -> int:
        """Return the port that ``listen`` gave."""
        raise NotImplementedError

    def start(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        """Let *coroutine* run beside the test; the result can be cancelled and awaited."""
        raise NotImplementedError

    def in_a_thread(self, function: Callable[[], object]) -> Awaitable[Any]:
        """Call *function* in another thread."""
        raise NotImplementedError

    def call_from_thread(self) -> Callable[..., object]:
        """Return what another thread calls to have something called in this one."""
        raise NotImplementedError

    def wait_from_thread(self) -> Callable[..., object]:
        """Return what another thread calls to have a coroutine function called in this one, and wait for its result."""
        raise NotImplementedError

    def run(self, test: Coroutine[Any, Any, None]) -> Deferred[None] | None:
        """Run a test to its end, which the reactor has to be run to where a Deferred comes back."""
        raise NotImplementedError


class OnTwisted(Flavour):
    def __init__(self) -> None:
        super().__init__("twisted", wsfactory.twisted.client, wsfactory.twisted.server)
        from twisted.internet.defer import CancelledError

        self.cancelled = CancelledError

    async def turn(self) -> None:
        await loopback.turn()

    def port_of(self, listening: Any) -> int:
        return int(listening.getHost().port)

    def start(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        return DeferredFutures().from_result(coroutine)

    def in_a_thread(self, function: Callable[[], object]) -> Awaitable[Any]:
        return deferToThread(function)

    def call_from_thread(self) -> Callable[..., object]:
        return loopback.the_reactor().callFromThread

    def wait_from_thread(self) -> Callable[..., object]:
        return partial(blockingCallFromThread, loopback.the_reactor())

    def run(self, test: Coroutine[Any, Any, None]) -> Deferred[None]:
        return Deferred.fromCoroutine(self._checked(test))

    async def _checked(self, test: Coroutine[Any, Any, None]) -> None:
        leftovers = loopback.nothing_left_over()
        await anext(leftovers)
        await loopback.within_reason(Deferred.fromCoroutine(test))
        await anext(leftovers, None)


class OnAsyncio(Flavour):
    cancelled = asyncio.CancelledError

    def __init__(self, name: str, new_loop: Callable[[], asyncio.AbstractEventLoop]) -> None:
        super().__init__(name, wsfactory.asyncio.client, wsfactory.asyncio.server)
        self._new_loop = new_loop

    async def turn(self) -> None:
        await asyncio.sleep(0)

    def port_of(self, listening: Any) -> int:
        return int(listening.sockets[0].getsockname()[1])

    def start(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.ensure_future(coroutine)

    def in_a_thread(self, function: Callable[[], object]) -> Awaitable[Any]:
        return asyncio.to_thread(function)

    def call_from_thread(self) -> Callable[..., object]:
        return asyncio.get_running_loop().call_soon_threadsafe

    def wait_from_thread(self) -> Callable[..., object]:
        loop = asyncio.get_running_loop()
        return lambda function, *args: asyncio.run_coroutine_threadsafe(function(*args), loop).result()

    def run(self, test: Coroutine[Any, Any, None]) -> None:
        loops.run(self._new_loop, test)


FLAVOURS: list[Any] = [
    pytest.param(OnTwisted(), id="twisted"),
    *(pytest.param(OnAsyncio(kind, new_loop), id=kind) for kind, new_loop in loops.LOOPS.items()),
]


def on_every_flavour(test: Callable[..., Coroutine[Any, Any, None]], only: str = "") -> Callable[..., None]:
    """Run the coroutine *test* with ``on``, a ``Flavour``, and its fixtures, on all of them."""

    @wraps(test)
    async def run(on: Flavour, **fixtures: Any) -> None:
        running = on.run(test(on, **fixtures))
        if running is not None:
            await running

    chosen = [flavour for flavour in FLAVOURS if not (only and flavour.id == "twisted")]
    marked: Callable[..., None] = pytest.mark.parametrize("on", chosen)(pytest_twisted.ensureDeferred(run))
    return marked


def on_asyncio(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Run it on asyncio and uvloop: for what only they have; say why beside the test."""
    return on_every_flavour(test, only="asyncio")
