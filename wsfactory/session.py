"""One connection with its application: connection + inbox + outbox + your callbacks.

From below (a flavour) come ``data_received``, ``eof_reached``, ``transport_lost``, ``writable``; from above the calls that
users make.  The order of callbacks is onConnecting, onConnect, onOpen, messages, onClose: no message before onOpen is
done, onClose exactly once and last.  No callback runs inside a call that the user makes.  No socket, no clock.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, ClassVar

from wsfactory._codec import is_utf8
from wsfactory.callbacks import call
from wsfactory.connection import Connection, State
from wsfactory.errors import ConnectionClosed, HandshakeError, InvalidPayload, InvalidState, WebSocketError
from wsfactory.events import CloseCause, CloseInfo
from wsfactory.frames import MAX_CONTROL_PAYLOAD, CloseCode, Opcode
from wsfactory.inbox import Inbox
from wsfactory.opening import ClientOpening, Connecting, ServerOpening
from wsfactory.outbox import Outbox
from wsfactory.timing import Deadline, ProgressDeadline

if TYPE_CHECKING:
    from wsfactory.factory import Counters, SharedFactory
    from wsfactory.flavour import Flavour, Future, Transport
    from wsfactory.http11 import Request, Response
    from wsfactory.options import Options

__all__ = ["ClientSession", "ServerSession", "Session"]

Payload = bytes | bytearray | memoryview
_TEXT = int(Opcode.TEXT)
_BINARY = int(Opcode.BINARY)
# A message that is handled for this long while the queue is full is worth a line in the log.
SLOW_APPLICATION_SECONDS = 30.0


class Session:
    """What ``ServerProtocol`` and ``ClientProtocol`` have in common, on every framework.

    Subclass one of them and implement the callbacks you need: ``onOpen``, ``onMessage``, ``onClose``, ...  A plain
    ``__init__`` of your own need not call this class's: all state is set when the factory adopts the protocol.
    """

    __slots__ = (
        "_closing",
        "_connection",
        "_drains",
        "_flavour",
        "_inbox",
        "_opened",
        "_opening",
        "_options",
        "_outbox",
        "_own_pong",
        "_paused",
        "_slow",
        "_told",
        "_wire",
        "closeInfo",
        "factory",
        "subprotocol",
    )

    is_client: ClassVar[bool]
    factory: SharedFactory[Session]
    closeInfo: CloseInfo | None
    subprotocol: str | None

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
        connection = self._connection
        if connection is None or connection.state is not State.OPEN:
            raise self._not_open()
        if isBinary:
            self._outbox.message(_BINARY, payload if type(payload) is bytes else _binary(payload))
        else:
            self._outbox.message(_TEXT, _text(payload))

    def sendPing(self, payload: Payload = b"") -> None:
        """Send a Ping, ahead of waiting messages; *payload* has at most 125 bytes."""
        self._control(Opcode.PING, payload)

    def sendPong(self, payload: Payload = b"") -> None:
        """Send an unsolicited Pong; within ``onPing`` the one that is sent anyway is not sent twice."""
        if self._own_pong is None or self._own_pong != payload:
            self._control(Opcode.PONG, payload)

    def _control(self, opcode: int, payload: Payload) -> None:
        if self._connection is None or self._connection.state is not State.OPEN:
            raise self._not_open()
        data = _binary(payload)
        # 5.5: "All control frames MUST have a payload length of 125 bytes or less"
        if len(data) > MAX_CONTROL_PAYLOAD:
            raise ValueError(f"a control frame's payload has {len(data)} bytes: at most {MAX_CONTROL_PAYLOAD} are allowed")
        self._outbox.control(opcode, data)

    def sendClose(self, code: int | None = 1000, reason: str = "") -> None:
        """Begin the closing handshake, behind everything already sent; nothing happens once closing has begun.

        *code* is one of 1000-1003, 1007-1014, 3000-4999, or None for a Close frame without one.  Raises ``ValueError``
        for any other, and ``InvalidState`` before onOpen.
        """
        if self._connection is None:
            raise self._not_open()
        self._connection.close(code, reason)

    def dropConnection(self, abort: bool = False) -> None:
        """End the connection without a Close frame: behind what waits, or at once (*abort*)."""
        if self._connection is not None:
            self._connection.drop(CloseCause.DROPPED, "dropped by the application", abort)
        elif self._opening is not None:
            self._opening.fail(CloseCause.DROPPED, HandshakeError("dropped by the application"))

    def flush(self) -> None:
        """Hand over what waits now, even during a read, at whose end it would leave anyway."""
        if self._outbox is not None:
            self._outbox.flush()

    def drain(self) -> Future:
        """Return an awaitable that is done while the send buffer is not above its high mark.

        It fails with ``ConnectionClosed`` once closing has begun.
        """
        future = self._flavour.futures.create()
        if self._connection is None or self._connection.state is not State.OPEN:
            self._flavour.futures.reject(future, self._not_open())
        elif self._outbox.over:
            self._drains = [*(self._drains or ()), future]
        else:
            self._flavour.futures.resolve(future)
        return future

    @property
    def bufferedAmount(self) -> int:
        """How many bytes are accepted for sending and not known to have left."""
        return self._outbox.buffered if self._outbox is not None else 0

    @property
    def isOpen(self) -> bool:
        """Whether messages may be sent now."""
        return self._connection is not None and self._connection.state is State.OPEN

    # Receiving.

    def pauseReceiving(self) -> None:
        """Let no further ``onMessage`` begin until ``resumeReceiving``; the queue's bound then holds the peer back."""
        if not self._paused:
            self._paused = True
            self._inbox.hold()

    def resumeReceiving(self) -> None:
        """Go on after ``pauseReceiving``."""
        if self._paused:
            self._paused = False
            self._flavour.soon(self._inbox.release)

    # What the flavour reports.

    def _adopt(self, factory: SharedFactory[Session]) -> None:
        """Belong to *factory*: all state is set here, so that subclasses may have any ``__init__``."""
        self.factory = factory
        self._flavour: Flavour = factory.flavour
        self._options: Options = factory.options
        self._wire: Transport = None  # type: ignore[assignment]
        self._connection: Connection | None = None
        self._opening: ServerOpening | ClientOpening | None = None
        self._inbox = Inbox(self, self._options.maxQueue, self._options.maxQueueBytes)
        self._outbox: Outbox = None  # type: ignore[assignment]
        self._closing: ProgressDeadline | None = None
        self._slow: Deadline | None = None
        self._drains: list[Future] | None = None
        self._opened: Future | None = None
        self._own_pong: bytes | None = None
        self._paused = False
        self._told = False
        self.closeInfo = None
        self.subprotocol = None

    def connected(self, wire: Transport) -> None:
        """TCP (and TLS) is connected: the opening handshake starts."""
        self._wire = wire
        self._begin_opening()

    def data_received(self, data: bytes) -> None:
        """Bytes arrived; all replies to them leave in one write."""
        connection = self._connection
        if connection is None:
            if self._opening is not None:
                self._opening.receive(data)
            return
        self._outbox.cork()
        try:
            connection.receive(data)
        finally:
            self._outbox.uncork()

    def eof_reached(self) -> None:
        """The peer shut down its sending side; it may hear us yet."""
        if self._connection is not None:
            self._connection.eof()
        elif self._opening is not None:
            self._opening.eof()

    def writable(self) -> None:
        """The transport has room again."""
        if self._outbox is not None:
            self._outbox.writable()

    def transport_lost(self, reason: str) -> None:
        """TCP is gone; what had arrived is still delivered, then onClose is called."""
        if self._closing is not None:
            self._closing.cancel()
        connection = self._connection
        if connection is None:
            if self._opening is not None:
                self._opening.lost(reason)
            return
        connection.lost(CloseCause.CONNECTION_LOST, reason)
        self._outbox.discard()
        self._reject_drains()
        if self._paused:
            self._paused = False
            self._inbox.release()
        self._inbox.advance()

    def _begin_opening(self) -> None:
        """TCP is connected: the opening handshake starts."""
        raise NotImplementedError

    @property
    def peer(self) -> str:
        """The other side's address, as text."""
        raise NotImplementedError

    # What the opening reports.

    def _open(self, subprotocol: str | None, rest: bytes) -> None:
        """The opening handshake succeeded; *rest* came behind its head."""
        options = self._options
        self._opening = None
        self.subprotocol = subprotocol
        self._outbox = Outbox(self, self._wire, self.factory.encoder, options.writeLimit, options.autoFragmentSize)
        self._connection = Connection(self.is_client, options, self)
        self._inbox.hold()
        self.factory._session_opened(self)
        self._outbox.cork()
        try:
            call(self._flavour.futures, self.onOpen, done=self._on_open_done, failed=self._on_open_failed)
            self._tell_opened(None)
            if rest:
                self._connection.receive(rest)
        finally:
            self._outbox.uncork()

    def _on_open_done(self, result: object) -> None:
        self._inbox.release()

    def _on_open_failed(self, error: BaseException) -> None:
        self._application_failed("onOpen", error)
        self._inbox.release()

    def _open_failed(self, info: CloseInfo, error: WebSocketError, tell: bool) -> None:
        """It will never open; *tell*: the application was called, so it hears the end."""
        self._opening = None
        if self._told:
            return
        self._told = True
        self.closeInfo = info
        self.factory._session_ended(self, info)
        if tell:
            self._call_quietly("onClose", self.onClose, info.wasClean, info.code, info.reason)
        self._tell_opened(error)

    def _tell_opened(self, error: WebSocketError | None) -> None:
        opened, self._opened = self._opened, None
        if opened is None:
            return
        if error is None:
            self._flavour.futures.resolve(opened, self)
        else:
            self._flavour.futures.reject(opened, error)

    # What the connection says (events.Owner).

    @property
    def message(self) -> Callable[[bytes, bool], object]:
        """Where the codec delivers messages."""
        return self._inbox.deliver

    def ping(self, payload: bytes) -> None:
        # 5.5.2: "Upon receipt of a Ping frame, an endpoint MUST send a Pong frame in response, unless it already
        # received a Close frame."
        self._outbox.control(Opcode.PONG, payload)
        self._own_pong = payload
        try:
            self._call_quietly("onPing", self.onPing, payload)
        finally:
            self._own_pong = None

    def pong(self, payload: bytes) -> None:
        self._call_quietly("onPong", self.onPong, payload)

    def send_close(self, payload: bytes | None) -> None:
        self._outbox.close(payload)

    def closing(self) -> None:
        self._reject_drains()
        self._give_up_closing_later()

    def end_tcp(self) -> None:
        self._wire.finish()
        self._wire.resume()

    def await_eof(self) -> None:
        self._wire.resume()

    def drop(self) -> None:
        self._wire.abort()

    def _give_up_closing_later(self) -> None:
        seconds = self._options.closeHandshakeTimeout
        if seconds is not None and self._closing is None:
            self._closing = ProgressDeadline(self._flavour.wheel, seconds, self._unsent, self._give_up_closing)

    def _unsent(self) -> int:
        waiting = self._outbox.waiting if self._outbox is not None else 0
        return waiting + self._wire.unsent()

    def _give_up_closing(self) -> None:
        if self._connection is not None:
            self._connection.give_up(CloseCause.CLOSE_TIMEOUT, "the closing handshake timed out")
        self._wire.abort()

    # What the inbox says (inbox.InboxOwner).

    def handle(self, payload: bytes, is_binary: bool) -> Future | None:
        try:
            result = self.onMessage(payload, is_binary)
        except Exception as error:
            self._application_failed("onMessage", error)
            return None
        return None if result is None else self._flavour.futures.from_result(result)

    def watch(self, future: Future, done: Callable[[], None]) -> None:
        def failed(error: BaseException) -> None:
            self._application_failed("onMessage", error)
            done()

        self._flavour.futures.watch(future, lambda _: done(), failed)

    def inbox_full(self) -> None:
        if self._connection is not None and self._connection.state is not State.CLOSED:
            self._wire.pause()
        if self._slow is None:
            self._slow = self._flavour.wheel.after(SLOW_APPLICATION_SECONDS, self._log_slow_application)

    def inbox_room(self) -> None:
        if self._slow is not None:
            self._slow.cancel()
            self._slow = None
        connection = self._connection
        assert connection is not None
        self._outbox.cork()
        try:
            connection.resume()
        finally:
            self._outbox.uncork()
        if not self._inbox.stopped and connection.state is not State.CLOSED:
            self._wire.resume()

    def inbox_empty(self) -> None:
        if self._connection is not None and self._connection.state is State.CLOSED:
            self._finish(self._connection.close_info)

    def _log_slow_application(self) -> None:
        self._flavour.log.warn(
            "{protocol}: the queue has been full for {seconds:.0f} s while onMessage is handling a message; a callback that"
            " awaits a later message of its own connection never gets it: start a task for that",
            protocol=type(self).__qualname__,
            seconds=SLOW_APPLICATION_SECONDS,
        )

    # What the outbox says (outbox.OutboxOwner).

    def send_paused(self) -> None:
        self._flavour.soon(lambda: self._call_quietly("onSendPaused", self.onSendPaused))

    def send_resumed(self) -> None:
        self._flavour.soon(lambda: self._call_quietly("onSendResumed", self.onSendResumed))
        drains, self._drains = self._drains, None
        for future in drains or ():
            self._flavour.futures.resolve(future)

    def close_sent(self) -> None:
        if self._connection is not None:
            self._connection.close_sent()

    # The end.

    def _shut_down(self, code: int) -> None:
        """The factory shuts down: close this connection."""
        if self._connection is not None:
            self._connection.close(code, "", CloseCause.SHUTDOWN)

    def _finish(self, info: CloseInfo) -> None:
        """Call onClose, once."""
        if self._told:
            return
        self._told = True
        if self._slow is not None:
            self._slow.cancel()
        self.closeInfo = info
        self.factory._session_ended(self, info)
        self._call_quietly("onClose", self.onClose, info.wasClean, info.code, info.reason)

    def _application_failed(self, name: str, error: BaseException) -> None:
        """A callback raised: log it, close with 1011 (but not for sending on what is closing anyway)."""
        connection = self._connection
        assert connection is not None
        if isinstance(error, ConnectionClosed) and connection.state is not State.OPEN:
            return
        self._log_failure(name, error)
        connection.fail(CloseCode.INTERNAL_ERROR, "internal error", CloseCause.APPLICATION_ERROR)
        self._inbox.discard()

    def _call_quietly(self, name: str, callback: Callable[..., object], *args: object) -> None:
        """Call a callback whose exceptions change nothing."""
        call(
            self._flavour.futures,
            callback,
            *args,
            done=_nothing,
            failed=lambda error: self._log_failure(name, error),
        )

    def _log_failure(self, name: str, error: BaseException) -> None:
        self._flavour.log.failure("{protocol}.{name} raised", error, protocol=type(self).__qualname__, name=name)

    def _reject_drains(self) -> None:
        drains, self._drains = self._drains, None
        for future in drains or ():
            self._flavour.futures.reject(future, ConnectionClosed())

    def _not_open(self) -> WebSocketError:
        if self._connection is None and self.closeInfo is None:
            return InvalidState("the connection is not open yet: send from onOpen on")
        return ConnectionClosed("the connection is closing or closed", self.closeInfo)

    def _add_traffic(self, total: Counters) -> None:
        """Add this connection's messages and bytes to *total*."""
        if self._connection is not None:
            total.messages_received += self._connection.decoder.messages
            total.bytes_received += self._connection.decoder.payload_bytes
            total.messages_sent += self._outbox.messages_sent
            total.bytes_sent += self._outbox.bytes_sent


class ServerSession(Session):
    """The server's side."""

    __slots__ = ()
    is_client = False

    def onConnect(self, request: Request) -> object:
        """A client asks to connect.

        Return None, a subprotocol, or (subprotocol, headers); raise ``ConnectionDeny`` to refuse.  Without an answer the
        first of the factory's subprotocols that the client offered is taken.
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
        if self._opening is None:
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


def _nothing(result: object) -> None:
    pass


def _binary(payload: object) -> bytes:
    if not isinstance(payload, bytes | bytearray | memoryview):
        raise TypeError(f"a binary payload is bytes, bytearray or memoryview, not {type(payload).__name__}")
    return bytes(payload)


def _text(payload: object) -> bytes:
    if isinstance(payload, str):
        try:
            return payload.encode()
        except UnicodeEncodeError as error:
            raise InvalidPayload(f"the text cannot be encoded as UTF-8: {error}") from None
    if not isinstance(payload, bytes | bytearray | memoryview):
        raise TypeError(f"a text payload is str, or UTF-8 as bytes, bytearray or memoryview, not {type(payload).__name__}")
    data = bytes(payload)
    if not is_utf8(data):
        raise InvalidPayload("the text is not UTF-8; send it with isBinary=True, or encode it")
    return data
