"""The echo client that the Autobahn|Testsuite tests: runs every case that the fuzzing server offers, then ends.

All options but those in limits.py are the defaults.
"""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import quote

from limits import LARGEST_MESSAGE, MOST_FRAGMENTS

OPTIONS: dict[str, Any] = {"maxMessagePayloadSize": LARGEST_MESSAGE, "maxFragments": MOST_FRAGMENTS}


class Case:
    """Sends every message back, on any flavour; ``closed`` ends with the connection, ``last`` is what came last."""

    closed: Any
    last = b""

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        self.last = payload
        self.sendMessage(payload, isBinary)  # type: ignore[attr-defined]


# Connects, and returns the connection when it is over.
Run = Callable[[str], Awaitable[Case]]


async def run_all(run: Run, server: str, agent: str) -> None:
    """Run the cases one after the other, then have the server write its reports."""
    count = await run(f"{server}getCaseCount")
    for number in range(1, int(count.last) + 1):
        await run(f"{server}runCase?case={number}&agent={agent}")
    await run(f"{server}updateReports?agent={agent}")


def run_twisted(server: str, agent: str) -> None:
    """Run the cases on Twisted."""
    from twisted.internet.defer import Deferred
    from twisted.internet.task import react

    from wsfactory.twisted import ClientFactory, ClientProtocol, connect

    class Protocol(Case, ClientProtocol):
        def __init__(self) -> None:
            self.closed = Deferred()

        def onClose(self, wasClean: bool, code: int, reason: str) -> None:
            self.closed.callback(None)

    async def run(url: str) -> Case:
        connection: Any = await connect(url, ClientFactory(url, Protocol, **OPTIONS))
        await connection.closed
        return connection  # type: ignore[no-any-return]

    react(lambda _: Deferred.fromCoroutine(run_all(run, server, quote(agent))))


async def run_on_loop(server: str, agent: str) -> None:
    """Run the cases on the running loop."""
    from wsfactory.asyncio import ClientFactory, ClientProtocol, connect

    class Protocol(Case, ClientProtocol):
        def __init__(self) -> None:
            self.closed = asyncio.Event()

        def onClose(self, wasClean: bool, code: int, reason: str) -> None:
            self.closed.set()

    async def run(url: str) -> Case:
        connection: Any = await connect(url, ClientFactory(url, Protocol, **OPTIONS))
        await connection.closed.wait()
        return connection  # type: ignore[no-any-return]

    await run_all(run, server, quote(agent))


def run_asyncio(server: str, agent: str) -> None:
    """Run the cases on asyncio."""
    asyncio.run(run_on_loop(server, agent))


def run_uvloop(server: str, agent: str) -> None:
    """Run the cases on uvloop."""
    import uvloop

    uvloop.run(run_on_loop(server, agent))


FLAVOURS = {"twisted": run_twisted, "asyncio": run_asyncio, "uvloop": run_uvloop}

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--flavour", choices=FLAVOURS, default="twisted")
    parser.add_argument("server", help="the fuzzing server's URL, with a slash at the end")
    parser.add_argument("agent", help="our name in the reports")
    options = parser.parse_args()
    FLAVOURS[options.flavour](options.server, options.agent)
