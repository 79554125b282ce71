"""The one place that calls users.

A callback may be a plain function, an ``async def``, or return a Deferred or Future.  None costs nothing; anything
awaitable is awaited; whatever else it returns is its result.
"""

from __future__ import annotations

from collections.abc import Callable

from wsfactory.flavour import Future, Futures

__all__ = ["call"]


def call(
    futures: Futures,
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
    except Exception as error:
        failed(error)
        return None
    future = None if result is None else futures.from_result(result)
    if future is None:
        done(result)
        return None
    futures.watch(future, done, failed)
    return future
