"""wsfactory inside an application that exists: a web site at 8080 and a WebSocket endpoint at 9000, one reactor."""

from twisted.application import internet, service
from twisted.internet import reactor
from twisted.internet.endpoints import serverFromString
from twisted.web import server, static

from wsfactory.twisted import ServerFactory, ServerProtocol


class Echo(ServerProtocol):
    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        self.sendMessage(payload, isBinary)


application = service.Application("site with WebSockets")
site = server.Site(static.Data(b"<p>a site", "text/html"))
sockets = ServerFactory(Echo, allowedOrigins=["http://127.0.0.1:8080"])

for description, factory in ("tcp:8080:interface=127.0.0.1", site), ("tcp:9000:interface=127.0.0.1", sockets):
    endpoint = serverFromString(reactor, description)
    internet.StreamServerEndpointService(endpoint, factory).setServiceParent(application)

# Run it with: twistd -ny examples/embedded.py
