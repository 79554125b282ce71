"""One connection with its application: your callbacks, and the calls that you make.

From below (a flavour) come ``connected``, ``data_received``, ``eof_reached``, ``transport_lost``, ``writable``; from
above the calls that users make.  The order of callbacks is onConnecting, onConnect, onOpen, messages, onClose: no
message before onOpen is done, onClose exactly once and last.  No callback runs inside a call that the user makes.  No
socket, no clock.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING, ClassVar, cast

from wsfactory.callbacks import call
from wsfactory.connection import State
from wsfactory.conversation import Conversation, bytes_of, control_payload, text_of
from wsfactory.errors import ConnectionClosed, InvalidState, WebSocketError
from wsfactory.events import CloseCause, CloseInfo
from wsfactory.frames import Opcode
from wsfactory.opening import ClientOpening, Connecting
from wsfactory.opening_server import ServerOpening

if TYPE_CHECKING:
    from wsfactory.factory import Counters, SharedFactory
    from wsfactory.flavour import Flavour, Future, Transport
    from wsfactory.http11 import Request, Response
    from wsfactory.options import Options

__all__ = ["ClientSession", "ServerSession", "Session"]

Payload = bytes | bytearray | memoryview
_TEXT = int(Opcode.TEXT)
_BINARY = int(Opcode.BINARY)


class Session:
    """What ``ServerProtocol`` and ``ClientProtocol`` have in common, on every framework.

    Subclass one of them and implement the callbacks you need: ``onOpen``, ``onMessage``, ``onClose``, ...  A plain
    ``__init__`` of your own need not call this class's: all state is set when the factory adopts the protocol.
    """

    __slots__ = (
        "_conversation",
        "_flavour",
        "_opened",
        "_opening",
        "_options",
        "_paused",
        "_wire",
        "closeInfo",
        "factory",
        "subprotocol",
    )

    is_client: ClassVar[bool]
    factory: SharedFactory[Session]
    closeInfo: CloseInfo | None
    subprotocol: str | None
    _paused: bool

    # The callbacks; each may be a plain function, an async def, or return a Deferred or Future.

    def onOpen(self) -> object:
        """Messages may flow.  An exception closes with 1011."""

    def onMessage(self, payload: bytes, isBinary: bool) -> object:
        """One whole message; text as UTF-8 bytes.  An exception closes with 1011."""

    def onPing(self, payload: bytes) -> object:
        """A Ping arrived; its Pong is sent by the framework (RFC 6455 section 5.5.2)."""

    def onPong(self, payload: bytes) -> object:
        """A Pong arrived."""

    def onSendPaused(self) -> object:
        """More than ``writeLimit`` bytes wait to be sent."""

    def onSendResumed(self) -> object:
        """The send buffer is at its low mark again."""

    def onClose(self, wasClean: bool, code: int, reason: str) -> object:
        """The connection is gone; the last call.  ``self.closeInfo`` says more."""

    # Sending.

    def sendMessage(self, payload: Payload | str, isBinary: bool = False) -> None:
        """Send one message; returns at once.

        Text is ``str`` or UTF-8 bytes, binary is bytes, bytearray or memoryview (copied).  Raises ``ConnectionClosed``
        once closing has begun, ``InvalidState`` before onOpen, ``InvalidPayload`` for text that is not UTF-8.
        """
        conversation = self._conversation
        if conversation is None or conversation.connection.state is not State.OPEN:
            raise self._not_open()
        if isBinary:
            conversation.outbox.message(_BINARY, payload if type(payload) is bytes else bytes_of(payload))
        else:
            conversation.outbox.message(_TEXT, text_of(payload))

    def sendPing(self, payload: Payload = b"") -> None:
        """Send a Ping, ahead of waiting messages; *payload* has at most 125 bytes."""
        self._open_conversation().outbox.control(Opcode.PING, control_payload(payload))

    def sendPong(self, payload: Payload = b"") -> None:
        """Send an unsolicited Pong; within ``onPing`` the one that is sent anyway is not sent twice."""
        conversation = self._open_conversation()
        data = control_payload(payload)
        if conversation.answering is None or data not in conversation.answering:
            conversation.outbox.control(Opcode.PONG, data)

    def sendClose(self, code: int | None = 1000, reason: str = "") -> None:
        """Begin the closing handshake, behind everything already sent; nothing happens once closing has begun.

        *code* is one of 1000-1003, 1007-1014, 3000-4999, or None for a Close frame without one.  Raises ``ValueError``
        for any other, and ``InvalidState`` before onOpen.
        """
        if self._conversation is not None:
            self._conversation.connection.close(code, reason)
        elif not self._has_failed():
            raise self._not_open()

    def dropConnection(self, abort: bool = False) -> None:
        """End the connection without a Close frame: behind what waits, or at once (*abort*)."""
        if self._conversation is not None:
            self._conversation.connection.drop(CloseCause.DROPPED, "dropped by the application", abort)
        elif self._opening is not None:
            self._opening.drop()

    def flush(self) -> None:
        """Hand over what waits now, even during a read, at whose end it would leave anyway."""
        if self._conversation is not None:
            self._conversation.outbox.flush()

    def drain(self) -> Awaitable[None]:
        """Return an awaitable that is done while the send buffer is not above its high mark.

        It fails with ``ConnectionClosed`` once closing has begun, with ``InvalidState`` before onOpen.
        """
        future = self._flavour.futures.create()
        conversation = self._conversation
        if conversation is None or conversation.connection.state is not State.OPEN:
            self._flavour.futures.reject(future, self._not_open())
        else:
            conversation.drain(future)
        return cast("Awaitable[None]", future)

    def ping(self, payload: Payload | None = None) -> Awaitable[float]:
        """Send a Ping, and return an awaitable of its round trip in seconds; *payload* is unique unless given.

        It fails with ``ConnectionClosed`` once closing has begun, with ``InvalidState`` before onOpen.
        """
        conversation = self._conversation
        if conversation is None or conversation.connection.state is not State.OPEN:
            future = self._flavour.futures.create()
            self._flavour.futures.reject(future, self._not_open())
        else:
            data, future = conversation.round_trips.begin(None if payload is None else control_payload(payload))
            conversation.outbox.control(Opcode.PING, data)
        return cast("Awaitable[float]", future)

    @property
    def latency(self) -> float | None:
        """The last round trip that ``ping`` measured, in seconds; None before the first."""
        return self._conversation.latency if self._conversation is not None else None

    @property
    def bufferedAmount(self) -> int:
        """How many bytes are accepted for sending and not known to have left."""
        return self._conversation.outbox.buffered if self._conversation is not None else 0

    @property
    def isOpen(self) -> bool:
        """Whether messages may be sent now."""
        return self._conversation is not None and self._conversation.connection.state is State.OPEN

    # Receiving.

    def pauseReceiving(self) -> None:
        """Let no further ``onMessage`` begin until ``resumeReceiving``; the queue's bound then holds the peer back.

        When the connection is lost the pause ends: what had arrived is handed out, and ``onClose`` called.
        """
        conversation = self._conversation
        if self._paused or (conversation is not None and conversation.connection.state is State.CLOSED):
            return
        self._paused = True
        if conversation is not None:
            conversation.inbox.hold()

    def resumeReceiving(self) -> None:
        """Go on after ``pauseReceiving``."""
        if not self._paused:
            return
        self._paused = False
        if self._conversation is not None:
            self._conversation.later(self._conversation.inbox.release)

    # What the flavour reports.

    def _adopt(self, factory: SharedFactory[Session]) -> None:
        """Belong to *factory*: all state is set here, so that subclasses may have any ``__init__``."""
        self.factory = factory
        self._flavour: Flavour = factory.flavour
        self._options: Options = factory.options
        self._wire: Transport | None = None
        self._opening: ServerOpening | ClientOpening | None = None
        self._conversation: Conversation | None = None
        self._opened: Future | None = None
        self._paused = False
        self.closeInfo = None
        self.subprotocol = None

    def connected(self, wire: Transport) -> None:
        """TCP (and TLS) is connected: the opening handshake starts."""
        self._wire = wire
        self._begin_opening()

    def data_received(self, data: bytes) -> None:
        """Bytes arrived; all replies to them leave in one write."""
        if self._conversation is not None:
            self._conversation.receive(data)
        elif self._opening is not None:
            self._opening.receive(data)

    def eof_reached(self) -> None:
        """The peer shut down its sending side; it may hear us yet."""
        if self._conversation is not None:
            self._conversation.connection.eof()
        elif self._opening is not None:
            self._opening.eof()

    def writable(self) -> None:
        """The transport has room again."""
        if self._conversation is not None:
            self._conversation.outbox.writable()

    def transport_lost(self, reason: str) -> None:
        """TCP is gone; what had arrived is still delivered, then onClose is called."""
        if self._conversation is not None:
            self._conversation.lost(reason)
        elif self._opening is not None:
            self._opening.lost(reason)

    def _begin_opening(self) -> None:
        """TCP is connected: the opening handshake starts."""
        raise NotImplementedError

    @property
    def peer(self) -> str:
        """The other side's address, as text."""
        raise NotImplementedError

    # What the opening reports.

    def _open(self, subprotocol: str | None, rest: bytes) -> Conversation:
        """The opening handshake succeeded; *rest* came behind its head."""
        self._opening = None
        self.subprotocol = subprotocol
        assert self._wire is not None
        conversation = self._conversation = self._converse(self._wire)
        self.factory._session_opened(self)
        conversation.begin(rest)
        return conversation

    def _converse(self, wire: Transport) -> Conversation:
        return Conversation(self, wire)

    def _open_failed(self, info: CloseInfo, error: WebSocketError, tell: bool) -> None:
        """It will never open; *tell*: the application was called, so it hears the end."""
        self._opening = None
        if self.closeInfo is None:
            self._ended(info, tell)
            self._tell_opened(error)

    def _tell_opened(self, error: WebSocketError | None) -> None:
        opened, self._opened = self._opened, None
        if opened is None:
            return
        if error is None:
            self._flavour.futures.resolve(opened, self)
        else:
            self._flavour.futures.reject(opened, error)

    # The end.

    def _shut_down(self, code: int) -> None:
        """The factory shuts down: close this connection."""
        if self._conversation is not None:
            self._conversation.connection.close(code, "", CloseCause.SHUTDOWN)
        elif self._opening is not None:
            self._opening.shut_down()

    def _cut_short(self) -> None:
        """The factory has waited long enough."""
        self.dropConnection(abort=True)

    def _is_lost(self) -> bool:
        """Whether TCP is gone; the application may still be handling what had arrived."""
        if self._conversation is not None:
            return self._conversation.connection.state is State.CLOSED
        return self.closeInfo is not None

    def _ended(self, info: CloseInfo, tell: bool) -> None:
        """It is over: count it, and *tell* the application."""
        self.closeInfo = info
        self.factory._session_ended(self, info)
        told = partial(self.factory._session_told, self)
        if tell:
            self._call_quietly("onClose", self.onClose, info.wasClean, info.code, info.reason, then=told)
        else:
            told()

    def _call_quietly(
        self, name: str, callback: Callable[..., object], *args: object, then: Callable[[], object] | None = None
    ) -> None:
        """Call a callback whose exceptions change nothing; *then* once it is done."""

        def failed(error: BaseException) -> None:
            self._log_failure(name, error)
            done()

        def done(_: object = None) -> None:
            if then is not None:
                then()

        call(self._flavour.futures, callback, *args, done=done, failed=failed)

    def _log_failure(self, name: str, error: BaseException) -> None:
        self._flavour.log.failure("{protocol}.{name} raised", error, protocol=type(self).__qualname__, name=name)

    def _open_conversation(self) -> Conversation:
        conversation = self._conversation
        if conversation is None or conversation.connection.state is not State.OPEN:
            raise self._not_open()
        return conversation

    def _not_open(self) -> WebSocketError:
        if self._conversation is None and not self._has_failed():
            return InvalidState("the connection is not open yet: send from onOpen on")
        info = self.closeInfo
        if info is None and self._conversation is not None:
            info = self._conversation.connection.close_info
        return ConnectionClosed("the connection is closing or closed", info)

    def _has_failed(self) -> bool:
        return self.closeInfo is not None or (self._opening is not None and self._opening.over)

    def _add_traffic(self, total: Counters) -> None:
        """Add this connection's messages and bytes to *total*."""
        if self._conversation is not None:
            total.messages_received += self._conversation.connection.decoder.messages
            total.bytes_received += self._conversation.connection.decoder.payload_bytes
            total.messages_sent += self._conversation.outbox.messages_sent
            total.bytes_sent += self._conversation.outbox.bytes_sent


class ServerSession(Session):
    """The server's side."""

    __slots__ = ()
    is_client = False

    def onConnect(self, request: Request) -> object:
        """A client asks to connect.

        Return None, a subprotocol, or (subprotocol, headers); raise ``ConnectionDeny`` to refuse.  Without an answer
        the first of the factory's subprotocols that the client offered is taken.
        """

    def processRequest(self, request: Request) -> object:
        """A request that is no WebSocket upgrade arrived: return an ``http11.Response``, or None for a 426."""

    def _begin_opening(self) -> None:
        self.factory._session_began(self)
        self._opening = ServerOpening(self)


class ClientSession(Session):
    """The client's side."""

    __slots__ = ()
    is_client = True

    def onConnecting(self, details: Connecting) -> object:
        """The request is about to be sent; return ``dataclasses.replace(details, headers=...)`` to change it."""

    def onConnect(self, response: Response) -> object:
        """The server accepted."""

    def onHandshakeFailed(self, error: WebSocketError) -> object:
        """The connection will not open: *error* is a ``HandshakeError`` with the refusal, or a ``ConnectError``."""

    def _begin_opening(self) -> None:
        if self.closeInfo is not None and self._wire is not None:
            # It was given up while TCP was being connected.
            self._wire.abort()
        elif self._opening is None:
            self._prepare(self.factory.details, self._send_request)
        else:
            self._send_request()

    def _prepare(
        self, details: Connecting, ready: Callable[[Connecting], object], follows: bool = False
    ) -> ClientOpening:
        """Ask ``onConnecting``, then call *ready* with where to connect."""
        self.factory._session_began(self)
        opening = self._opening = ClientOpening(self, details, follows)
        opening.prepare(ready)
        return opening

    def _send_request(self, details: Connecting | None = None) -> None:
        if isinstance(self._opening, ClientOpening):
            self._opening.send()
