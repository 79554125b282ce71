"""The one place that calls users: whatever a callback returns or raises, exactly one of two is called."""

from __future__ import annotations

import pytest
from twisted.internet.defer import Deferred, fail, succeed

from wsfactory.callbacks import call
from wsfactory.testing import Future, Futures


class Told:
    def __init__(self) -> None:
        self.calls: list[tuple[str, object]] = []

    def done(self, result: object) -> None:
        self.calls.append(("done", result))

    def failed(self, error: BaseException) -> None:
        self.calls.append(("failed", str(error)))


def called(callback: object, *args: object) -> tuple[Told, object]:
    told = Told()
    return told, call(Futures(), callback, *args, done=told.done, failed=told.failed)  # type: ignore[arg-type]


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


def test_what_ends_the_process_passes_through() -> None:
    """A KeyboardInterrupt is nobody's mistake."""

    def interrupted() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        called(interrupted)
