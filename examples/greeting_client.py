"""A client that says hello, prints the answer and closes: start ``echo_server.py`` first."""

from twisted.internet import reactor

from wsfactory.twisted import ClientFactory, ClientProtocol, connect

URL = "ws://127.0.0.1:9000/"


class Greeter(ClientProtocol):
    def onOpen(self) -> None:
        self.sendMessage("hello")

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        print(payload.decode())
        self.sendClose(1000, "thanks")

    def onHandshakeFailed(self, error: Exception) -> None:
        print("failed:", error)

    def onClose(self, wasClean: bool, code: int, reason: str) -> None:
        reactor.stop()


if __name__ == "__main__":
    connect(URL, ClientFactory(URL, Greeter)).addErrback(lambda failure: None)
    reactor.run()
