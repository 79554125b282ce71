"""wsfactory on asyncio: the names that users import.

The same protocols, factories, callbacks and options as on Twisted, and a coroutine API: ``serve`` and ``connect``.
"""

from wsfactory.asyncio.client import ClientFactory, ClientProtocol, ClientStream, connect
from wsfactory.asyncio.server import ServerFactory, ServerProtocol, ServerStream, ServingFactory, listen, serve

__all__ = [
    "ClientFactory",
    "ClientProtocol",
    "ClientStream",
    "ServerFactory",
    "ServerProtocol",
    "ServerStream",
    "ServingFactory",
    "connect",
    "listen",
    "serve",
]
