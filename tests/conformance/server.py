"""The echo server that the Autobahn|Testsuite tests: prints its URL, then serves until it is killed.

All options but those in limits.py are the defaults.
"""

from __future__ import annotations

import argparse

from limits import LARGEST_MESSAGE, MOST_FRAGMENTS
from twisted.internet import reactor
from twisted.internet.address import IPv4Address
from twisted.internet.interfaces import IListeningPort
from twisted.python.failure import Failure

from wsfactory.twisted import ServerFactory, ServerProtocol, listen


class Echo(ServerProtocol):
    """Sends every message back."""

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        self.sendMessage(payload, isBinary)


def serve_twisted() -> None:
    """Echo on a free port, on Twisted."""
    factory = ServerFactory(Echo, maxMessagePayloadSize=LARGEST_MESSAGE, maxFragments=MOST_FRAGMENTS)
    listening = listen("tcp:0:interface=127.0.0.1", factory)
    listening.addCallbacks(announce, give_up)
    reactor.run()


def announce(port: IListeningPort) -> None:
    """Print where we listen: the first line of our output."""
    host = port.getHost()
    assert isinstance(host, IPv4Address)
    print(f"ws://127.0.0.1:{host.port}/", flush=True)


def give_up(failure: Failure) -> None:
    """Print why we do not listen, and end."""
    print(failure.getTraceback(), flush=True)
    reactor.stop()


FLAVOURS = {"twisted": serve_twisted}

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--flavour", choices=FLAVOURS, default="twisted")
    FLAVOURS[parser.parse_args().flavour]()
