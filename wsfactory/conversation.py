"""An open connection between its codec, its two queues and the application (RFC 6455 sections 5 to 7).

Bytes from the wire go in, the session's callbacks are called; what ``connection``, ``inbox`` and ``outbox`` report is
answered here.  No callback runs inside a call that the user makes.  No socket, no clock.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from wsfactory._codec import is_utf8
from wsfactory.callbacks import call, pass_on
from wsfactory.connection import Connection, State
from wsfactory.controls import Controls
from wsfactory.errors import ConnectionClosed, InvalidPayload
from wsfactory.events import CloseCause
from wsfactory.frames import MAX_CONTROL_PAYLOAD, CloseCode, Opcode
from wsfactory.inbox import Inbox
from wsfactory.keepalive import RoundTrips
from wsfactory.outbox import Outbox
from wsfactory.timing import Deadline, ProgressDeadline

if TYPE_CHECKING:
    from wsfactory.flavour import Future, Transport
    from wsfactory.session import Session

__all__ = ["SLOW_APPLICATION_SECONDS", "Conversation", "bytes_of", "control_payload", "text_of"]

# A message that is handled for this long while the queue is full is worth a line in the log.
SLOW_APPLICATION_SECONDS = 30.0


class Conversation:
    """An open connection, between its codec, its two queues and the application.

    Connection, inbox and outbox report to it; it belongs to one ``Session``, whose callbacks it calls, and keeps those
    names of theirs away from the users' own.
    """

    __slots__ = (
        "_agenda",
        "_closing",
        "_drains",
        "_ended",
        "_flavour",
        "_greeting",
        "_handling",
        "_pings",
        "_pongs",
        "_round_trips",
        "_session",
        "_slow",
        "_wire",
        "connection",
        "inbox",
        "outbox",
    )

    def __init__(self, session: Session, wire: Transport) -> None:
        options = session._ws_options
        self._session = session
        self._flavour = session._ws_flavour
        self._wire = wire
        self._agenda: list[Callable[[], object]] | None = None
        self._closing: Deadline | ProgressDeadline | None = None
        self._slow: Deadline | None = None
        self._drains: list[Future] | None = None
        self._round_trips: RoundTrips | None = None
        self._pings: Controls | None = None
        self._pongs: Controls | None = None
        self._greeting = True
        self._ended = False
        self._handling = 0
        self.inbox = Inbox(self, options.maxQueue, options.maxQueueBytes)
        self.outbox = Outbox(self, wire, session.factory.encoder, options.writeLimit, options.autoFragmentSize)
        self.connection = Connection(session.is_client, options, self)

    def begin(self, rest: bytes) -> None:
        """Call onOpen; no message is handed out before it is done, also none of *rest*."""
        session = self._session
        self.inbox.hold()
        if session._ws_paused:
            self.inbox.hold()
        self.outbox.cork()
        try:
            call(self._flavour, session.onOpen, done=self._greeted, failed=self._greeting_failed)
            session._ws_tell_opened(None)
            if rest:
                self.connection.receive(rest)
        finally:
            self.outbox.uncork()

    def _greeted(self, _: object = None) -> None:
        self._greeting = False
        self.inbox.release()

    def _greeting_failed(self, error: BaseException) -> None:
        self.application_failed("onOpen", error)
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

    @property
    def latency(self) -> float | None:
        """The last round trip, if there was one."""
        return self._round_trips.latency if self._round_trips is not None else None

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
        if self._session._ws_paused:
            self._session._ws_paused = False
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
        if self._pings is None:
            self._pings = Controls(partial(self._tell, "onPing"))
        self._pings.arrived(payload)
        # Most connections are told at once: they need not keep one.
        if not self._pings.under_way:
            self._pings = None

    def pong(self, payload: bytes) -> None:
        """Tell of a Pong."""
        if self._round_trips is not None:
            self._round_trips.pong(payload)
        if self._pongs is None:
            self._pongs = Controls(partial(self._tell, "onPong"))
        self._pongs.arrived(payload)
        if not self._pongs.under_way:
            self._pongs = None

    def is_answering(self, payload: bytes) -> bool:
        """Whether the onPing of a Ping with *payload* is under way."""
        return self._pings is not None and payload in self._pings.under_way

    def _tell(self, name: str, payload: bytes, done: Callable[[], object]) -> None:
        self._session._ws_call_quietly(name, getattr(self._session, name), payload, then=done)

    def may_answer(self) -> bool:
        """Whether everything that came before the peer's Close is handled; replies to it may be sent until it is."""
        if self.inbox.idle:
            return True
        # Half of what the peer is likely to wait for our answer.
        seconds = self._session._ws_options.closeHandshakeTimeout
        if seconds is not None:
            self._closing = self._flavour.wheel.after(seconds / 2, self.connection.answer)
        return False

    def send_close(self, payload: bytes | None) -> None:
        """Send a Close frame behind what waits."""
        self.outbox.close(payload)

    def closing(self) -> None:
        """It is no longer open: nobody need wait for the send buffer or a Pong, and the closing deadline runs."""
        self.later(self._reject_waiting)
        if self._closing is not None:
            self._closing.cancel()
        seconds = self._session._ws_options.closeHandshakeTimeout
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
        except BaseException as error:
            self.application_failed("onMessage", error)
            pass_on(self._flavour, error)
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
            self.application_failed("onMessage", error)
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
        """Everything is handled: if the peer has closed, answer; if TCP is gone, it is over."""
        self.connection.answer()
        if self.connection.state is State.CLOSED and not self._greeting and not self._ended:
            self._ended = True
            # onClose is the last call: of what they have not told by now they never will.
            for controls in (self._pings, self._pongs):
                if controls is not None:
                    controls.forget()
            self._unwatch_application()
            self._session._ws_ended(self.connection.close_info, tell=True)

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
        self.later(partial(self._session._ws_call_quietly, "onSendPaused", self._session.onSendPaused))

    def send_resumed(self) -> None:
        """Tell of the low mark."""
        self.later(partial(self._session._ws_call_quietly, "onSendResumed", self._session.onSendResumed))
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

    def application_failed(self, name: str, error: BaseException) -> None:
        """A callback raised: log it, close with 1011, hand out nothing more."""
        is_open = self.connection.is_open
        # Whoever answers on what is closing anyway has done nothing wrong.
        if isinstance(error, ConnectionClosed) and not is_open:
            return
        self._session._ws_log_failure(name, error)
        if self.connection.state is State.PEER_CLOSED:
            self.connection.close(CloseCode.INTERNAL_ERROR, "internal error")
        elif is_open:
            self.connection.fail(CloseCode.INTERNAL_ERROR, "internal error", CloseCause.APPLICATION_ERROR)
        self.inbox.discard()


# What the application gives to send.


def control_payload(payload: object) -> bytes:
    """Return *payload* as bytes that fit into a control frame."""
    data = bytes_of(payload)
    # 5.5: "All control frames MUST have a payload length of 125 bytes or less"
    if len(data) > MAX_CONTROL_PAYLOAD:
        raise ValueError(f"a control frame's payload has {len(data)} bytes: {MAX_CONTROL_PAYLOAD} are allowed")
    return data


def bytes_of(payload: object) -> bytes:
    """Return a binary *payload* as bytes of our own."""
    if not isinstance(payload, bytes | bytearray | memoryview):
        raise TypeError(f"a binary payload is bytes, bytearray or memoryview, not {type(payload).__name__}")
    return bytes(payload)


def text_of(payload: object) -> bytes:
    """Return text as UTF-8, whether it came as str or as bytes."""
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
