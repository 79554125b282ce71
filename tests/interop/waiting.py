"""Tests on the reactor: coroutines that await Deferreds, each with a safety net of time."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from functools import wraps
from typing import Any, ParamSpec, TypeVar

import pytest_twisted
from twisted.internet.defer import Deferred

__all__ = ["on_reactor", "within"]

# Nothing takes that long: whoever waits longer waits for ever.
SAFETY_NET_SECONDS = 20.0

Result = TypeVar("Result")
Arguments = ParamSpec("Arguments")
Test = Callable[Arguments, Coroutine[Any, Any, None]]


def within(seconds: float, deferred: Deferred[Result]) -> Deferred[Result]:
    """Let *deferred* fail with TimeoutError once *seconds* have passed."""
    from twisted.internet import reactor

    return deferred.addTimeout(seconds, reactor)


def on_reactor(test: Test[Arguments]) -> Test[Arguments]:
    """Run *test* on the reactor; it fails where it awaits something that never happens."""

    @wraps(test)
    async def bounded(*args: Arguments.args, **kwargs: Arguments.kwargs) -> None:
        await within(SAFETY_NET_SECONDS, Deferred.fromCoroutine(test(*args, **kwargs)))

    return pytest_twisted.ensureDeferred(bounded)  # type: ignore[no-any-return]
