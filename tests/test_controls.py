"""Control frames on their way to the application: all of them, as long as it keeps up; else the newest."""

from __future__ import annotations

from collections.abc import Callable

from wsfactory.controls import MAX_UNDER_WAY, Controls


class Application:
    """Takes its time with each, until ``end``."""

    def __init__(self, is_slow: bool = True) -> None:
        self.told: list[bytes] = []
        self.ends: list[Callable[[], object]] = []
        self._is_slow = is_slow
        self.controls = Controls(self._tell)

    def _tell(self, payload: bytes, done: Callable[[], object]) -> None:
        self.told.append(payload)
        if self._is_slow:
            self.ends.append(done)
        else:
            done()


def numbered(count: int) -> list[bytes]:
    return [b"%d" % number for number in range(count)]


def test_each_is_told_of_where_that_takes_no_time() -> None:
    application = Application(is_slow=False)
    for payload in numbered(1000):
        application.controls.arrived(payload)

    assert application.told == numbered(1000)
    assert application.controls.under_way == []


def test_beyond_a_number_under_way_only_the_newest_is_kept() -> None:
    application = Application()
    for payload in numbered(1000):
        application.controls.arrived(payload)
    first = list(application.told)
    for end in application.ends[:2]:
        end()

    assert first == numbered(MAX_UNDER_WAY)
    assert application.told == [*first, b"999"]
    assert application.controls.under_way == [*first[2:], b"999"]


def test_the_same_payload_may_be_under_way_twice() -> None:
    application = Application()
    for _ in range(2):
        application.controls.arrived(b"")
    application.ends[0]()

    assert application.controls.under_way == [b""]


def test_what_is_forgotten_is_not_told_of() -> None:
    application = Application()
    for payload in numbered(MAX_UNDER_WAY + 1):
        application.controls.arrived(payload)
    application.controls.forget()
    application.ends[0]()

    assert application.told == numbered(MAX_UNDER_WAY)
