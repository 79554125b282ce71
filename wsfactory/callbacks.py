"""The one place that calls users.

A callback may be a plain function, an ``async def``, or return a Deferred or Future.  None costs nothing; anything
awaitable is awaited; whatever else it returns is its result.  Whatever it raises is an answer, too: a connection whose
callback ended the program, or was cancelled, is still to be ended and counted.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NoReturn

from wsfactory.flavour import Flavour, Future

__all__ = ["at_once", "call", "pass_on"]


def call(
    flavour: Flavour,
    callback: Callable[..., object],
    *args: object,
    done: Callable[[object], object],
    failed: Callable[[BaseException], object],
) -> Future | None:
    """Call ``callback(*args)``; then *done* with its result or *failed* with what it raised, now or once it is known.

    Returns the future that is being waited for, None if there is nothing to wait for.
    """
    try:
        result = callback(*args)
    except BaseException as error:
        failed(error)
        pass_on(flavour, error)
        return None
    future = None if result is None else flavour.futures.from_result(result)
    if future is None:
        done(result)
        return None
    flavour.futures.watch(future, done, failed)
    return future


def at_once(step: Callable[[], object]) -> None:
    """Take *step* where others may have it taken later."""
    step()


def pass_on(flavour: Flavour, error: BaseException) -> None:
    """Let *error* end the program, if that is what it is for, once we have done with it."""
    # Raised right here it would cut short whatever is going on, and what that leaves undone nobody does later.
    if isinstance(error, SystemExit | KeyboardInterrupt):
        flavour.soon(partial(_raise, error))


def _raise(error: BaseException) -> NoReturn:
    raise error
