"""One connection with its application: your callbacks, and the calls that you make.

From below (a flavour) come ``_ws_connected``, ``_ws_data_received``, ``_ws_eof_reached``, ``_ws_transport_lost``,
``_ws_writable``; from above the calls that users make.  The order of callbacks is onConnecting, onConnect, onOpen,
messages, onClose: no message before onOpen is done, onClose exactly once and last.  No callback runs inside a call that
the user makes.  What is no user's business is named ``_ws_...``: the attributes of subclasses share that namespace.
No socket, no clock.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING, ClassVar, Generic, TypeVar, cast

from wsfactory.callbacks import at_once, call
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


T = TypeVar("T")


class _Overridable(Generic[T]):
    """A property which subclasses and their instances may use the name of for something else."""

    def __init__(self, read: Callable[[Session], T]) -> None:
        self._read = read
        self.__doc__ = read.__doc__

    def __get__(self, session: Session | None, kind: type | None = None) -> T:
        return self._read(session) if session is not None else cast("T", self)


class Session:
    """What ``ServerProtocol`` and ``ClientProtocol`` have in common, on every framework.

    Subclass one of them and implement the callbacks you need: ``onOpen``, ``onMessage``, ``onClose``, ...  A plain
    ``__init__`` of your own need not call this class's: all state is set when the factory adopts the protocol.
    """

    __slots__ = (
        "_ws_conversation",
        "_ws_flavour",
        "_ws_opened",
        "_ws_opening",
        "_ws_options",
        "_ws_paused",
        "_ws_wire",
        "closeInfo",
        "factory",
        "subprotocol",
    )

    is_client: ClassVar[bool]
    factory: SharedFactory[Session]
    closeInfo: CloseInfo | None
    subprotocol: str | None
    _ws_paused: bool

    # The callbacks; each may be a plain function, an async def, or return a Deferred or Future.

    def onOpen(self) -> object:
        """Messages may flow.  An exception closes with 1011."""

    def onMessage(self, payload: bytes, isBinary: bool) -> object:
        """One whole message; text as UTF-8 bytes.  An exception closes with 1011.

        Replies to what came before the peer's Close may be sent until it is handled, for half of
        ``closeHandshakeTimeout``.
        """

    def onPing(self, payload: bytes) -> object:
        """A Ping arrived; its Pong is sent by the framework (RFC 6455 section 5.5.2).

        At most 32 such calls are under way at once: of the Pings that come while none of them ends, the newest is told.
        """

    def onPong(self, payload: bytes) -> object:
        """A Pong arrived; bounded like ``onPing``."""

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
        conversation = self._ws_conversation
        if conversation is None or not conversation.connection.is_open:
            raise self._ws_not_open()
        if isBinary:
            conversation.outbox.message(_BINARY, payload if type(payload) is bytes else bytes_of(payload))
        else:
            conversation.outbox.message(_TEXT, text_of(payload))

    def sendPing(self, payload: Payload = b"") -> None:
        """Send a Ping, ahead of waiting messages; *payload* has at most 125 bytes."""
        self._ws_open_conversation().outbox.control(Opcode.PING, control_payload(payload))

    def sendPong(self, payload: Payload = b"") -> None:
        """Send an unsolicited Pong; within ``onPing`` the one that is sent anyway is not sent twice."""
        conversation = self._ws_open_conversation()
        data = control_payload(payload)
        if not conversation.is_answering(data):
            conversation.outbox.control(Opcode.PONG, data)

    def sendClose(self, code: int | None = 1000, reason: str = "") -> None:
        """Begin the closing handshake, or answer the peer's, behind everything already sent; only the first one counts.

        *code* is one of 1000-1003, 1007-1014, 3000-4999, or None for a Close frame without one.  Raises ``ValueError``
        for any other, and ``InvalidState`` before onOpen.
        """
        if self._ws_conversation is not None:
            self._ws_conversation.connection.close(code, reason)
        elif not self._ws_has_failed():
            raise self._ws_not_open()

    def dropConnection(self, abort: bool = False) -> None:
        """End the connection without a Close frame: behind what waits, or at once (*abort*)."""
        if self._ws_conversation is not None:
            self._ws_conversation.connection.drop(CloseCause.DROPPED, "dropped by the application", abort)
        elif self._ws_opening is not None:
            self._ws_opening.drop()

    def flush(self) -> None:
        """Hand over what waits now, even during a read, at whose end it would leave anyway."""
        if self._ws_conversation is not None:
            self._ws_conversation.outbox.flush()

    def drain(self) -> Awaitable[None]:
        """Return an awaitable that is done while the send buffer is not above its high mark.

        It fails with ``ConnectionClosed`` once closing has begun, with ``InvalidState`` before onOpen.
        """
        future = self._ws_flavour.futures.create()
        conversation = self._ws_conversation
        if conversation is None or not conversation.connection.is_open:
            self._ws_flavour.futures.reject(future, self._ws_not_open())
        else:
            conversation.drain(future)
        return cast("Awaitable[None]", future)

    def ping(self, payload: Payload | None = None) -> Awaitable[float]:
        """Send a Ping, and return an awaitable of its round trip in seconds; *payload* is unique unless given.

        It fails with ``ConnectionClosed`` once closing has begun, with ``InvalidState`` before onOpen.
        """
        conversation = self._ws_conversation
        if conversation is None or not conversation.connection.is_open:
            future = self._ws_flavour.futures.create()
            self._ws_flavour.futures.reject(future, self._ws_not_open())
        else:
            data, future = conversation.round_trips.begin(None if payload is None else control_payload(payload))
            conversation.outbox.control(Opcode.PING, data)
        return cast("Awaitable[float]", future)

    @property
    def latency(self) -> float | None:
        """The last round trip that ``ping`` measured, in seconds; None before the first."""
        return self._ws_conversation.latency if self._ws_conversation is not None else None

    @property
    def bufferedAmount(self) -> int:
        """How many bytes are accepted for sending and not known to have left."""
        return self._ws_conversation.outbox.buffered if self._ws_conversation is not None else 0

    @_Overridable
    def peer(self) -> str:
        """The other side's address: ``host:port``, ``[host]:port`` or ``unix``."""
        return self._ws_peer()

    @_Overridable
    def connected(self) -> bool:
        """Whether there is a TCP connection; ``isOpen`` is what senders ask."""
        return self._ws_wire is not None and not self._ws_is_lost()

    @property
    def isOpen(self) -> bool:
        """Whether messages may be sent now."""
        return self._ws_conversation is not None and self._ws_conversation.connection.is_open

    # Receiving.

    def pauseReceiving(self) -> None:
        """Let no further ``onMessage`` begin until ``resumeReceiving``; the queue's bound then holds the peer back.

        When the connection is lost the pause ends: what had arrived is handed out, and ``onClose`` called.
        """
        conversation = self._ws_conversation
        if self._ws_paused or (conversation is not None and conversation.connection.state is State.CLOSED):
            return
        self._ws_paused = True
        if conversation is not None:
            conversation.inbox.hold()

    def resumeReceiving(self) -> None:
        """Go on after ``pauseReceiving``."""
        if not self._ws_paused:
            return
        self._ws_paused = False
        if self._ws_conversation is not None:
            self._ws_conversation.later(self._ws_conversation.inbox.release)

    # What the flavour reports.

    def _ws_adopt(self, factory: SharedFactory[Session]) -> None:
        """Belong to *factory*: all state is set here, so that subclasses may have any ``__init__``."""
        self.factory = factory
        self._ws_flavour: Flavour = factory.flavour
        self._ws_options: Options = factory.options
        self._ws_wire: Transport | None = None
        self._ws_opening: ServerOpening | ClientOpening | None = None
        self._ws_conversation: Conversation | None = None
        self._ws_opened: Future | None = None
        self._ws_paused = False
        self.closeInfo = None
        self.subprotocol = None

    def _ws_connected(self, wire: Transport) -> None:
        """TCP (and TLS) is connected: the opening handshake starts."""
        self._ws_wire = wire
        self._ws_begin_opening()

    def _ws_data_received(self, data: bytes) -> None:
        """Bytes arrived; all replies to them leave in one write."""
        if self._ws_conversation is not None:
            self._ws_conversation.receive(data)
        elif self._ws_opening is not None:
            self._ws_opening.receive(data)

    def _ws_eof_reached(self) -> None:
        """The peer shut down its sending side; it may hear us yet."""
        if self._ws_conversation is not None:
            self._ws_conversation.connection.eof()
        elif self._ws_opening is not None:
            self._ws_opening.eof()

    def _ws_writable(self) -> None:
        """The transport has room again."""
        if self._ws_conversation is not None:
            self._ws_conversation.outbox.writable()

    def _ws_transport_lost(self, reason: str) -> None:
        """TCP is gone; what had arrived is still delivered, then onClose is called."""
        if self._ws_conversation is not None:
            self._ws_conversation.lost(reason)
        elif self._ws_opening is not None:
            self._ws_opening.lost(reason)

    def _ws_begin_opening(self) -> None:
        """TCP is connected: the opening handshake starts."""
        raise NotImplementedError

    def _ws_peer(self) -> str:
        """Return the other side's address, as text."""
        raise NotImplementedError

    # What the opening reports.

    def _ws_open(self, subprotocol: str | None, rest: bytes) -> Conversation:
        """The opening handshake succeeded; *rest* came behind its head."""
        self._ws_opening = None
        self.subprotocol = subprotocol
        assert self._ws_wire is not None
        conversation = self._ws_conversation = self._ws_converse(self._ws_wire)
        self.factory._session_opened(self)
        conversation.begin(rest)
        return conversation

    def _ws_converse(self, wire: Transport) -> Conversation:
        return Conversation(self, wire)

    def _ws_open_failed(self, info: CloseInfo, error: WebSocketError, tell: bool) -> None:
        """It will never open; *tell*: the application was called, so it hears the end."""
        opening, self._ws_opening = self._ws_opening, None
        if self.closeInfo is None:
            self._ws_ended(info, tell, opening.when_told if isinstance(opening, ClientOpening) else at_once)
            self._ws_tell_opened(error)

    def _ws_tell_opened(self, error: WebSocketError | None) -> None:
        opened, self._ws_opened = self._ws_opened, None
        if opened is None:
            return
        if error is None:
            self._ws_flavour.futures.resolve(opened, self)
        else:
            self._ws_flavour.futures.reject(opened, error)

    # The end.

    def _ws_shut_down(self, code: int) -> None:
        """The factory shuts down: close this connection."""
        if self._ws_conversation is not None:
            self._ws_conversation.connection.close(code, "", CloseCause.SHUTDOWN)
        elif self._ws_opening is not None:
            self._ws_opening.shut_down()

    def _ws_cut_short(self) -> None:
        """The factory has waited long enough."""
        self.dropConnection(abort=True)

    def _ws_is_lost(self) -> bool:
        """Whether TCP is gone; the application may still be handling what had arrived."""
        if self._ws_conversation is not None:
            return self._ws_conversation.connection.state is State.CLOSED
        return self.closeInfo is not None

    def _ws_ended(self, info: CloseInfo, tell: bool, when: Callable[[Callable[[], object]], object] = at_once) -> None:
        """It is over: count it, and *tell* the application; *when* takes the step of doing so."""
        self.closeInfo = info
        self.factory._session_ended(self, info)
        told = partial(self.factory._session_told, self)
        if tell:
            arguments = info.wasClean, info.code, info.reason
            when(lambda: self._ws_call_quietly("onClose", self.onClose, *arguments, then=told))
        else:
            told()

    def _ws_call_quietly(
        self, name: str, callback: Callable[..., object], *args: object, then: Callable[[], object] | None = None
    ) -> None:
        """Call a callback whose exceptions change nothing; *then* once it is done."""

        def failed(error: BaseException) -> None:
            self._ws_log_failure(name, error)
            done()

        def done(_: object = None) -> None:
            if then is not None:
                then()

        call(self._ws_flavour, callback, *args, done=done, failed=failed)

    def _ws_log_failure(self, name: str, error: BaseException) -> None:
        self._ws_flavour.log.failure("{protocol}.{name} raised", error, protocol=type(self).__qualname__, name=name)

    def _ws_open_conversation(self) -> Conversation:
        conversation = self._ws_conversation
        if conversation is None or not conversation.connection.is_open:
            raise self._ws_not_open()
        return conversation

    def _ws_not_open(self) -> WebSocketError:
        if self._ws_conversation is None and not self._ws_has_failed():
            return InvalidState("the connection is not open yet: send from onOpen on")
        info = self.closeInfo
        if info is None and self._ws_conversation is not None:
            info = self._ws_conversation.connection.close_info
        return ConnectionClosed("the connection is closing or closed", info)

    def _ws_has_failed(self) -> bool:
        return self.closeInfo is not None or (self._ws_opening is not None and self._ws_opening.over)

    def _ws_add_traffic(self, total: Counters) -> None:
        """Add this connection's messages and bytes to *total*."""
        if self._ws_conversation is not None:
            total.messagesReceived += self._ws_conversation.connection.decoder.messages
            total.bytesReceived += self._ws_conversation.connection.decoder.payload_bytes
            total.messagesSent += self._ws_conversation.outbox.messages_sent
            total.bytesSent += self._ws_conversation.outbox.bytes_sent


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

    def _ws_begin_opening(self) -> None:
        self.factory._session_began(self)
        self._ws_opening = ServerOpening(self)


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

    def _ws_begin_opening(self) -> None:
        if self.closeInfo is not None and self._ws_wire is not None:
            # It was given up while TCP was being connected.
            self._ws_wire.abort()
        elif self._ws_opening is None:
            self._ws_prepare(self.factory.details, self._ws_send_request)
        else:
            self._ws_send_request()

    def _ws_prepare(
        self, details: Connecting, ready: Callable[[Connecting], object], follows: bool = False
    ) -> ClientOpening:
        """Ask ``onConnecting``, then call *ready* with where to connect."""
        self.factory._session_began(self)
        opening = self._ws_opening = ClientOpening(self, details, follows)
        opening.prepare(ready)
        return opening

    def _ws_send_request(self, details: Connecting | None = None) -> None:
        if isinstance(self._ws_opening, ClientOpening):
            self._ws_opening.send()
