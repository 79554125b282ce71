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

from wsfactory._codec import is_utf8
from wsfactory.callbacks import call
from wsfactory.connection import Connection, State
from wsfactory.errors import ConnectionClosed, InvalidPayload, InvalidState, WebSocketError
from wsfactory.events import CloseCause, CloseInfo
from wsfactory.frames import MAX_CONTROL_PAYLOAD, CloseCode, Opcode
from wsfactory.inbox import Inbox
from wsfactory.keepalive import RoundTrips
from wsfactory.opening import ClientOpening, Connecting, ServerOpening
from wsfactory.outbox import Outbox
from wsfactory.timing import Deadline, ProgressDeadline

if TYPE_CHECKING:
    from wsfactory.factory import Counters, SharedFactory
    from wsfactory.flavour import Flavour, Future, Transport
    from wsfactory.http11 import Request, Response
    from wsfactory.options import Options

__all__ = ["ClientSession", "Conversation", "ServerSession", "Session"]

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
            conversation.outbox.message(_BINARY, payload if type(payload) is bytes else _bytes_of(payload))
        else:
            conversation.outbox.message(_TEXT, _text(payload))

    def sendPing(self, payload: Payload = b"") -> None:
        """Send a Ping, ahead of waiting messages; *payload* has at most 125 bytes."""
        self._open_conversation().outbox.control(Opcode.PING, _control_payload(payload))

    def sendPong(self, payload: Payload = b"") -> None:
        """Send an unsolicited Pong; within ``onPing`` the one that is sent anyway is not sent twice."""
        conversation = self._open_conversation()
        data = _control_payload(payload)
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
            data, future = conversation.round_trips.begin(None if payload is None else _control_payload(payload))
            conversation.outbox.control(Opcode.PING, data)
        return cast("Awaitable[float]", future)

    @property
    def latency(self) -> float | None:
        """The last round trip that ``ping`` measured, in seconds; None before the first."""
        return self._conversation.round_trips.latency if self._conversation is not None else None

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


class Conversation:
    """An open connection, between its codec, its two queues and the application.

    Connection, inbox and outbox report to it; it belongs to one ``Session``, whose callbacks it calls, and keeps those
    names of theirs away from the users' own.
    """

    __slots__ = (
        "_agenda",
        "_closing",
        "_drains",
        "_flavour",
        "_greeting",
        "_handling",
        "_session",
        "_round_trips",
        "_slow",
        "_wire",
        "answering",
        "connection",
        "inbox",
        "outbox",
    )

    def __init__(self, session: Session, wire: Transport) -> None:
        options = session._options
        self._session = session
        self._flavour = session._flavour
        self._wire = wire
        self._agenda: list[Callable[[], object]] | None = None
        self._closing: ProgressDeadline | None = None
        self._slow: Deadline | None = None
        self._drains: list[Future] | None = None
        self._round_trips: RoundTrips | None = None
        self._greeting = True
        self._handling = 0
        # The Pings whose onPing is under way.
        self.answering: list[bytes] | None = None
        self.inbox = Inbox(self, options.maxQueue, options.maxQueueBytes)
        self.outbox = Outbox(self, wire, session.factory.encoder, options.writeLimit, options.autoFragmentSize)
        self.connection = Connection(session.is_client, options, self)

    def begin(self, rest: bytes) -> None:
        """Call onOpen; no message is handed out before it is done, also none of *rest*."""
        session = self._session
        self.inbox.hold()
        if session._paused:
            self.inbox.hold()
        self.outbox.cork()
        try:
            call(self._flavour.futures, session.onOpen, done=self._greeted, failed=self._greeting_failed)
            session._tell_opened(None)
            if rest:
                self.connection.receive(rest)
        finally:
            self.outbox.uncork()

    def _greeted(self, _: object = None) -> None:
        self._greeting = False
        self.inbox.release()

    def _greeting_failed(self, error: BaseException) -> None:
        self._application_failed("onOpen", error)
        self._greeted()

    def receive(self, data: bytes) -> None:
        """Take bytes from the wire; all replies to them leave in one write."""
        self.outbox.cork()
        try:
            self.connection.receive(data)
        finally:
            self.outbox.uncork()

    @property
    def round_trips(self) -> RoundTrips:
        """The Pings that somebody waits for."""
        if self._round_trips is None:
            self._round_trips = RoundTrips(self._flavour.futures, self._flavour.wheel.now)
        return self._round_trips

    def drain(self, future: Future) -> None:
        """Resolve *future* once the send buffer has been at its low mark."""
        if not self.outbox.over:
            self._flavour.futures.resolve(future)
        elif self._drains is None:
            self._drains = [future]
        else:
            self._drains.append(future)

    def later(self, step: Callable[[], object]) -> None:
        """Take *step* soon, in the order of these calls, and not inside the call that the user is making."""
        if self._agenda is None:
            self._agenda = []
            self._flavour.soon(self._take_steps)
        self._agenda.append(step)

    def _take_steps(self) -> None:
        steps, self._agenda = self._agenda, None
        for step in steps or ():
            step()

    def lost(self, reason: str) -> None:
        """TCP is gone: hand out what had arrived, then call onClose."""
        self._take_steps()
        if self._closing is not None:
            self._closing.cancel()
        self.connection.lost(CloseCause.CONNECTION_LOST, reason)
        self.outbox.discard()
        self._reject_waiting()
        if self._session._paused:
            self._session._paused = False
            self.inbox.release()
        self.inbox.advance()
        self._session.factory._session_lost(self._session)

    # What the connection says (events.Owner).

    @property
    def message(self) -> Callable[[bytes, bool], object]:
        """Where the codec delivers messages."""
        return self.inbox.deliver

    def ping(self, payload: bytes) -> None:
        """Answer a Ping, and tell of it."""
        # 5.5.2: "Upon receipt of a Ping frame, an endpoint MUST send a Pong frame in response, unless it already
        # received a Close frame."
        self.outbox.control(Opcode.PONG, payload)
        if self.answering is None:
            self.answering = []
        self.answering.append(payload)
        self._session._call_quietly(
            "onPing", self._session.onPing, payload, then=partial(self.answering.remove, payload)
        )

    def pong(self, payload: bytes) -> None:
        """Tell of a Pong."""
        if self._round_trips is not None:
            self._round_trips.pong(payload)
        self._session._call_quietly("onPong", self._session.onPong, payload)

    def send_close(self, payload: bytes | None) -> None:
        """Send a Close frame behind what waits."""
        self.outbox.close(payload)

    def closing(self) -> None:
        """It is no longer open: nobody need wait for the send buffer or a Pong, and the closing deadline runs."""
        self.later(self._reject_waiting)
        seconds = self._session._options.closeHandshakeTimeout
        if seconds is not None:
            self._closing = ProgressDeadline(self._flavour.wheel, seconds, self._unsent, self._give_up_closing)

    def end_tcp(self) -> None:
        """Shut down our sending side, discard what comes until EOF."""
        self._wire.finish()
        self._wire.resume()

    def await_eof(self) -> None:
        """Discard what comes until EOF."""
        self._wire.resume()

    def drop(self) -> None:
        """Abort the transport."""
        self._wire.abort()

    def _unsent(self) -> int:
        return self.outbox.waiting + self._wire.unsent()

    def _give_up_closing(self) -> None:
        self.connection.give_up(CloseCause.CLOSE_TIMEOUT, "the closing handshake timed out")
        self._wire.abort()

    # What the inbox says (inbox.InboxOwner).

    def handle(self, payload: bytes, is_binary: bool) -> Future | None:
        """Call onMessage."""
        try:
            result = self._session.onMessage(payload, is_binary)
        except Exception as error:
            self._application_failed("onMessage", error)
            return None
        return None if result is None else self._flavour.futures.from_result(result)

    def watch(self, future: Future, done: Callable[[], None]) -> None:
        """Call *done* once onMessage is done."""
        self._handling += 1
        if self._slow is not None:
            self._watch_application()

        def finished(_: object = None) -> None:
            self._handling -= 1
            done()

        def failed(error: BaseException) -> None:
            self._application_failed("onMessage", error)
            finished()

        self._flavour.futures.watch(future, finished, failed)

    def inbox_full(self) -> None:
        """Stop reading."""
        if self.connection.state is not State.CLOSED:
            self._wire.pause()
        self._watch_application()

    def inbox_room(self) -> None:
        """Read on, first what the codec has kept."""
        self._unwatch_application()
        self.receive_kept()
        if not self.inbox.stopped and self.connection.state is not State.CLOSED:
            self._wire.resume()

    def receive_kept(self) -> None:
        """Take the bytes that the codec was stopped before."""
        self.outbox.cork()
        try:
            self.connection.resume()
        finally:
            self.outbox.uncork()

    def inbox_empty(self) -> None:
        """Everything is handled: if TCP is gone, too, it is over."""
        if self.connection.state is State.CLOSED and not self._greeting and self._session.closeInfo is None:
            self._unwatch_application()
            self._session._ended(self.connection.close_info, tell=True)

    def _watch_application(self) -> None:
        """The queue is full: watch how long the message takes that is being handled."""
        self._unwatch_application()
        self._slow = self._flavour.wheel.after(SLOW_APPLICATION_SECONDS, self._log_slow_application)

    def _unwatch_application(self) -> None:
        if self._slow is not None:
            self._slow.cancel()
            self._slow = None

    def _log_slow_application(self) -> None:
        # Where nothing is being handled, the application has paused on purpose.
        if self._handling:
            self._flavour.log.warn(
                "{protocol}: onMessage has been handling one message for {seconds:.0f} s while the queue is full; if it"
                " awaits a later message of its own connection that never comes: start a task for that",
                protocol=type(self._session).__qualname__,
                seconds=SLOW_APPLICATION_SECONDS,
            )

    # What the outbox says (outbox.OutboxOwner).

    def send_paused(self) -> None:
        """Tell of the high mark."""
        self.later(partial(self._session._call_quietly, "onSendPaused", self._session.onSendPaused))

    def send_resumed(self) -> None:
        """Tell of the low mark."""
        self.later(partial(self._session._call_quietly, "onSendResumed", self._session.onSendResumed))
        drains, self._drains = self._drains, None
        for future in drains or ():
            self._flavour.futures.resolve(future)

    def close_sent(self) -> None:
        """The Close frame has left."""
        self.connection.close_sent()

    def _reject_waiting(self) -> None:
        drains, self._drains = self._drains, None
        error = ConnectionClosed("the connection is closing or closed", self.connection.close_info)
        for future in drains or ():
            self._flavour.futures.reject(future, error)
        if self._round_trips is not None:
            self._round_trips.reject(error)

    def _application_failed(self, name: str, error: BaseException) -> None:
        """A callback raised: log it, close with 1011, hand out nothing more."""
        is_open = self.connection.state is State.OPEN
        # Whoever answers on what is closing anyway has done nothing wrong.
        if isinstance(error, ConnectionClosed) and not is_open:
            return
        self._session._log_failure(name, error)
        if is_open:
            self.connection.fail(CloseCode.INTERNAL_ERROR, "internal error", CloseCause.APPLICATION_ERROR)
        self.inbox.discard()


def _control_payload(payload: object) -> bytes:
    data = _bytes_of(payload)
    # 5.5: "All control frames MUST have a payload length of 125 bytes or less"
    if len(data) > MAX_CONTROL_PAYLOAD:
        raise ValueError(f"a control frame's payload has {len(data)} bytes: {MAX_CONTROL_PAYLOAD} are allowed")
    return data


def _bytes_of(payload: object) -> bytes:
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
        raise TypeError(f"text is str, or UTF-8 as bytes, bytearray or memoryview, not {type(payload).__name__}")
    data = bytes(payload)
    if not is_utf8(data):
        raise InvalidPayload("the text is not UTF-8; send it with isBinary=True, or encode it")
    return data
