"""What every framework must hand in: the promises of the interfaces, kept by each implementation of them.

The test kit's and Twisted's are asked the same questions; another flavour's go into ``FLAVOURS``.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
from twisted.internet.task import Clock as TwistedClock
from twisted.logger import LogEvent, formatEvent, globalLogPublisher

from wsfactory.flavour import Flavour
from wsfactory.testing import Clock, Log, RecordingServer, ServerFactory
from wsfactory.twisted.transport import flavour_for


class Made:
    """A flavour, and the clock that it runs on."""

    def __init__(self, flavour: Flavour, advance: Callable[[float], object]) -> None:
        self.flavour = flavour
        self.futures = flavour.futures
        self.advance = advance
        self.told: list[object] = []

    def watch(self, future: object) -> None:
        self.futures.watch(
            future, lambda value: self.told.append(("done", value)), lambda error: self.told.append(("failed", error))
        )


def memory() -> Made:
    clock = Clock()
    return Made(ServerFactory(RecordingServer, reactor=clock).flavour, clock.advance)


def twisted() -> Made:
    clock = TwistedClock()
    return Made(flavour_for(clock), clock.advance)


FLAVOURS = {"memory": memory, "twisted": twisted}


@pytest.fixture(params=FLAVOURS)
def made(request: pytest.FixtureRequest) -> Made:
    return FLAVOURS[request.param]()


def test_a_future_is_told_its_result(made: Made) -> None:
    future = made.futures.create()
    made.watch(future)
    before = [*made.told]
    made.futures.resolve(future, 5)

    assert before == []
    assert made.told == [("done", 5)]


def test_a_future_is_told_its_failure(made: Made) -> None:
    future, error = made.futures.create(), KeyError()
    made.watch(future)
    made.futures.reject(future, error)

    assert made.told == [("failed", error)]


def test_a_watcher_that_comes_late_is_told_at_once(made: Made) -> None:
    future = made.futures.create()
    made.futures.resolve(future, 5)
    made.watch(future)

    assert made.told == [("done", 5)]


def test_a_future_has_one_result(made: Made) -> None:
    """What comes second is ignored: a deadline and an answer may well race."""
    future = made.futures.create()
    made.watch(future)
    made.futures.resolve(future, 1)
    made.futures.resolve(future, 2)
    made.futures.reject(future, KeyError())
    made.futures.cancel(future)

    assert made.told == [("done", 1)]


def test_a_cancelled_future_fails_and_says_so_to_its_maker(made: Made) -> None:
    future = made.futures.create(lambda: made.told.append("cancelled"))
    made.watch(future)
    made.futures.cancel(future)
    made.futures.resolve(future, 5)

    assert made.told[0] == "cancelled"
    assert len(made.told) == 2
    assert isinstance(made.told[1], tuple)
    assert made.told[1][0] == "failed"


@pytest.mark.parametrize("result", [5, "text", [], object()])
def test_what_cannot_be_awaited_is_no_future(made: Made, result: object) -> None:
    assert made.futures.from_result(result) is None


def test_a_coroutine_runs_as_far_as_it_can_at_once(made: Made) -> None:
    async def run() -> int:
        made.told.append("ran")
        await future  # type: ignore[misc]
        return 5

    future = made.futures.create()
    task = made.futures.from_result(run())
    assert task is not None
    made.watch(task)
    before = [*made.told]
    made.futures.resolve(future)

    assert before == ["ran"]
    assert made.told == ["ran", ("done", 5)]


def test_a_coroutine_that_raises_fails(made: Made) -> None:
    async def run() -> None:
        raise error

    error = KeyError()
    task = made.futures.from_result(run())
    assert task is not None
    made.watch(task)

    assert made.told == [("failed", error)]


def test_cancelling_a_coroutine_reaches_what_it_awaits(made: Made) -> None:
    async def run() -> None:
        try:
            await future  # type: ignore[misc]
        finally:
            made.told.append("cleaned up")

    future = made.futures.create(lambda: made.told.append("cancelled"))
    task = made.futures.from_result(run())
    assert task is not None
    made.watch(task)
    made.futures.cancel(task)

    assert made.told[:2] == ["cancelled", "cleaned up"]
    assert len(made.told) == 3


def test_a_future_of_its_own_is_taken_as_it_is(made: Made) -> None:
    future = made.futures.create()

    assert made.futures.from_result(future) is future


def test_soon_is_not_now(made: Made) -> None:
    made.flavour.soon(lambda: made.told.append("soon"))
    before = [*made.told]
    made.advance(0)

    assert before == []
    assert made.told == ["soon"]


def test_the_wheel_runs_on_its_clock(made: Made) -> None:
    made.flavour.wheel.after(5, lambda: made.told.append(made.flavour.wheel.now()))
    made.advance(4.9)
    before = [*made.told]
    made.advance(0.2)

    assert before == []
    assert len(made.told) == 1


def test_a_log_takes_fields_and_failures(made: Made) -> None:
    """Formatted where somebody reads it, and with the name of the level."""
    lines: list[str] = []

    def observe(event: LogEvent) -> None:
        lines.append(formatEvent(event))

    globalLogPublisher.addObserver(observe)  # type: ignore[arg-type]
    for write in (made.flavour.log.debug, made.flavour.log.info, made.flavour.log.warn, made.flavour.log.error):
        write("{peer} left", peer="x")
    made.flavour.log.failure("{name} raised", KeyError("y"), name="z")
    globalLogPublisher.removeObserver(observe)  # type: ignore[arg-type]
    if isinstance(made.flavour.log, Log):
        lines = [line for _, line in made.flavour.log.lines]

    assert lines[-4:] == ["x left", "x left", "x left", "z raised"]
