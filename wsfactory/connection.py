"""One connection after its opening handshake, without I/O: the state table and the closing handshake (RFC 6455 section 7).

Bytes go in through ``receive``; messages and control frames come out as calls on the owner (``events.Owner``).  Which move
is legal when is one table, ``TRANSITIONS``: a missing key is an illegal move.  Every protocol error, whoever raised it,
becomes a Close frame in one place, ``_decoding``.
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
    """Where a connection stands."""

    CONNECTING = "the opening handshake is under way"
    OPEN = "messages flow"
    CLOSE_WAITING = "we began: our Close waits behind data"
    CLOSE_SENT = "we began: our Close has left, the peer's is awaited"
    LAST_WORDS = "our Close is the last thing to leave"
    ENDING = "nothing more will be said: TCP is being ended"
    CLOSED = "TCP is gone"


class Move(Enum):
    """What can happen to a connection."""

    OPENED = "the opening handshake succeeded"
    CLOSE = "our application closes"
    PEER_CLOSE = "the peer's Close arrived"
    FAIL = "we fail the connection (7.1.7)"
    SENT = "our Close has left"
    LOST = "TCP is gone"


TRANSITIONS: Final[dict[tuple[State, Move], State]] = {
    (State.CONNECTING, Move.OPENED): State.OPEN,
    (State.OPEN, Move.CLOSE): State.CLOSE_WAITING,
    (State.OPEN, Move.PEER_CLOSE): State.LAST_WORDS,
    (State.OPEN, Move.FAIL): State.LAST_WORDS,
    (State.CLOSE_WAITING, Move.SENT): State.CLOSE_SENT,
    (State.CLOSE_WAITING, Move.PEER_CLOSE): State.LAST_WORDS,
    (State.CLOSE_WAITING, Move.FAIL): State.LAST_WORDS,
    (State.CLOSE_SENT, Move.PEER_CLOSE): State.ENDING,
    (State.CLOSE_SENT, Move.FAIL): State.ENDING,
    (State.LAST_WORDS, Move.SENT): State.ENDING,
    (State.CONNECTING, Move.LOST): State.CLOSED,
    (State.OPEN, Move.LOST): State.CLOSED,
    (State.CLOSE_WAITING, Move.LOST): State.CLOSED,
    (State.CLOSE_SENT, Move.LOST): State.CLOSED,
    (State.LAST_WORDS, Move.LOST): State.CLOSED,
    (State.ENDING, Move.LOST): State.CLOSED,
}


class Connection:
    """One side of an open WebSocket connection.

    *is_client* decides who masks and who ends TCP.  ``state`` may be read at any time.
    """

    __slots__ = (
        "_begun_by",
        "_cause",
        "_fail_by_drop",
        "_failed",
        "_local",
        "_owner",
        "_reason",
        "_remote",
        "decoder",
        "is_client",
        "state",
    )

    def __init__(self, is_client: bool, options: Options, owner: Owner) -> None:
        self.is_client = is_client
        self.state = State.OPEN
        self._owner = owner
        self._fail_by_drop = options.failByDrop
        self._begun_by: str | None = None
        self._cause: CloseCause | None = None
        self._failed = False
        self._reason = ""
        self._local: tuple[int | None, str] | None = None
        self._remote: tuple[int, str] | None = None
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

    def _listening(self) -> bool:
        # 1.4: "After both sending and receiving a Close message, an endpoint considers the connection closed".
        # A connection that was lost is still read to the end of what had arrived.
        return self._remote is None and not self._failed

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
        answers = self.state is State.OPEN
        self._begin("remote", CloseCause.REMOTE_CLOSE)
        self._move(Move.PEER_CLOSE)
        if answers:
            # 5.5.1: "When sending a Close frame in response, the endpoint typically echos the status code it received."
            code = None if self._remote[0] == CloseCode.NO_STATUS else self._remote[0]
            self._say_close(code, "")
        elif self.state is State.ENDING:
            self._end()

    # What we do.

    def close(self, code: int | None, reason: str, cause: CloseCause = CloseCause.LOCAL_CLOSE) -> None:
        """Begin the closing handshake; nothing happens when it has begun.  Raises ``ValueError`` for a forbidden code."""
        payload = close_payload(code, reason)
        if self.state is not State.OPEN:
            return
        self._begin("local", cause)
        self._move(Move.CLOSE)
        self._local = (code, reason)
        self._owner.closing()
        self._owner.send_close(payload)

    def fail(self, code: int, reason: str, cause: CloseCause) -> None:
        """Fail the connection (7.1.7): say why, behind what was said before, and wait for no answer."""
        if self._failed or self.state in (State.ENDING, State.CLOSED):
            return
        self._failed = True
        self._reason = reason
        self._begin("local", cause)
        self._cause = cause
        answers = self.state is State.OPEN
        self._move(Move.FAIL)
        if self._fail_by_drop:
            self._owner.drop()
        elif answers:
            self._say_close(code, reason)
        elif self.state is State.ENDING:
            self._owner.end_tcp()

    def close_sent(self) -> None:
        """Our Close frame has left us."""
        if (self.state, Move.SENT) not in TRANSITIONS:
            return
        self._move(Move.SENT)
        if self.state is State.ENDING:
            self._end()

    def lost(self, cause: CloseCause, reason: str) -> None:
        """TCP is gone; *cause* and *reason* hold unless the ending had begun for another."""
        self._begin(None, cause)
        self._reason = self._reason or reason
        self._move(Move.LOST)

    def drop(self, cause: CloseCause, reason: str, abort: bool) -> None:
        """End without a Close frame: behind what waits, or at once (*abort*)."""
        if self.state is State.CLOSED:
            return
        if abort:
            self._blame(cause, reason)
            self._owner.drop()
        elif self.state is State.OPEN:
            self._blame(cause, reason)
            self._move(Move.FAIL)
            self._owner.closing()
            self._owner.send_close(None)

    def give_up(self, cause: CloseCause, reason: str) -> None:
        """The closing handshake took too long; if only the end of TCP was missing, it was clean all the same."""
        if not (self._local and self._remote and self.state is State.ENDING):
            self._blame(cause, reason)

    # How it ended.

    @property
    def close_info(self) -> CloseInfo:
        """How the connection ended, or is about to."""
        local, remote = self._local, self._remote
        was_clean = bool(local and remote) and not self._failed
        code, reason = remote or (int(CloseCode.ABNORMAL), self._reason)
        return CloseInfo(
            wasClean=was_clean,
            code=code,
            reason=reason,
            cause=self._cause or CloseCause.CONNECTION_LOST,
            begunBy=self._begun_by,
            localCode=local[0] if local else None,
            localReason=local[1] if local else "",
            remoteCode=remote[0] if remote else None,
            remoteReason=remote[1] if remote else "",
        )

    def _blame(self, cause: CloseCause, reason: str) -> None:
        if not self._failed:
            self._failed = True
            self._cause = cause
            self._reason = reason

    def _begin(self, by: str | None, cause: CloseCause) -> None:
        if self._cause is None:
            self._cause = cause
            self._begun_by = by

    def _move(self, move: Move) -> None:
        self.state = TRANSITIONS[self.state, move]

    def _say_close(self, code: int | None, reason: str) -> None:
        self._local = (code, reason)
        self._owner.closing()
        self._owner.send_close(close_payload(code, reason))

    def _end(self) -> None:
        # 7.1.1: "The underlying TCP connection, in most normal cases, SHOULD be closed first by the server".
        if self.is_client and not self._failed:
            self._owner.await_eof()
        else:
            self._owner.end_tcp()
