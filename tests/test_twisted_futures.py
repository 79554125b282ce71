"""Deferreds as futures, reactors as clocks, and Twisted's log: what all connections on a reactor share."""

from __future__ import annotations

import asyncio
import gc
import socket
import time
import weakref
from collections.abc import Generator, Iterator
from typing import Any

import pytest
import txaio
from twisted.internet.abstract import FileDescriptor
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.logger import globalLogPublisher

from tests.loopback import on_reactor, the_reactor, until
from wsfactory.timing import Wheel
from wsfactory.twisted import ClientFactory, ClientProtocol, ServerFactory, ServerProtocol
from wsfactory.twisted.transport import DeferredFutures, TwistedLog, flavour_for

AnyDescriptor: Any = FileDescriptor


class Server(ServerProtocol):
    """A server."""


class Client(ClientProtocol):
    """A client."""


# Futures.


@pytest.fixture
def futures() -> DeferredFutures:
    return DeferredFutures()


def outcome_of(futures: DeferredFutures, future: Any) -> list[Any]:
    outcome: list[Any] = []
    futures.watch(
        future, lambda value: outcome.append(("done", value)), lambda error: outcome.append(("failed", error))
    )
    return outcome


@pytest.mark.parametrize("value", [None, 5, "text", b"", [], (), {}, object(), lambda: None, iter(())])
def test_a_plain_result_is_nothing_to_wait_for(futures: DeferredFutures, value: object) -> None:
    assert futures.from_result(value) is None


def test_a_deferred_is_awaited(futures: DeferredFutures) -> None:
    deferred: Deferred[str] = Deferred()
    outcome = outcome_of(futures, futures.from_result(deferred))
    early = list(outcome)
    deferred.callback("value")

    assert (early, outcome) == ([], [("done", "value")])


def test_a_coroutine_is_awaited(futures: DeferredFutures) -> None:
    deferred: Deferred[str] = Deferred()

    async def callback() -> str:
        return await deferred + "!"

    outcome = outcome_of(futures, futures.from_result(callback()))
    early = list(outcome)
    deferred.callback("value")

    assert (early, outcome) == ([], [("done", "value!")])


class AtOnce:
    """What an asyncio future asks of its loop. It need not run: under the asyncio reactor another one does."""

    def get_debug(self) -> bool:
        return False

    def call_soon(self, callback: Any, *args: Any, context: Any = None) -> Any:
        callback(*args)


AT_ONCE: Any = AtOnce()


def test_an_asyncio_future_is_awaited(futures: DeferredFutures) -> None:
    future: asyncio.Future[str] = asyncio.Future(loop=AT_ONCE)
    outcome = outcome_of(futures, futures.from_result(future))
    early = list(outcome)
    future.set_result("value")

    assert (early, outcome) == ([], [("done", "value")])


def test_an_asyncio_future_that_is_cancelled_has_failed(futures: DeferredFutures) -> None:
    future: asyncio.Future[str] = asyncio.Future(loop=AT_ONCE)
    outcome = outcome_of(futures, futures.from_result(future))
    future.cancel()

    assert [type(error) for _, error in outcome] == [asyncio.CancelledError]


def test_any_other_awaitable_is_awaited(futures: DeferredFutures) -> None:
    class Ready:
        def __await__(self) -> Generator[Any, Any, str]:
            yield from ()
            return "value"

    assert outcome_of(futures, futures.from_result(Ready())) == [("done", "value")]


def test_what_fails_is_told_with_its_exception(futures: DeferredFutures) -> None:
    error = ValueError("oops")

    async def callback() -> None:
        raise error

    assert outcome_of(futures, futures.from_result(callback())) == [("failed", error)]


def test_a_future_has_one_outcome(futures: DeferredFutures) -> None:
    future = futures.create()
    outcome = outcome_of(futures, future)
    futures.resolve(future, 1)
    futures.resolve(future, 2)
    futures.reject(future, ValueError())

    assert outcome == [("done", 1)]


@pytest.mark.parametrize(("has_broken_errback", "logged"), [(False, 0), (True, 1)])
def test_a_failure_of_ours_that_nobody_handled_is_not_logged(
    futures: DeferredFutures, has_broken_errback: bool, logged: int
) -> None:
    """``drain()`` that nobody waits for any more is no mistake; what an errback raises is one."""
    events: list[Any] = []
    observe: Any = events.append
    future = futures.create()
    if has_broken_errback:
        future.addErrback(lambda _: 1 / 0)
    futures.reject(future, ValueError())
    globalLogPublisher.addObserver(observe)
    try:
        del future
        gc.collect()
    finally:
        globalLogPublisher.removeObserver(observe)

    assert len([event for event in events if "Unhandled" in (event.get("log_format") or "")]) == logged


def test_a_failure_that_nobody_watched_is_told_to_who_asks_later(futures: DeferredFutures) -> None:
    future, error = futures.create(), ValueError()
    futures.reject(future, error)

    assert outcome_of(futures, future) == [("failed", error)]


def test_cancelling_tells_the_maker_of_a_future(futures: DeferredFutures) -> None:
    told: list[str] = []
    future = futures.create(lambda: told.append("cancelled"))
    outcome = outcome_of(futures, future)
    futures.cancel(future)
    futures.resolve(future, "too late")

    assert told == ["cancelled"]
    assert [type(error) for _, error in outcome] == [CancelledError]


def test_cancelling_a_coroutine_cancels_what_it_awaits(futures: DeferredFutures) -> None:
    told: list[str] = []
    awaited: Deferred[None] = Deferred(lambda _: told.append("cancelled"))

    async def callback() -> None:
        await awaited

    future = futures.from_result(callback())
    outcome = outcome_of(futures, future)
    futures.cancel(future)

    assert told == ["cancelled"]
    assert [type(error) for _, error in outcome] == [CancelledError]


# Clocks.


def test_real_time_is_monotonic() -> None:
    """A reactor's seconds() is the wall clock: setting that would move every deadline."""
    flavour = flavour_for(the_reactor())

    assert flavour.wheel.now is time.monotonic
    assert flavour_for(None).wheel is flavour.wheel


def test_a_tests_clock_is_what_counts() -> None:
    clock = Clock()
    flavour = flavour_for(clock)
    happened: list[float] = []
    flavour.wheel.after(5, lambda: happened.append(clock.seconds()))
    clock.advance(4)
    flavour.soon(lambda: happened.append(clock.seconds()))
    clock.advance(0)
    clock.pump([1, 1])

    assert happened[0] == 4
    assert 5 <= happened[1] <= 6


def test_all_connections_on_a_reactor_share_a_wheel() -> None:
    clock = Clock()
    factories: list[Any] = [
        ServerFactory(Server, reactor=clock),
        ClientFactory("ws://localhost/", Client, reactor=clock),
    ]

    assert factories[0].flavour.wheel is factories[1].flavour.wheel
    assert flavour_for(Clock()).wheel is not factories[0].flavour.wheel


def test_a_tests_clock_goes_with_its_test() -> None:
    clock = Clock()
    flavour_for(clock).wheel.after(5, lambda: None)
    gone = weakref.ref(clock)
    del clock
    gc.collect()

    assert gone() is None


@on_reactor
async def test_after_a_blocked_reactor_what_lies_in_the_kernel_is_read_before_deadlines_fire() -> None:
    """Twisted makes the calls that are due first, and looks at its sockets then."""
    order: list[str] = []
    time_is = [0.0]
    wheel = Wheel(lambda: time_is[0], lambda _, wake: the_reactor().callLater(0, wake), order.append)  # type: ignore[arg-type]
    ours, theirs = socket.socketpair()
    reader: Any = AnyDescriptor(the_reactor())
    reader.fileno = ours.fileno
    reader.doRead = lambda: order.append(ours.recv(10).decode())

    def block() -> None:
        """Take three seconds, in which bytes arrive."""
        time_is[0] = 4.0
        theirs.send(b"alive")

    with ours, theirs:
        reader.startReading()
        the_reactor().callLater(0, block)
        wheel.after(1, lambda: order.append("deadline"))
        await until(lambda: len(order) == 2)
        reader.stopReading()

    assert order == ["alive", "deadline"]


def test_a_deadline_that_raises_is_logged_and_others_fire(events: list[dict[str, Any]]) -> None:
    clock = Clock()
    wheel = flavour_for(clock).wheel
    fired: list[int] = []
    wheel.after(1, lambda: 1 / 0)
    wheel.after(1, lambda: fired.append(1))
    clock.pump([1, 0.1])

    assert fired == [1]
    assert [event["log_failure"].type for event in events] == [ZeroDivisionError]


# The log.


@pytest.fixture
def events() -> Iterator[list[dict[str, Any]]]:
    seen: list[dict[str, Any]] = []
    observer: Any = seen.append
    globalLogPublisher.addObserver(observer)
    yield seen
    globalLogPublisher.removeObserver(observer)


def test_the_log_is_twisteds_with_structured_fields(events: list[dict[str, Any]]) -> None:
    log = TwistedLog()
    log.info("{peer} left", peer="192.0.2.1")
    log.warn("careful")
    log.error("broken")

    assert [(event["log_level"].name, event["log_format"]) for event in events] == [
        ("info", "{peer} left"),
        ("warn", "careful"),
        ("error", "broken"),
    ]
    assert events[0]["peer"] == "192.0.2.1"


def test_a_failure_is_logged_with_the_traceback_of_where_it_was_raised(events: list[dict[str, Any]]) -> None:
    def deep() -> None:
        raise ValueError("oops")

    try:
        deep()
    except ValueError as error:
        TwistedLog().failure("{name} raised", error, name="onMessage")

    assert "in deep" in events[0]["log_failure"].getTraceback()
    assert events[0]["name"] == "onMessage"


def test_the_level_may_be_set_after_the_log_was_made(events: list[dict[str, Any]]) -> None:
    log = TwistedLog()
    before = txaio.tx.get_global_log_level()
    log.debug("unheard")
    txaio.tx.set_global_log_level("debug")
    log.debug("heard")
    txaio.tx.set_global_log_level(before)

    assert [event["log_format"] for event in events] == ["heard"]
