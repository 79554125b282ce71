"""An echo server in ten lines: ``python examples/echo_server.py``, then ``python -m wsfactory ws://127.0.0.1:9000/``."""

from twisted.internet import reactor

from wsfactory.twisted import ServerFactory, ServerProtocol, listen


class Echo(ServerProtocol):
    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        self.sendMessage(payload, isBinary)


if __name__ == "__main__":
    listen("ws://127.0.0.1:9000/", ServerFactory(Echo))
    reactor.run()
