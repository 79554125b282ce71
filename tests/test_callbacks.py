"""The one place that calls users: whatever a callback returns or raises, exactly one of two is called."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from twisted.internet.defer import Deferred, fail, succeed

from wsfactory.callbacks import call
from wsfactory.testing import (
    ClientFactory,
    Clock,
    Future,
    RecordingClient,
    RecordingServer,
    ServerFactory,
    ServerProtocol,
    linked_pair,
)

FLAVOUR = ServerFactory(ServerProtocol).flavour


class Told:
    def __init__(self) -> None:
        self.calls: list[tuple[str, object]] = []

    def done(self, result: object) -> None:
        self.calls.append(("done", result))

    def failed(self, error: BaseException) -> None:
        self.calls.append(("failed", str(error)))


def called(callback: object, *args: object) -> tuple[Told, object]:
    told = Told()
    return told, call(FLAVOUR, callback, *args, done=told.done, failed=told.failed)  # type: ignore[arg-type]


async def value(result: object) -> object:
    return result


async def broken() -> None:
    raise RuntimeError("broken")


@pytest.mark.parametrize("result", [None, 5, "text", (), [1], False])
def test_a_plain_result_is_told_at_once(result: object) -> None:
    told, pending = called(lambda: result)

    assert told.calls == [("done", result)]
    assert pending is None


def test_arguments_are_passed_on() -> None:
    told, _ = called(lambda *args: args, 1, "2")

    assert told.calls == [("done", (1, "2"))]


def test_what_it_raises_is_told_at_once() -> None:
    told, pending = called(lambda: 1 / 0)

    assert told.calls == [("failed", "division by zero")]
    assert pending is None


@pytest.mark.parametrize(
    ("result", "outcome"),
    [
        (lambda: value(5), ("done", 5)),
        (lambda: succeed(5), ("done", 5)),
        (lambda: broken(), ("failed", "broken")),
        (lambda: fail(RuntimeError("broken")), ("failed", "broken")),
    ],
)
def test_an_awaitable_that_is_done_is_told_at_once(result: object, outcome: tuple[str, object]) -> None:
    told, _ = called(result)

    assert told.calls == [outcome]


def test_a_future_is_told_when_it_is_known() -> None:
    future = Future()
    told, pending = called(lambda: future)
    before = [*told.calls]
    future.resolve(5)

    assert pending is future
    assert before == []
    assert told.calls == [("done", 5)]


def test_a_deferred_is_told_when_it_is_known() -> None:
    waiting: Deferred[int] = Deferred()
    told, pending = called(lambda: waiting)
    before = [*told.calls]
    waiting.errback(RuntimeError("late"))

    assert pending is not None
    assert before == []
    assert told.calls == [("failed", "late")]


# What is no Exception.

ENDINGS = (RuntimeError, SystemExit, KeyboardInterrupt, GeneratorExit, asyncio.CancelledError)
CLIENTS = (
    "onConnecting",
    "onConnect",
    "onOpen",
    "onMessage",
    "onPing",
    "onPong",
    "onSendPaused",
    "onSendResumed",
    "onClose",
)
NAMES = [("client", name) for name in CLIENTS] + [("server", name) for name in CLIENTS[1:]]


def raising(base: type[Any], name: str, error: BaseException, is_async: bool) -> type[Any]:
    def plain(self: Any, *args: object) -> None:
        self.calls.append((name, *args))
        raise error

    async def coroutine(self: Any, *args: object) -> None:
        plain(self, *args)

    return type("Raising", (base,), {name: coroutine if is_async else plain})


def run(step: Callable[[], object]) -> list[BaseException]:
    """Take *step* again until it ends by itself; returns what it raised before, as a loop that is run again would."""
    raised: list[BaseException] = []
    while True:
        try:
            step()
        except (SystemExit, KeyboardInterrupt) as error:
            raised.append(error)
        else:
            return raised


@pytest.mark.parametrize("is_async", [False, True], ids=["plain", "async"])
@pytest.mark.parametrize("kind", ENDINGS)
@pytest.mark.parametrize(("side", "name"), NAMES)
def test_whatever_a_callback_raises_its_connection_is_ended_and_counted(
    side: str, name: str, kind: type[BaseException], is_async: bool
) -> None:
    """What ends a program goes on to do so, where it was raised and not in a task of its own."""
    clock, error = Clock(), kind("on purpose")
    classes: dict[str, type[Any]] = {"server": RecordingServer, "client": RecordingClient}
    classes[side] = raising(classes[side], name, error, is_async)
    server: Any = ServerFactory(classes["server"], reactor=clock, writeLimit=(10, 0))
    client: Any = ClientFactory("ws://localhost/", classes["client"], reactor=clock, writeLimit=(10, 0))
    pair = linked_pair(server, client, opened=False)
    pair.server_wire.capacity = pair.client_wire.capacity = 0
    raised = run(pair.run)
    for one in (pair.server, pair.client):
        if one.isOpen:
            one.sendMessage("more than ten bytes")
            one.sendPing()
        raised += run(pair.run)
    pair.client.sendClose()
    raised += run(lambda: pair.advance(60))

    assert raised == ([error] if kind in (SystemExit, KeyboardInterrupt) and not is_async else [])
    assert (server if side == "server" else client).log.failures == [error]
    for factory, one in ((server, pair.server), (client, pair.client)):
        assert one.names.count("onClose") == (one.calls != [])
        assert not {*factory.connections, *factory.openings, *factory._leaving}
        counters = factory.counters
        assert counters.opened == sum(counters.closed.values())
        assert counters.opened + sum(counters.failed.values()) == 1
