"""Tests on the reactor: coroutines that await Deferreds, each with a safety net of time."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from functools import wraps
from typing import Any, ParamSpec

import pytest_twisted
from twisted.internet.defer import Deferred

__all__ = ["on_reactor"]

# Nothing takes that long: whoever waits longer waits for ever.
SAFETY_NET_SECONDS = 30.0

Arguments = ParamSpec("Arguments")
Test = Callable[Arguments, Coroutine[Any, Any, None]]


def on_reactor(test: Test[Arguments]) -> Test[Arguments]:
    """Run *test* on the reactor; it fails where it awaits something that never happens."""

    @wraps(test)
    async def bounded(*args: Arguments.args, **kwargs: Arguments.kwargs) -> None:
        from twisted.internet import reactor

        await Deferred.fromCoroutine(test(*args, **kwargs)).addTimeout(SAFETY_NET_SECONDS, reactor)

    return pytest_twisted.ensureDeferred(bounded)  # type: ignore[no-any-return]
