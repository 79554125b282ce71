"""One connection after its opening handshake, without I/O: its states, and its closing handshake (RFC 6455 section 7).

Bytes go in through ``receive``; messages and control frames come out as calls on the owner (``events.Owner``).  Which
move is legal when is one table, ``TRANSITIONS``: a missing key is an illegal move.  Every protocol error, whoever
raised it, becomes a Close frame in one place, ``_decoding``.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import Final

from wsfactory._codec import Decoder
from wsfactory.errors import ProtocolError
from wsfactory.events import CloseCause, CloseInfo, Owner
from wsfactory.frames import CloseCode, Opcode, close_payload, parse_close
from wsfactory.options import Options

__all__ = ["TRANSITIONS", "Connection", "Move", "State"]


class State(Enum):
    """Where a connection stands, from the end of the opening handshake on."""

    OPEN = "messages flow"
    PEER_CLOSED = "the peer's Close arrived: ours waits until what came before it is handled"
    CLOSE_WAITING = "we began: our Close waits behind data"
    CLOSE_SENT = "we began: our Close has left, the peer's is awaited"
    LAST_WORDS = "our Close is the last thing to leave"
    ENDING = "nothing more will be said: TCP is being ended"
    CLOSED = "TCP is gone"


class Move(Enum):
    """What can happen to a connection."""

    CLOSE = "we close: the application does, or is done with what came before the peer's Close"
    PEER_CLOSE = "the peer's Close arrived"
    FAIL = "it ends without the peer's Close: we fail it (7.1.7), drop it, or the peer's EOF arrived"
    SENT = "our Close has left"
    LOST = "TCP is gone"


TRANSITIONS: Final[dict[tuple[State, Move], State]] = {
    (State.OPEN, Move.CLOSE): State.CLOSE_WAITING,
    (State.OPEN, Move.PEER_CLOSE): State.PEER_CLOSED,
    (State.OPEN, Move.FAIL): State.LAST_WORDS,
    (State.PEER_CLOSED, Move.CLOSE): State.LAST_WORDS,
    (State.PEER_CLOSED, Move.FAIL): State.LAST_WORDS,
    (State.CLOSE_WAITING, Move.SENT): State.CLOSE_SENT,
    (State.CLOSE_WAITING, Move.PEER_CLOSE): State.LAST_WORDS,
    (State.CLOSE_WAITING, Move.FAIL): State.LAST_WORDS,
    (State.CLOSE_SENT, Move.PEER_CLOSE): State.ENDING,
    (State.CLOSE_SENT, Move.FAIL): State.ENDING,
    (State.LAST_WORDS, Move.SENT): State.ENDING,
    (State.OPEN, Move.LOST): State.CLOSED,
    (State.PEER_CLOSED, Move.LOST): State.CLOSED,
    (State.CLOSE_WAITING, Move.LOST): State.CLOSED,
    (State.CLOSE_SENT, Move.LOST): State.CLOSED,
    (State.LAST_WORDS, Move.LOST): State.CLOSED,
    (State.ENDING, Move.LOST): State.CLOSED,
}

_OPEN: Final = (State.OPEN, State.PEER_CLOSED)
NO_CLOSE: Final = "the peer ended the connection without a Close frame"


class Connection:
    """One side of an open WebSocket connection.

    *is_client* decides who masks and who ends TCP.  ``state`` may be read at any time, and ``is_open``: whether
    messages may be sent.
    """

    __slots__ = (
        "_begun_by",
        "_broken_off",
        "_cause",
        "_eof",
        "_fail_by_drop",
        "_local",
        "_owner",
        "_reason",
        "_remote",
        "_said",
        "decoder",
        "is_client",
        "is_open",
        "state",
    )

    def __init__(self, is_client: bool, options: Options, owner: Owner) -> None:
        self.is_client = is_client
        self.state = State.OPEN
        self.is_open = True
        self._owner = owner
        self._fail_by_drop = options.failByDrop
        self._begun_by: str | None = None
        self._cause: CloseCause | None = None
        self._reason = ""
        self._broken_off = False
        self._eof = False
        # What the two Close frames say, and whether ours has left.
        self._local: tuple[int, str] | None = None
        self._remote: tuple[int, str] | None = None
        self._said = False
        self.decoder = Decoder(
            not is_client,
            owner.message,
            self._control,
            max_message=options.maxMessagePayloadSize,
            max_frame=options.maxFramePayloadSize,
            max_fragments=options.maxFragments,
        )

    # What arrives.

    def receive(self, data: bytes) -> None:
        """Take *data* from the wire; what follows the end of the conversation is discarded."""
        if self._listening():
            self._decoding(self.decoder.receive, data)

    def resume(self) -> None:
        """Go on after the owner stopped the codec."""
        if self._listening():
            self._decoding(self.decoder.resume)
        if self._eof:
            self._end_by_eof()

    def eof(self) -> None:
        """The peer has shut down its sending side: what it has not said by now, it never will."""
        self._eof = True
        if self.state is State.ENDING:
            self._owner.end_tcp()
        else:
            self._end_by_eof()

    def lost(self, cause: CloseCause, reason: str) -> None:
        """TCP is gone; *cause* and *reason* hold unless the ending had begun for another."""
        self._begin(None, cause)
        self._reason = self._reason or reason
        self._move(Move.LOST)

    def _listening(self) -> bool:
        # 1.4: "After both sending and receiving a Close message, an endpoint considers the connection closed".
        # A connection that was lost is still read to the end of what had arrived.
        return self._remote is None and not self._broken_off

    def _decoding(self, step: Callable[..., None], *data: bytes) -> None:
        try:
            step(*data)
        except ProtocolError as error:
            self.fail(error.code, str(error), CloseCause.PROTOCOL_ERROR)

    def _control(self, opcode: int, payload: bytes) -> bool:
        if opcode == Opcode.PING:
            self._owner.ping(payload)
        elif opcode == Opcode.PONG:
            self._owner.pong(payload)
        else:
            self._peer_close(payload)
        return not self._listening()

    def _peer_close(self, payload: bytes) -> None:
        self._remote = parse_close(payload)
        if self.state is State.CLOSED:
            # It had arrived before TCP went, behind messages that the application had yet to take.
            if self._cause is CloseCause.CONNECTION_LOST:
                self._cause, self._begun_by = CloseCause.REMOTE_CLOSE, "remote"
            return
        self._begin("remote", CloseCause.REMOTE_CLOSE)
        self._move(Move.PEER_CLOSE)
        if self.state is State.ENDING:
            self._end()
        elif self.state is State.PEER_CLOSED and self._owner.may_answer():
            self.answer()

    def _end_by_eof(self) -> None:
        # What the decoder was stopped before may hold the peer's Close.
        if self._listening() and not self.decoder.stopped:
            was_open = self.is_open
            if self._break_off(None, CloseCause.CONNECTION_LOST, NO_CLOSE):
                self._leave(was_open, None)

    # What we do.

    def answer(self) -> None:
        """Answer the peer's Close, unless that is done: the replies to what came before it have been sent."""
        if self.state is State.PEER_CLOSED and self._remote is not None:
            # 5.5.1: "When sending a Close frame in response, the endpoint typically echos the status code it received."
            code, _ = self._remote
            self._move(Move.CLOSE)
            self._say_close(close_payload(None if code == CloseCode.NO_STATUS else code))

    def close(self, code: int | None, reason: str, cause: CloseCause = CloseCause.LOCAL_CLOSE) -> None:
        """Begin the closing handshake, unless it has begun.  Raises ``ValueError`` for a code that may not be sent."""
        payload = close_payload(code, reason)
        if self.is_open:
            self._begin("local", cause)
            self._move(Move.CLOSE)
            self._say_close(payload)

    def fail(self, code: int, reason: str, cause: CloseCause) -> None:
        """Fail the connection (7.1.7): say why, behind what was said before, and wait for no answer."""
        was_open = self.is_open
        if not self._break_off(None if self._fail_by_drop else "local", cause, reason):
            return
        self._cause = cause
        if self._fail_by_drop:
            self._owner.drop()
        else:
            self._leave(was_open, close_payload(code, reason))

    def drop(self, cause: CloseCause, reason: str, abort: bool) -> None:
        """End without a Close frame: behind what waits, or at once (*abort*)."""
        was_open = self.is_open
        if self._break_off(None, cause, reason):
            self._cause = cause
        if abort and self.state is not State.CLOSED:
            self._owner.drop()
        else:
            self._leave(was_open, None)

    def close_sent(self) -> None:
        """Our Close frame, or the end without one, has left us."""
        if (self.state, Move.SENT) not in TRANSITIONS:
            return
        self._said = True
        self._move(Move.SENT)
        if self.state is State.ENDING:
            self._end()

    def give_up(self, cause: CloseCause, reason: str) -> None:
        """The closing handshake took too long; if only the end of TCP was missing, it was clean all the same."""
        if not (self._is_clean() or self._broken_off):
            self._broken_off = True
            self._cause = cause
            self._reason = reason

    # How it ended.

    @property
    def close_info(self) -> CloseInfo:
        """How the connection ended, or, while it is closing, how it is about to: as if the peer agreed."""
        is_ending = self.state is not State.CLOSED and not self._broken_off
        local = (self._local or (None, "")) if self._said or is_ending else (None, "")
        remote = self._remote or (None, "")
        code, reason = remote if self._remote else local if is_ending else (None, self._reason)
        return CloseInfo(
            wasClean=self._is_clean(),
            code=code or int(CloseCode.ABNORMAL),
            reason=reason,
            cause=self._cause or CloseCause.CONNECTION_LOST,
            begunBy=self._begun_by,
            localCode=local[0],
            localReason=local[1],
            remoteCode=remote[0],
            remoteReason=remote[1],
        )

    def _is_clean(self) -> bool:
        # 7.1.4: "after the WebSocket closing handshake was completed"
        return self._said and self._local is not None and self._remote is not None and not self._broken_off

    def _begin(self, by: str | None, cause: CloseCause) -> None:
        if self._cause is None:
            self._cause = cause
            self._begun_by = by

    def _break_off(self, by: str | None, cause: CloseCause, reason: str) -> bool:
        """Stop listening, if the conversation was still going on; return whether it was."""
        if (self.state, Move.FAIL) not in TRANSITIONS:
            return False
        self._broken_off = True
        self._reason = reason
        self._begin(by, cause)
        self.decoder.stop()
        self._move(Move.FAIL)
        return True

    def _leave(self, was_open: bool, payload: bytes | None) -> None:
        """Go on to the end of TCP: behind a Close frame with *payload* (None: without one) if none has been said."""
        if was_open:
            self._say_close(payload)
        elif self.state is State.ENDING:
            self._owner.end_tcp()

    def _move(self, move: Move) -> None:
        was_open = self.is_open
        self.state = TRANSITIONS[self.state, move]
        self.is_open = self.state in _OPEN
        if was_open and not self.is_open and move is not Move.LOST:
            self._owner.closing()

    def _say_close(self, payload: bytes | None) -> None:
        self._local = None if payload is None else parse_close(payload)
        self._owner.send_close(payload)

    def _end(self) -> None:
        # 7.1.1: "The underlying TCP connection, in most normal cases, SHOULD be closed first by the server".
        if self.is_client and not self._broken_off and not self._eof:
            self._owner.await_eof()
        else:
            self._owner.end_tcp()
