"""The echo server that the Autobahn|Testsuite tests: prints its URL, then serves until it is killed.

All options but those in limits.py are the defaults.
"""

from __future__ import annotations

import argparse
import asyncio
from typing import Any

from limits import LARGEST_MESSAGE, MOST_FRAGMENTS

OPTIONS: dict[str, Any] = {"maxMessagePayloadSize": LARGEST_MESSAGE, "maxFragments": MOST_FRAGMENTS}


class Echo:
    """Sends every message back, on any flavour."""

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        self.sendMessage(payload, isBinary)  # type: ignore[attr-defined]


def announce(port: int) -> None:
    """Print where we listen: the first line of our output."""
    print(f"ws://127.0.0.1:{port}/", flush=True)


def serve_twisted() -> None:
    """Echo on a free port, on Twisted."""
    from twisted.internet import reactor
    from twisted.internet.defer import Deferred

    from wsfactory.twisted import ServerFactory, ServerProtocol, listen

    class Protocol(Echo, ServerProtocol):
        pass

    async def serve() -> None:
        port = await listen("tcp:0:interface=127.0.0.1", ServerFactory(Protocol, **OPTIONS))
        announce(port.getHost().port)  # type: ignore[attr-defined]

    def give_up(failure: object) -> None:
        print(failure, flush=True)
        reactor.stop()

    Deferred.fromCoroutine(serve()).addErrback(give_up)
    reactor.run()


async def serve_on_loop() -> None:
    """Echo on a free port, on the running loop."""
    from wsfactory.asyncio import ServerFactory, ServerProtocol, listen

    class Protocol(Echo, ServerProtocol):
        pass

    server = await listen("ws://127.0.0.1:0/", ServerFactory(Protocol, **OPTIONS))
    announce(server.sockets[0].getsockname()[1])
    await server.serve_forever()


def serve_asyncio() -> None:
    """Echo on a free port, on asyncio."""
    asyncio.run(serve_on_loop())


def serve_uvloop() -> None:
    """Echo on a free port, on uvloop."""
    import uvloop

    uvloop.run(serve_on_loop())


FLAVOURS = {"twisted": serve_twisted, "asyncio": serve_asyncio, "uvloop": serve_uvloop}

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--flavour", choices=FLAVOURS, default="twisted")
    FLAVOURS[parser.parse_args().flavour]()
