"""The echo that ``twistd wsfactory`` serves by itself: every message goes back, and browsers get a page to try it."""

from __future__ import annotations

from wsfactory.http11 import Headers, Request, Response
from wsfactory.twisted.echo_page import PAGE
from wsfactory.twisted.server import ServerProtocol

__all__ = ["Echo"]

# The page is whole in itself: it may load nothing. (That 'self' covers ws and wss is news to some browsers.)
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src ws: wss:"
_PAGE_HEADERS = Headers(
    [
        ("Content-Type", "text/html; charset=utf-8"),
        ("Content-Security-Policy", _POLICY),
        ("X-Content-Type-Options", "nosniff"),
        ("Cache-Control", "no-store"),
    ]
)


class Echo(ServerProtocol):
    """Sends back what it gets; a client that does not read its answers is not read from either."""

    def processRequest(self, request: Request) -> Response | None:
        """Answer a plain GET with the page, whatever its path; of a HEAD the framework sends only the head."""
        return Response(200, "OK", _PAGE_HEADERS, PAGE) if request.method in {"GET", "HEAD"} else None

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        """Send it back."""
        self.sendMessage(payload, isBinary)

    def onSendPaused(self) -> None:
        """Too much waits to be read."""
        self.pauseReceiving()

    def onSendResumed(self) -> None:
        """It has been read."""
        self.resumeReceiving()
