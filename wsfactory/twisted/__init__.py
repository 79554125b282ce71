"""wsfactory on Twisted: the names that users import.

Every callback may be a plain function, an ``async def``, or return a Deferred.
"""

from wsfactory.twisted.client import ClientFactory, ClientProtocol, ClientStream, connect
from wsfactory.twisted.server import ServerFactory, ServerProtocol, ServerStream, ServingFactory, listen

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
]
