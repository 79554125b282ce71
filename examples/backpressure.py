"""A server that sends a million lines to whoever connects, as fast as that one reads, and never faster.

``await self.drain()`` waits while more than ``writeLimit`` bytes are unsent.
"""

from twisted.internet import reactor

from wsfactory import ConnectionClosed
from wsfactory.twisted import ServerFactory, ServerProtocol, listen


class Lines(ServerProtocol):
    async def onOpen(self) -> None:
        try:
            for number in range(1_000_000):
                self.sendMessage(f"line {number}")
                await self.drain()
            self.sendClose()
        except ConnectionClosed:
            pass  # the reader left


if __name__ == "__main__":
    listen("ws://127.0.0.1:9000/", ServerFactory(Lines, writeLimit=32 * 1024))
    reactor.run()
