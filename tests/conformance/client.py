"""The echo client that the Autobahn|Testsuite tests: runs every case that the fuzzing server offers, then ends.

All options but those in limits.py are the defaults.
"""

from __future__ import annotations

import argparse
from urllib.parse import quote

from limits import LARGEST_MESSAGE, MOST_FRAGMENTS
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorCore
from twisted.internet.task import react

from wsfactory.twisted import ClientFactory, ClientProtocol, connect


class Case(ClientProtocol):
    """Sends every message back; ``closed`` fires at the end."""

    def __init__(self) -> None:
        super().__init__()
        self.closed: Deferred[None] = Deferred()
        self.cases = 0

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        self.sendMessage(payload, isBinary)

    def onClose(self, wasClean: bool, code: int, reason: str) -> None:
        self.closed.callback(None)


class Count(Case):
    """Is told how many cases there are."""

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        self.cases = int(payload)


async def run_all(_reactor: IReactorCore, server: str, agent: str) -> None:
    """Run the cases one after the other, then have the server write its reports."""
    count = await run(f"{server}getCaseCount", Count)
    for number in range(1, count.cases + 1):
        await run(f"{server}runCase?case={number}&agent={agent}", Case)
    await run(f"{server}updateReports?agent={agent}", Case)


async def run(url: str, protocol: type[Case]) -> Case:
    """Return the connection to *url* when it is over."""
    factory = ClientFactory(url, protocol, maxMessagePayloadSize=LARGEST_MESSAGE, maxFragments=MOST_FRAGMENTS)
    connection = await connect(url, factory)
    assert isinstance(connection, Case)
    await connection.closed
    return connection


def run_twisted(server: str, agent: str) -> None:
    """Run the cases on Twisted."""
    react(run_all, (server, quote(agent)))


FLAVOURS = {"twisted": run_twisted}

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--flavour", choices=FLAVOURS, default="twisted")
    parser.add_argument("server", help="the fuzzing server's URL, with a slash at the end")
    parser.add_argument("agent", help="our name in the reports")
    options = parser.parse_args()
    FLAVOURS[options.flavour](options.server, options.agent)
