"""Tests on loops of their own, stock asyncio and uvloop: real sockets, and nothing left over at the end.

They need no reactor, and run beside whichever one pytest-twisted has installed.
"""

from __future__ import annotations

import asyncio
import inspect
import os
from collections.abc import Callable, Coroutine
from contextlib import suppress
from functools import wraps
from typing import Any, Self

import pytest

from wsfactory.asyncio import ClientProtocol, ServerFactory, ServerProtocol, listen
from wsfactory.asyncio.transport import flavour_for
from wsfactory.testing import Recorder

try:
    from uvloop import new_event_loop as new_uvloop
except ImportError:
    LOOPS: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {"asyncio": asyncio.new_event_loop}
else:
    LOOPS = {"asyncio": asyncio.SelectorEventLoop, "uvloop": new_uvloop}

# Nothing takes that long: whoever waits longer waits for ever.
SAFETY_NET_SECONDS = 30.0
SETTLING_SECONDS = 5.0
RESTING_TURNS = 50

Test = Callable[..., Coroutine[Any, Any, None]]


def on_loops(test: Test) -> Callable[..., None]:
    """Run *test* on each kind of loop; it fails where it leaves a socket, a task or a deadline, or a failure unseen."""

    @wraps(test)
    def runs(*args: Any, loop_kind: str, **kwargs: Any) -> None:
        run(LOOPS[loop_kind], test(*args, **kwargs))

    signature = inspect.signature(test)
    named = inspect.Parameter("loop_kind", inspect.Parameter.KEYWORD_ONLY)
    runs.__signature__ = signature.replace(parameters=[*signature.parameters.values(), named])  # type: ignore[attr-defined]
    return pytest.mark.parametrize("loop_kind", LOOPS)(runs)


def run(new_loop: Callable[[], asyncio.AbstractEventLoop], test: Coroutine[Any, Any, None]) -> None:
    """Run *test* on a new loop."""
    # Where Twisted's reactor runs on asyncio, its loop counts as running in this thread all the time.
    outer = asyncio._get_running_loop()
    asyncio._set_running_loop(None)
    try:
        with asyncio.Runner(loop_factory=new_loop) as runner:
            runner.run(_checked(test))
    finally:
        asyncio._set_running_loop(outer)


async def _checked(test: Coroutine[Any, Any, None]) -> None:
    loop = asyncio.get_running_loop()
    complaints: list[Any] = []
    loop.set_exception_handler(lambda _, context: complaints.append(context))
    before = sockets()
    async with asyncio.timeout(SAFETY_NET_SECONDS):
        await test
    wheel = flavour_for(loop).wheel
    with suppress(TimeoutError):
        async with asyncio.timeout(SETTLING_SECONDS):
            await until(lambda: not (sockets() - before or other_tasks() or len(wheel)))

    left = [*(sockets() - before), *other_tasks(), *[f"{len(wheel)} deadlines"][: len(wheel)], *complaints]
    assert not left, left


def sockets() -> set[str]:
    """Return the sockets of this process, where the system tells."""
    found = set()
    for descriptor in os.listdir("/proc/self/fd") if os.path.isdir("/proc/self/fd") else ():
        with suppress(OSError):
            found.add(os.readlink(f"/proc/self/fd/{descriptor}"))
    return {name for name in found if name.startswith("socket:")}


def other_tasks() -> set[Any]:
    """Return the tasks beside the current one."""
    return asyncio.all_tasks() - {asyncio.current_task()}


async def turn() -> None:
    """Let the loop look once at all sockets."""
    await asyncio.sleep(0)


async def until(condition: Callable[[], object]) -> None:
    """Let the loop run until *condition* holds."""
    while not condition():
        await turn()


async def accepted() -> None:
    """Let what has been connected be accepted: stock asyncio forgets the socket of who comes while a server closes."""
    for _ in range(5):
        await turn()


async def at_rest(value: Callable[[], object]) -> None:
    """Let the loop run until *value* has stayed the same for some turns: nothing more comes of what was done."""
    last, same = value(), 0
    while same < RESTING_TURNS:
        await turn()
        last, same = value(), same + 1 if value() == last else 0


class NotingServer(Recorder, ServerProtocol):
    """A server's side that records its callbacks."""


class NotingClient(Recorder, ClientProtocol):
    """A client's side that records its callbacks."""


class Echo(NotingServer):
    """Answers each message with the same."""

    def onMessage(self, payload: bytes, isBinary: bool) -> Any:
        self.calls.append(("onMessage", payload, isBinary))
        self.sendMessage(payload, isBinary)


class Serving:
    """``async with Serving(Protocol, **options) as server``: a server of ours on a free port, and its connections."""

    def __init__(
        self, protocol: type[Any] = Echo, where: str = "ws://127.0.0.1:0/", tls: Any = None, **options: Any
    ) -> None:
        self.sessions: list[Any] = []
        self.factory = ServerFactory(self._noted(protocol), **options)
        self._where, self._tls = where, tls
        self.port = 0

    def _noted(self, protocol: type[Any]) -> Any:
        def make() -> Any:
            self.sessions.append(protocol())
            return self.sessions[-1]

        return make

    @property
    def url(self) -> str:
        """Where to connect."""
        return self._where.replace(":0/", f":{self.port}/")

    async def session(self) -> Any:
        """Return the first connection that nobody has asked for yet, once it is there."""
        await until(lambda: self.sessions)
        return self.sessions.pop(0)

    async def __aenter__(self) -> Self:
        server = await listen(self._where, self.factory, tls=self._tls)
        if server.sockets and isinstance(address := server.sockets[0].getsockname(), tuple):
            self.port = address[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        await accepted()
        self.factory.shutdown()
        await self.factory.shutdown()


class Raw(asyncio.Protocol):
    """A peer that the test plays byte by byte; it half-closes."""

    def __init__(self) -> None:
        self.received = b""
        self.eof = self.lost = False
        self.wire: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.wire = transport

    def data_received(self, data: bytes) -> None:
        self.received += data

    def eof_received(self) -> bool:
        self.eof = True
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        self.eof = self.lost = True

    async def until(self, part: bytes) -> bytes:
        """Wait for *part*; returns what came up to its end, and forgets it."""
        await until(lambda: part in self.received or self.lost)
        before, found, self.received = self.received.partition(part)
        assert found, f"{part!r} did not come, but {before!r}"
        return before + found


class Answering(Raw):
    """A server that says *answer* to the first head that it reads; None: it says nothing."""

    def __init__(self, answer: bytes | None) -> None:
        super().__init__()
        self.answer = answer

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.answer is not None and b"\r\n\r\n" in self.received:
            answer, self.answer = self.answer, None
            self.wire.write(answer)


class Playing:
    """``async with Playing(make) as server``: a listening port whose connections the test plays."""

    def __init__(self, make: Callable[[], Raw] = Raw, tls: Any = None) -> None:
        self._make, self._tls = make, tls
        self.raws: list[Raw] = []
        self.port = 0
        self._over = False

    def _made(self) -> asyncio.BaseProtocol:
        if self._over:
            return asyncio.Protocol()  # accepted too late to be played: it closes at EOF
        self.raws.append(self._make())
        return self.raws[-1]

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(self._made, "127.0.0.1", 0, ssl=self._tls)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        await accepted()
        self._over = True
        self._server.close()
        for raw in self.raws:
            if raw.wire is not None:
                raw.wire.abort()
