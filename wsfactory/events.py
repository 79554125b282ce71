"""What a connection tells its owner, and how a connection ended.

Values, and the interface through which ``connection.py`` speaks upwards.  Messages, Pings and Pongs are calls, not
objects: a message costs nothing that nobody asked for.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Protocol

__all__ = ["CloseCause", "CloseInfo", "Owner"]


class CloseCause(Enum):
    """Why a connection ended."""

    LOCAL_CLOSE = "we closed it"
    REMOTE_CLOSE = "the peer closed it"
    SHUTDOWN = "the factory shut down"
    PROTOCOL_ERROR = "the peer broke the protocol"
    APPLICATION_ERROR = "a callback raised"
    HANDSHAKE_REFUSED = "the opening handshake was refused"
    HANDSHAKE_FAILED = "the opening handshake failed"
    CONNECT_FAILED = "no connection could be made"
    OPEN_TIMEOUT = "the opening handshake took too long"
    CLOSE_TIMEOUT = "the closing handshake took too long"
    PING_TIMEOUT = "the peer gave no sign of life"
    SLOW_CONSUMER = "the peer did not read"
    CONNECTION_LOST = "the TCP connection ended without a Close frame"
    DROPPED = "we dropped it"


@dataclass(frozen=True, slots=True)
class CloseInfo:
    """How a connection ended.

    ``code`` and ``reason`` are what ``onClose`` gets: the peer's, or 1006 where it sent no Close frame.  ``localCode``
    and ``remoteCode`` are those of the Close frames that left and arrived (None: there was none, 1005: it had no code).
    ``wasClean`` says that both did.  ``begunBy`` is "local" or "remote", None where nobody began to close.
    """

    wasClean: bool
    code: int
    reason: str
    cause: CloseCause
    begunBy: str | None = None
    localCode: int | None = None
    localReason: str = ""
    remoteCode: int | None = None
    remoteReason: str = ""


class Owner(Protocol):
    """Who owns a connection: everything that ``connection.Connection`` has to say."""

    def message(self, payload: bytes, is_binary: bool) -> object:
        """A whole message arrived; a truthy answer stops the codec after it."""

    def ping(self, payload: bytes) -> None:
        """A Ping arrived; the owner answers it."""

    def pong(self, payload: bytes) -> None:
        """A Pong arrived."""

    def may_answer(self) -> bool:
        """Whether all that came before the peer's Close is handled; if not, call ``Connection.answer`` once it is."""

    def send_close(self, payload: bytes | None) -> None:
        """Send a Close frame with *payload* (None: no frame) behind what waits; then call ``Connection.close_sent``."""

    def closing(self) -> None:
        """The connection is no longer open, but for its loss: the closing deadline runs."""

    def end_tcp(self) -> None:
        """Nothing more will be said: shut down our sending side, discard input until EOF."""

    def await_eof(self) -> None:
        """Nothing more will be said, and the peer ends TCP: wait for it until the deadline."""

    def drop(self) -> None:
        """Abort the transport now (``failByDrop``, and where the application aborts)."""
