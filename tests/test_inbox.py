"""The inbox: messages in order and one at a time, bounded in number and in bytes, resumed at the low mark."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from wsfactory.inbox import PARKED_BYTES, PARKED_OVERHEAD, Inbox

NO_LIMIT = (0, 0)


class Job:
    """What a callback returned that is not done yet."""

    def __init__(self, *, done: bool = False) -> None:
        self.done = done
        self.then: Callable[[], None] | None = None

    def finish(self) -> None:
        self.done = True
        assert self.then is not None
        self.then()


class Application:
    """A session with an application that notes what it gets; *busy*: it takes its time with each message."""

    def __init__(
        self, queue: tuple[int, int] = (4, 1), queue_bytes: tuple[int, int] = NO_LIMIT, *, busy: bool = False
    ) -> None:
        self.inbox = Inbox(self, queue, queue_bytes)
        self.busy = busy
        self.handled: list[bytes] = []
        self.jobs: list[Job] = []
        self.said: list[str] = []
        self.rest: list[bytes] = []
        self.during: Callable[[], object] | None = None

    # What the inbox asks.

    def handle(self, payload: bytes, is_binary: bool) -> object:
        self.handled.append(payload)
        if self.during is not None:
            self.during()
        if not self.busy:
            return None
        self.jobs.append(Job())
        return self.jobs[-1]

    def watch(self, future: object, done: Callable[[], None]) -> None:
        assert isinstance(future, Job)
        future.then = done
        if future.done:
            done()

    def inbox_full(self) -> None:
        self.said.append("full")

    def inbox_room(self) -> None:
        self.said.append("room")
        kept, self.rest = self.rest, []
        self.receive(*kept)

    def inbox_empty(self) -> None:
        self.said.append("empty")

    # What a test does.

    def receive(self, *payloads: bytes) -> None:
        """Deliver as the codec does: after a stop the rest is kept."""
        for payload in payloads:
            if self.inbox.stopped:
                self.rest.append(payload)
            else:
                self.inbox.deliver(payload, False)

    def finish(self, count: int = 1) -> None:
        for _ in range(count):
            self.jobs.pop(0).finish()


def numbered(count: int, size: int = 0) -> list[bytes]:
    return [b"%d".ljust(size + 2) % number for number in range(count)]


# A plain callback.


def test_a_plain_callback_gets_each_message_as_it_arrives() -> None:
    application = Application()
    stops = [application.inbox.deliver(payload, False) for payload in numbered(100)]

    assert application.handled == numbered(100)
    assert not any(stops)
    assert application.inbox._waiting is None


def test_text_and_binary_arrive_as_what_they_are() -> None:
    kinds: list[bool] = []
    application = Application()
    application.handle = lambda payload, is_binary: kinds.append(is_binary)  # type: ignore[method-assign]
    application.inbox.deliver(b"text", False)
    application.inbox.hold()
    application.inbox.deliver(b"bin", True)
    application.inbox.deliver(b"text", False)
    application.inbox.release()

    assert kinds == [False, True, False]


# One at a time, in order.


def test_messages_are_handled_one_at_a_time_in_order() -> None:
    application = Application(busy=True)
    application.receive(*numbered(3))
    seen = [len(application.handled)]
    for _ in range(3):
        application.finish()
        seen.append(len(application.handled))

    assert application.handled == numbered(3)
    assert seen == [1, 2, 3, 3]


def test_a_plain_callback_after_a_slow_one_waits_its_turn() -> None:
    application = Application(busy=True)
    application.receive(b"slow")
    application.busy = False
    application.receive(b"a", b"b")
    waiting = list(application.handled)
    application.finish()
    application.receive(b"c")

    assert waiting == [b"slow"]
    assert application.handled == [b"slow", b"a", b"b", b"c"]


def test_a_message_counts_until_what_its_callback_returned_is_done() -> None:
    application = Application(busy=True)
    application.receive(b"12345", b"678")
    counts = [(len(application.inbox), application.inbox.size)]
    application.finish()
    counts.append((len(application.inbox), application.inbox.size))
    application.finish()
    counts.append((len(application.inbox), application.inbox.size))

    assert counts == [(2, 8), (1, 3), (0, 0)]
    assert application.inbox.idle


@pytest.mark.parametrize("held", [False, True])
def test_thousands_of_awaitables_that_are_done_at_once_do_not_recurse(held: bool) -> None:
    application = Application((0, 0))
    handled = []

    def handle(payload: bytes, is_binary: bool) -> Job:
        handled.append(payload)
        return Job(done=True)

    application.handle = handle  # type: ignore[method-assign]
    if held:
        application.inbox.hold()
    application.receive(*numbered(20_000))
    if held:
        application.inbox.release()

    assert handled == numbered(20_000)


# Bounds.


def test_a_full_queue_parks_64_kib_more_and_then_stops_the_codec() -> None:
    """A parked message counts its length and 64 bytes, so that control frames behind small ones are still seen."""
    application = Application((4, 1), busy=True)
    payload = bytes(1024 - PARKED_OVERHEAD)
    stops = [application.inbox.deliver(payload, True) for _ in range(4 + PARKED_BYTES // 1024)]

    assert stops == [False] * (len(stops) - 1) + [True]
    assert application.inbox.stopped
    assert application.said == ["full"]


def test_empty_messages_are_parked_in_bounded_number() -> None:
    application = Application((4, 1), busy=True)
    stops = 0
    while not application.inbox.deliver(b"", False):
        stops += 1

    assert stops == 4 + PARKED_BYTES // PARKED_OVERHEAD - 1


def test_bytes_are_bounded_like_messages() -> None:
    application = Application(NO_LIMIT, (10_000, 2_500), busy=True)
    application.receive(bytes(9_999))
    not_full = application.inbox.deliver(bytes(1), True)
    full = application.inbox.deliver(bytes(PARKED_BYTES), True)

    assert (not_full, full) == (False, True)


def test_a_message_larger_than_the_bound_passes_when_nothing_else_waits() -> None:
    application = Application(NO_LIMIT, (1000, 250), busy=True)
    alone = application.inbox.deliver(bytes(1_000_000), True)
    application.finish()
    again = application.inbox.deliver(bytes(1_000_000), True)

    assert (alone, again) == (False, False)
    assert len(application.handled) == 2


def test_no_limit_means_no_limit() -> None:
    application = Application(NO_LIMIT, NO_LIMIT, busy=True)
    stops = [application.inbox.deliver(bytes(PARKED_BYTES), True) for _ in range(100)]

    assert not any(stops)
    assert len(application.inbox) == 100


def test_reading_goes_on_at_the_low_mark_and_not_before() -> None:
    application = Application((4, 2), busy=True)
    application.receive(*numbered(4), bytes(PARKED_BYTES), b"last")
    at = []
    while "room" not in application.said:
        application.finish()
        at.append(len(application.inbox))

    # It counts 2 when the rest is read, and then 3.
    assert at == [4, 3, 3]
    assert application.said == ["full", "room"]
    application.finish(3)
    assert application.handled[-1] == b"last"


def test_the_byte_bound_too_has_its_low_mark() -> None:
    application = Application(NO_LIMIT, (1000, 250), busy=True)
    application.receive(bytes(500), bytes(300), bytes(300), bytes(PARKED_BYTES), b"last")
    rooms = []
    for _ in range(4):
        application.finish()
        rooms.append("room" in application.said)

    assert rooms == [False, False, False, True]
    assert application.handled[-1] == b"last"


def test_with_a_bound_of_one_message_reading_goes_on_when_it_is_handled() -> None:
    application = Application((1, 0), busy=True)
    application.receive(b"first", bytes(PARKED_BYTES), b"last")
    application.finish(3)

    assert application.handled == [b"first", bytes(PARKED_BYTES), b"last"]
    assert application.said == ["full", "room", "empty"]


def test_what_was_parked_once_does_not_count_for_ever() -> None:
    """Bursts that each stay within what may be parked never stop the codec, however many they are."""
    application = Application((4, 1), busy=True)
    for _ in range(10):
        application.receive(*[bytes(10_000)] * 8)
        application.finish(8)

    assert "full" not in application.said


def test_the_codec_may_be_stopped_again_by_the_rest_that_it_kept() -> None:
    application = Application((2, 1), busy=True)
    application.receive(*[bytes(PARKED_BYTES)] * 9)
    while application.jobs:
        application.finish()

    assert len(application.handled) == 9
    assert application.said.count("full") == application.said.count("room") > 1


# Holding.


def test_held_messages_wait_and_are_bounded_all_the_same() -> None:
    application = Application((4, 1))
    application.inbox.hold()
    application.receive(*numbered(4), bytes(PARKED_BYTES), b"last")
    held = list(application.handled)
    application.inbox.release()

    assert held == []
    assert application.handled == [*numbered(4), bytes(PARKED_BYTES), b"last"]


def test_each_hold_needs_its_release() -> None:
    application = Application()
    application.inbox.hold()
    application.inbox.hold()
    application.receive(b"a")
    application.inbox.release()
    held = list(application.handled)
    application.inbox.release()
    application.receive(b"b")

    assert held == []
    assert application.handled == [b"a", b"b"]


@pytest.mark.parametrize("busy", [False, True])
def test_a_callback_may_hold_back_the_next_message(busy: bool) -> None:
    application = Application(busy=busy)
    application.during = application.inbox.hold
    application.receive(b"a", b"b")
    application.during = None
    if busy:
        application.finish()
    held = list(application.handled)
    application.inbox.release()

    assert held == [b"a"]
    assert application.handled == [b"a", b"b"]


def test_a_callback_may_hold_back_what_had_arrived_behind_it() -> None:
    application = Application()
    application.inbox.hold()
    application.receive(b"a", b"b", b"c")
    application.during = application.inbox.hold
    application.inbox.release()

    assert application.handled == [b"a"]
    assert len(application.inbox) == 2


# Discarding.


def test_after_discard_the_application_sees_no_further_message() -> None:
    application = Application(busy=True)
    application.receive(*numbered(3))
    application.inbox.discard()
    application.receive(b"later")
    application.finish()
    application.receive(b"still later")

    assert application.handled == numbered(1)
    assert (len(application.inbox), application.inbox.size) == (0, 0)


def test_a_callback_may_discard_the_rest() -> None:
    application = Application()
    application.during = application.inbox.discard
    application.receive(b"a", b"b")

    assert application.handled == [b"a"]


def test_discard_lets_the_codec_read_on_although_a_callback_runs_for_ever() -> None:
    """What the peer still says, such as its Close, has to be read."""
    application = Application((1, 0), busy=True)
    application.receive(b"first", bytes(PARKED_BYTES), b"last")
    application.inbox.discard()

    assert application.said == ["full", "room"]
    assert application.rest == []
    assert not application.inbox.stopped


# The end.


def test_it_says_when_all_is_handled() -> None:
    application = Application(busy=True)
    application.receive(*numbered(2))
    said = []
    for _ in range(2):
        application.finish()
        said.append(list(application.said))

    assert said == [[], ["empty"]]


def test_advance_says_so_where_nothing_was_left() -> None:
    application = Application()
    application.receive(b"a")
    application.inbox.advance()

    assert application.said == ["empty"]


def test_within_a_callback_it_is_not_yet_empty() -> None:
    """The end of the connection is told after the message under way, not amid it."""
    application = Application()
    application.during = application.inbox.advance
    application.receive(b"a")

    assert application.said == []
