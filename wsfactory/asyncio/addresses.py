"""From a host and a port to one connected socket (RFC 8305, "Happy Eyeballs").

A host name goes in; the socket of the first address that answers comes out.  The loop's own ways are not used: stock
asyncio's forgets a socket that was connected when its caller was cancelled, and uvloop tries one address after another.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from itertools import chain, zip_longest
from typing import Any, Final

__all__ = ["connected_socket"]

# RFC 8305 section 5: "Connection Attempt Delay [...] One recommended value is 250 milliseconds."
ATTEMPT_DELAY_SECONDS: Final = 0.25

# Family, type, protocol, canonical name, address: as getaddrinfo gives them.
Address = tuple[int, int, int, str, Any]
Attempt = asyncio.Task[socket.socket]


async def connected_socket(host: str, port: int) -> socket.socket:
    """Return a socket that is connected to *host*; raises ``OSError``.  Cancelling it leaves no socket."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return await _race(interleaved(found))


def interleaved(found: Sequence[Address]) -> list[Address]:
    """Return *found* with the families taking turns, the first one's first (RFC 8305 section 4)."""
    families: dict[int, list[Address]] = {}
    for address in found:
        families.setdefault(address[0], []).append(address)
    return [address for address in chain(*zip_longest(*families.values())) if address is not None]


async def _race(addresses: Sequence[Address]) -> socket.socket:
    waiting, attempts, errors = deque(addresses), set[Attempt](), list[BaseException]()
    try:
        while waiting or attempts:
            if waiting:
                attempts.add(asyncio.create_task(_attempt(waiting.popleft())))
            delay = ATTEMPT_DELAY_SECONDS if waiting else None
            done, attempts = await _first(attempts, delay)
            for attempt in done:
                error = attempt.exception()
                if error is None:
                    attempts |= done - {attempt}
                    return attempt.result()
                errors.append(error)
        raise _summary(errors)
    finally:
        for attempt in attempts:
            attempt.add_done_callback(_close)
            attempt.cancel()


async def _first(attempts: set[Attempt], delay: float | None) -> tuple[set[Attempt], set[Attempt]]:
    # asyncio.wait makes sets of its own: whoever is cancelled in it still has the one that it gave.
    return await asyncio.wait(attempts, timeout=delay, return_when=asyncio.FIRST_COMPLETED)


async def _attempt(address: Address) -> socket.socket:
    family, kind, protocol, _, where = address
    handle = socket.socket(family, kind, protocol)
    try:
        handle.setblocking(False)
        await asyncio.get_running_loop().sock_connect(handle, where)
    except OSError as error:
        handle.close()
        # Stock asyncio's text has the number only.
        raise OSError(error.errno, f"{os.strerror(error.errno or 0)}: {where[0]} port {where[1]}") from error
    except BaseException:
        handle.close()
        raise
    return handle


def _close(attempt: Attempt) -> None:
    """Nobody wants what *attempt* came to."""
    with suppress(OSError, asyncio.CancelledError):
        attempt.result().close()


def _summary(errors: Sequence[BaseException]) -> BaseException:
    if len(errors) == 1:
        return errors[0]
    return OSError("; ".join(map(str, errors)) or "the name has no address")
