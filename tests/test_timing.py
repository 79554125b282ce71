"""The timing wheel: never early, hardly late, asleep when empty, and fair to peers whose bytes have already arrived."""

from __future__ import annotations

import math
import weakref
from collections.abc import Callable

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from twisted.internet.task import Clock

from wsfactory.timing import SLACK_SECONDS, TICK_SECONDS, Deadline, ProgressDeadline, Wheel

TICK = TICK_SECONDS


class Bench:
    """A wheel on a clock that stands until it is moved, and what happened on it."""

    def __init__(self, start: float = 0.0) -> None:
        self.clock = Clock()
        self.clock.rightNow = start
        self.errors: list[Exception] = []
        self.fired: list[tuple[str, float]] = []
        self.wheel = Wheel(self.clock.seconds, self.clock.callLater, self.errors.append)

    def after(self, seconds: float, name: str = "") -> Deadline:
        return self.wheel.after(seconds, self.note(name))

    def note(self, name: str) -> Callable[[], None]:
        return lambda: self.fired.append((name, self.clock.seconds()))

    @property
    def names(self) -> list[str]:
        return [name for name, _ in self.fired]

    @property
    def wakeups(self) -> int:
        return len(self.clock.getDelayedCalls())


@pytest.fixture
def bench() -> Bench:
    return Bench()


# When.


@given(
    start=st.floats(0, 1e6),
    delays=st.lists(st.floats(0, 2), min_size=1, max_size=30),
    step=st.sampled_from([0.001, 0.0025, 0.01, 0.03]),
)
@settings(max_examples=60, deadline=None)
def test_a_deadline_is_never_early_and_at_most_a_tick_late(start: float, delays: list[float], step: float) -> None:
    bench = Bench(start)
    due: dict[str, float] = {}
    for number, delay in enumerate(delays):
        due[str(number)] = bench.after(delay, str(number)).due
    while len(bench.fired) < len(delays):
        bench.clock.advance(step)

    # The clock of the test moves by whole steps: nothing can be punctual to less.
    assert all(due[name] <= time <= due[name] + TICK + step * 1.001 for name, time in bench.fired)


# 8191.99 and one bit more, divided by a tick of 0.01, is 819199: a tick that ends before it.
@example(start=0.0, delay=math.nextafter(819199 * 0.01, math.inf))
@given(start=st.floats(0, 1e9), delay=st.floats(0, 1e4))
def test_rounding_to_ticks_never_makes_a_deadline_early(start: float, delay: float) -> None:
    """Not by the last bit of a float either: a clock that stops right at the wake-up finds the deadline due."""
    bench = Bench(start)
    deadline = bench.after(delay)
    while not bench.fired:
        (wakeup,) = bench.clock.getDelayedCalls()
        bench.clock.advance(max(0.0, wakeup.getTime() - bench.clock.seconds()))

    assert bench.fired[0][1] >= deadline.due


def test_deadlines_fire_in_the_order_of_their_ticks(bench: Bench) -> None:
    for seconds in (3, 1, 2):
        bench.after(seconds, str(seconds))
    bench.clock.pump([0.5] * 8)

    assert bench.names == ["1", "2", "3"]


def test_a_wake_up_that_comes_too_early_fires_nothing_and_is_repeated() -> None:
    """The reactor's own clock may run ahead of the one that counts."""
    calls: list[tuple[float, Callable[[], None]]] = []
    bench = Bench()

    def call_later(seconds: float, callback: Callable[[], None]) -> Bench:
        calls.append((seconds, callback))
        return bench

    wheel = Wheel(bench.clock.seconds, call_later, bench.errors.append)  # type: ignore[arg-type]
    wheel.after(1.0, bench.note("due"))
    bench.clock.rightNow = 0.75
    calls.pop()[1]()

    assert bench.fired == []
    assert [seconds for seconds, _ in calls] == [0.25]


# What it costs.


def test_a_wheel_without_deadlines_is_asleep(bench: Bench) -> None:
    asleep = [bench.wakeups]
    deadline = bench.after(1)
    deadline.cancel()
    asleep.append(bench.wakeups)
    bench.after(1)
    bench.clock.advance(1.01)
    asleep.append(bench.wakeups)

    assert bench.names == [""]
    assert asleep == [0, 0, 0]


def test_a_thousand_deadlines_are_one_timer(bench: Bench) -> None:
    for number in range(1000):
        bench.after(1 + number / 7)

    assert len(bench.wheel) == 1000
    assert bench.wakeups == 1


def test_an_earlier_deadline_moves_the_wake_up_forward_and_its_end_moves_it_back(bench: Bench) -> None:
    def wakes_at() -> float:
        (wakeup,) = bench.clock.getDelayedCalls()
        return float(wakeup.getTime())

    bench.after(5)
    times = [wakes_at()]
    early = bench.after(2)
    times.append(wakes_at())
    early.cancel()
    times.append(wakes_at())

    assert times == [5, 2, 5]


def test_what_was_cancelled_is_let_go_at_once(bench: Bench) -> None:
    """A cancelled deadline keeps neither its callback nor, once enough were cancelled, its place."""
    bench.after(1)
    owner = Bench()
    gone = weakref.ref(owner)
    deadline = bench.wheel.after(10, owner.note("never"))
    deadline.cancel()
    del owner
    for number in range(1000):
        bench.after(2 + number % 100).cancel()

    assert gone() is None
    assert len(bench.wheel) == 1
    assert len(bench.wheel._order) < 20


# Cancelling.


def test_a_cancelled_deadline_does_not_fire_however_often_it_is_cancelled(bench: Bench) -> None:
    deadline = bench.after(1)
    states = [deadline.active]
    deadline.cancel()
    deadline.cancel()
    states.append(deadline.active)
    bench.clock.advance(2)

    assert states == [True, False]
    assert bench.fired == []


def test_cancelling_what_has_fired_does_nothing(bench: Bench) -> None:
    deadline = bench.after(1)
    bench.clock.advance(1.5)
    deadline.cancel()

    assert bench.names == [""]
    assert not deadline.active


def test_a_deadline_may_cancel_itself_and_others_of_the_same_tick(bench: Bench) -> None:
    deadlines: list[Deadline] = []

    def first() -> None:
        bench.note("first")()
        for deadline in deadlines:
            deadline.cancel()

    deadlines.append(bench.wheel.at(1, first))
    deadlines.append(bench.wheel.at(1, bench.note("second")))
    bench.wheel.at(1, bench.note("third"))
    bench.clock.advance(1.02)

    assert bench.names == ["first", "third"]
    assert len(bench.wheel) == bench.wakeups == 0


def test_a_deadline_may_cancel_one_of_a_later_tick_that_is_due_as_well(bench: Bench) -> None:
    later = bench.after(2, "later")
    bench.wheel.after(1, later.cancel)
    bench.clock.advance(3)

    assert bench.fired == []


# Errors.


def test_an_error_in_one_deadline_does_not_hurt_the_others(bench: Bench) -> None:
    error = ValueError("oops")

    def fail() -> None:
        raise error

    bench.wheel.at(1, fail)
    bench.wheel.at(1, bench.note("same tick"))
    bench.wheel.at(2, bench.note("later"))
    bench.clock.pump([1.0, 1.0])

    assert bench.errors == [error]
    assert bench.names == ["same tick", "later"]


# Added while others fire.


def test_a_deadline_added_while_firing_is_kept(bench: Bench) -> None:
    bench.wheel.at(1, lambda: bench.wheel.at(2, bench.note("again")))
    bench.clock.pump([1.0, 1.0])

    assert bench.names == ["again"]
    assert bench.wakeups == 0


@pytest.mark.parametrize("due", [-5.0, 0.0, 1.0])
def test_a_deadline_in_the_past_fires_at_the_next_tick(bench: Bench, due: float) -> None:
    """Never within the pass that added it: a deadline that adds itself again and again starves nobody."""

    def again() -> None:
        bench.note("again")()
        bench.wheel.at(due, again)

    bench.wheel.at(1, again)
    bench.clock.advance(1)
    first = len(bench.fired)
    bench.clock.pump([TICK * 1.0001] * 3)

    assert first == 1
    assert len(bench.fired) == 4


# 4.1 divided by a tick of 0.01 is 409.99999999999994: a tick that ends right now.
@example(start=4.1)
@given(start=st.one_of(st.floats(0, 1e6), st.integers(0, 10**6).map(lambda number: number / 100)))
def test_the_next_tick_is_never_this_moment(start: float) -> None:
    bench = Bench(start)
    bench.after(0)
    bench.clock.advance(0)
    now = len(bench.fired)
    bench.clock.advance(TICK * 1.0001)

    assert (now, len(bench.fired)) == (0, 1)


# A loop that was blocked.


def test_after_a_blocked_loop_what_arrived_is_read_before_deadlines_fire(bench: Bench) -> None:
    """A wake-up later than the slack lets one read pass happen first: here it spares the peer."""
    spared = bench.after(1, "spared")
    bench.clock.callLater(3, spared.cancel)
    bench.after(1, "silent")
    bench.clock.advance(3)

    assert bench.names == ["silent"]


def test_a_punctual_wake_up_fires_at_once(bench: Bench) -> None:
    almost_late = 1 + SLACK_SECONDS * 0.9
    deadline = bench.after(1, "due")
    bench.clock.callLater(almost_late, deadline.cancel)
    bench.clock.advance(almost_late)

    assert bench.names == ["due"]


def test_every_late_wake_up_lets_reads_happen_first(bench: Bench) -> None:
    """Also when the first read pass took the deadline away for which it was waited."""
    bench.clock.callLater(3, bench.after(1, "first").cancel)
    bench.clock.callLater(9, bench.after(6, "second").cancel)
    bench.clock.advance(3)
    bench.clock.advance(6)

    assert bench.fired == []


def test_the_read_pass_delays_a_deadline_once_not_for_ever(bench: Bench) -> None:
    bench.after(1, "a")
    bench.after(1.5, "b")
    bench.clock.advance(3)

    assert bench.names == ["a", "b"]
    assert bench.wakeups == 0


# Deadlines that progress puts off.


class Progress(Bench):
    """Something with *left* bytes to send, and ten seconds without progress to do so."""

    def __init__(self, left: int) -> None:
        super().__init__()
        self.left = left
        self.deadline = ProgressDeadline(self.wheel, 10.0, lambda: self.left, self.note("expired"))

    def run(self, seconds: float) -> None:
        self.clock.pump([TICK] * round(seconds / TICK))


@pytest.mark.parametrize("left", [0, 5000])
def test_without_progress_a_progress_deadline_is_exact(left: int) -> None:
    bench = Progress(left)
    bench.run(11)
    ((_, time),) = bench.fired

    assert 10.0 <= time <= 10.0 + 2 * TICK
    assert bench.wakeups == 0


@given(start=st.integers(0, 10**5).map(lambda number: number / 100), seconds=st.sampled_from([0.3, 3.0, 10.0]))
def test_without_progress_a_progress_deadline_ends_wherever_rounding_leads(start: float, seconds: float) -> None:
    """At 1.1 + 3 it is 4.1, but 4.1 - 1.1 is not yet 3."""
    bench = Bench(start)
    ProgressDeadline(bench.wheel, seconds, lambda: 0, bench.note("expired"))
    looks = 0
    while bench.wakeups:
        (wakeup,) = bench.clock.getDelayedCalls()
        bench.clock.advance(max(0.0, wakeup.getTime() - bench.clock.seconds()))
        looks += 1

    assert bench.names == ["expired"]
    assert looks <= 22


def test_progress_starts_it_anew() -> None:
    """However long it takes: what is taken byte by byte is not given up."""
    bench = Progress(100)
    for _ in range(10):
        bench.run(9)
        bench.left -= 1
    moved = bench.clock.seconds()
    assert bench.fired == []
    bench.run(11)
    ((_, time),) = bench.fired

    assert moved + 10.0 <= time <= moved + 10.0 + 10.0 / 20 + 2 * TICK


def test_bytes_that_appear_only_later_count_too() -> None:
    """What a transport hides at first, in a buffer that it does not tell of, leaves like any other."""
    bench = Progress(0)
    bench.run(1)
    bench.left = 100
    bench.run(8)
    bench.left = 50
    bench.run(9)

    assert bench.fired == []


def test_more_bytes_waiting_are_no_progress() -> None:
    bench = Progress(100)
    bench.run(9)
    bench.left = 200
    bench.run(1.1)

    assert bench.names == ["expired"]


@pytest.mark.parametrize("seconds", [0.02, 3.0])
def test_a_progress_deadline_can_be_taken_back(seconds: float) -> None:
    bench = Progress(100)
    bench.run(seconds)
    bench.deadline.cancel()
    bench.deadline.cancel()
    bench.run(20)

    assert bench.fired == []
    assert len(bench.wheel) == bench.wakeups == 0
