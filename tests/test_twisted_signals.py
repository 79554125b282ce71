"""The first signal is the reactor's, each further one is ours."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from typing import Any, cast

import pytest

from wsfactory.twisted.signals import SecondSignal


class Reactor:
    """What of a reactor this needs."""

    def __init__(self) -> None:
        self.calls: list[object] = []

    def sigInt(self, number: int, frame: object) -> None:
        self.calls.append("SIGINT")

    def sigTerm(self, number: int, frame: object) -> None:
        self.calls.append("SIGTERM")

    def callFromThread(self, call: object) -> None:
        self.calls.append(call)


@pytest.fixture(autouse=True)
def _restore() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture
def reactor() -> Any:
    """A reactor that has taken its signals."""
    reactor = Reactor()
    signal.signal(signal.SIGINT, reactor.sigInt)
    signal.signal(signal.SIGTERM, reactor.sigTerm)
    return reactor


def hurry() -> None:
    raise AssertionError("it is called in the reactor, not amid whatever a signal interrupts")


def raise_signal(number: int) -> None:
    os.kill(os.getpid(), number)


@pytest.mark.parametrize("first", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("second", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_is_the_reactors_and_the_second_hurries(reactor: Any, first: int, second: int) -> None:
    SecondSignal(reactor, hurry).install()
    raise_signal(first)
    raise_signal(second)
    raise_signal(second)

    assert reactor.calls == [signal.Signals(first).name, hurry, hurry]


def test_a_signal_that_something_else_has_taken_is_left_alone(reactor: Any) -> None:
    taken: list[int] = []
    signal.signal(signal.SIGINT, lambda number, frame: taken.append(number))
    SecondSignal(reactor, hurry).install()
    raise_signal(signal.SIGINT)
    raise_signal(signal.SIGINT)

    assert (taken, reactor.calls) == ([signal.SIGINT] * 2, [])


def test_a_reactor_without_signals_is_left_alone() -> None:
    before = signal.getsignal(signal.SIGTERM)
    SecondSignal(cast("Any", object()), hurry).install()

    assert signal.getsignal(signal.SIGTERM) == before
