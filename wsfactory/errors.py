"""Every exception of the package; each protocol error knows its close code.

Two families.  ``ProtocolError`` and its children say that the *peer* broke RFC 6455: whoever notices raises one, and
one place (``connection.py``) turns it into a Close frame with ``error.code``.  The others are raised to the *user* of
the package.  This module is never compiled, so that both builds raise the same classes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from wsfactory.headers import HeaderPairs, Headers

if TYPE_CHECKING:
    from wsfactory.events import CloseInfo

__all__ = [
    "ConnectError",
    "ConnectionClosed",
    "ConnectionDeny",
    "HandshakeError",
    "HandshakeTimeout",
    "InvalidPayload",
    "InvalidState",
    "InvalidURL",
    "MalformedHead",
    "MessageTooBig",
    "OptionError",
    "ProtocolError",
    "Refused",
    "WebSocketError",
]


class WebSocketError(Exception):
    """The base of every exception that this package raises."""


# What the peer did wrong on an open connection.


class ProtocolError(WebSocketError):
    """The peer broke the framing rules; the connection fails with ``code`` (RFC 6455 section 7.1.7)."""

    code = 1002


class InvalidPayload(ProtocolError):
    """A text message, or a close reason, is not UTF-8 (RFC 6455 section 8.1)."""

    code = 1007


class MessageTooBig(ProtocolError):
    """A frame, a message or its number of fragments is beyond a limit of ours (RFC 6455 section 10.4)."""

    code = 1009


# What ends or refuses an opening handshake.


class Refused(WebSocketError):
    """An HTTP answer other than 101, as the server gives it.

    ``status`` is the HTTP status, ``reason`` its phrase, ``headers`` (name, value) pairs, ``body`` the bytes of the
    body.  ``str(error)`` is for our own log.
    """

    def __init__(
        self, status: int, reason: str = "", headers: HeaderPairs = (), body: bytes | str = b"", *, log: str = ""
    ) -> None:
        self.status = status
        self.reason = reason
        self.headers = list(headers.items() if isinstance(headers, Mapping) else headers)
        self.body = body.encode() if isinstance(body, str) else bytes(body)
        super().__init__(log or f"{status} {reason}".strip())


class MalformedHead(Refused):
    """The bytes are no HTTP/1.1 request or response head within the bounds (RFC 9112); ``status`` says which fault."""


class ConnectionDeny(Refused):
    """Raise it in a server's ``onConnect`` to refuse the client: ``ConnectionDeny(403, "Forbidden", body="no")``."""


class HandshakeError(WebSocketError):
    """The server did not accept the upgrade.

    ``status`` (0 where there was no HTTP answer), ``reason``, ``headers`` (``Headers``) and ``body`` (bounded) are the
    refusal's.
    """

    def __init__(
        self, message: str, status: int = 0, reason: str = "", headers: HeaderPairs = (), body: bytes = b""
    ) -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason
        self.headers = headers if isinstance(headers, Headers) else Headers(headers)
        self.body = body


class HandshakeTimeout(HandshakeError):
    """``openHandshakeTimeout`` passed before the connection was open."""


class ConnectError(WebSocketError):
    """No connection could be made: the name did not resolve, the port refused, the proxy or TLS failed."""


# What the caller did wrong, or learns.


class ConnectionClosed(WebSocketError):
    """The connection is closing or closed; ``closeInfo`` says how (None while that is not yet known)."""

    def __init__(self, message: str = "the connection is closing", closeInfo: CloseInfo | None = None) -> None:
        super().__init__(message)
        self.closeInfo = closeInfo


class InvalidState(WebSocketError):
    """The call does not fit the connection's state: sending before ``onOpen``, or listening after a shutdown."""


class InvalidURL(WebSocketError, ValueError):
    """The text is not a ``ws``, ``wss`` or ``ws+unix`` URL."""


class OptionError(WebSocketError, ValueError):
    """An option's name is unknown, or its value is not allowed; the text names both and says what is."""
