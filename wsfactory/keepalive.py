"""Pings that are waited for, and what their Pongs tell: the round trip.

A Ping that is sent goes in, every Pong that arrives goes in; round trips in seconds come out.  The clock is handed in.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from itertools import count
from typing import Final

from wsfactory.flavour import Future, Futures

__all__ = ["RoundTrips"]

_NUMBERS: Final = count(1)


class RoundTrips:
    """The Pings of one connection that somebody waits for."""

    __slots__ = ("_futures", "_now", "_waiting", "latency")

    def __init__(self, futures: Futures, now: Callable[[], float]) -> None:
        self._futures = futures
        self._now = now
        self._waiting: deque[tuple[bytes, float, Future]] = deque()
        self.latency: float | None = None

    def begin(self, payload: bytes | None) -> tuple[bytes, Future]:
        """Return the payload of a Ping to send now, and a future of its round trip in seconds."""
        payload = next(_NUMBERS).to_bytes(8, "big") if payload is None else payload
        future = self._futures.create()
        self._waiting.append((payload, self._now(), future))
        return payload, future

    def pong(self, payload: bytes) -> None:
        """A Pong arrived: it answers the Ping with its payload, and all before that."""
        # 5.5.3: with several Pings unanswered, an endpoint "MAY elect to send a Pong frame for only the most recently
        # processed Ping frame".
        if not any(sent == payload for sent, _, _ in self._waiting):
            return
        now = self._now()
        while self._waiting:
            sent, began, future = self._waiting.popleft()
            if sent == payload:
                self.latency = now - began
            self._futures.resolve(future, now - began)
            if sent == payload:
                return

    def reject(self, error: BaseException) -> None:
        """No Pong will come any more."""
        while self._waiting:
            self._futures.reject(self._waiting.popleft()[2], error)
