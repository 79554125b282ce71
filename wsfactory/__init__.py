"""wsfactory: a WebSocket protocol-factory framework for Twisted and asyncio.

A tour in ten lines::

    from wsfactory.twisted import ServerFactory, ServerProtocol, listen

    class Echo(ServerProtocol):
        def onMessage(self, payload, isBinary):
            self.sendMessage(payload, isBinary)

    listen("ws://127.0.0.1:9000/", ServerFactory(Echo))

What both flavours share is here: errors, values, and ``COMPILED``, which tells which build of the codec runs.
"""

from wsfactory._codec import COMPILED
from wsfactory.errors import (
    ConnectError,
    ConnectionClosed,
    ConnectionDeny,
    HandshakeError,
    HandshakeTimeout,
    InvalidPayload,
    InvalidState,
    InvalidURL,
    OptionError,
    ProtocolError,
    WebSocketError,
)
from wsfactory.events import CloseCause, CloseInfo
from wsfactory.frames import CloseCode, Opcode
from wsfactory.http11 import Headers, Request, Response
from wsfactory.tls import TLS

__version__ = "0.1.0"

__all__ = [
    "COMPILED",
    "TLS",
    "CloseCause",
    "CloseCode",
    "CloseInfo",
    "ConnectError",
    "ConnectionClosed",
    "ConnectionDeny",
    "HandshakeError",
    "HandshakeTimeout",
    "Headers",
    "InvalidPayload",
    "InvalidState",
    "InvalidURL",
    "Opcode",
    "OptionError",
    "ProtocolError",
    "Request",
    "Response",
    "WebSocketError",
    "__version__",
]
