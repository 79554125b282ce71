"""Messages waiting for the socket: whole and unframed, control frames first, bounded marks.

Messages go in with ``message``, control frames with ``control``, the Close frame with ``close``; they are encoded
when the transport takes them, at most ``writeLimit`` bytes at a time.  So a message that waits can still be
dropped, and a control frame overtakes everything but a frame already begun.  Nothing follows the Close frame (RFC
6455 section 5.5.1).  While corked (during a read) nothing is handed over: all replies to one read leave in one
write.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Final, Protocol

from wsfactory._codec import Encoder
from wsfactory.flavour import Transport
from wsfactory.frames import FIN, Opcode

__all__ = ["Outbox", "OutboxOwner"]

# 5.5.3: with Pongs unsent, "the endpoint MAY elect to send a Pong frame for only the most recently processed Ping".
MAX_WAITING_PONGS: Final = 32
# 5.2: two bytes, an extended length of eight, a masking key of four.
MAX_HEADER: Final = 14

_NO_FRAME: Final = b"the end, without a Close frame"


class OutboxOwner(Protocol):
    """What an outbox tells its session."""

    def send_paused(self) -> None:
        """More than the high mark is unsent."""

    def send_resumed(self) -> None:
        """No more than the low mark is unsent."""

    def close_sent(self) -> None:
        """The Close frame was handed to the transport."""


class Outbox:
    """What one connection has yet to send."""

    __slots__ = (
        "_batch",
        "_begun",
        "_blocked",
        "_close",
        "_control",
        "_corks",
        "_encoder",
        "_fragment_size",
        "_handed",
        "_high",
        "_low",
        "_over",
        "_owner",
        "_plain",
        "_pongs",
        "_queue",
        "_rest",
        "_said_close",
        "_transport",
        "_waiting",
        "bytes_sent",
        "messages_sent",
    )

    def __init__(
        self,
        owner: OutboxOwner,
        transport: Transport,
        encoder: Encoder,
        marks: tuple[int, int],
        fragment_size: int = 0,
    ) -> None:
        self._owner = owner
        self._transport = transport
        self._encoder = encoder
        self._high, self._low = marks
        self._batch = self._high or float("inf")
        self._fragment_size = fragment_size
        self._queue: deque[tuple[int, bytes]] | None = None
        self._control: deque[tuple[int, bytes]] | None = None
        self._pongs: deque[bytes] | None = None
        self._begun: Iterator[bytes] | None = None
        self._rest: memoryview | None = None
        self._close: bytes | None = None
        self._said_close = False
        # Nothing but messages waits, the first of them not begun: there is less to look at.
        self._plain = True
        self._corks = 0
        self._blocked = False
        self._over = False
        self._waiting = 0
        self._handed = 0
        self.messages_sent = 0
        self.bytes_sent = 0

    # What the session reads.

    @property
    def buffered(self) -> int:
        """The payload bytes that wait, and what the transport was given and has not reported gone."""
        return self._waiting + self._handed

    @property
    def waiting(self) -> int:
        """The payload bytes that wait here."""
        return self._waiting

    @property
    def over(self) -> bool:
        """Whether the high mark was passed and the low mark not reached since."""
        return self._over

    @property
    def closed(self) -> bool:
        """Whether the Close frame has been handed to the transport."""
        return self._said_close

    # What is sent.

    def message(self, opcode: int, payload: bytes) -> None:
        """Queue one message; *payload* must not change any more."""
        if self._queue is None:
            self._queue = deque()
        self._queue.append((opcode, payload))
        self._waiting += len(payload)
        if not self._corks:
            self._pump()
        if self._high and not self._over and self._waiting + self._handed > self._high:
            self._over = True
            self._owner.send_paused()

    def control(self, opcode: int, payload: bytes) -> None:
        """Send a Ping or a Pong at the next frame boundary, ahead of every message."""
        self._plain = False
        if opcode == Opcode.PONG:
            if self._pongs is None:
                self._pongs = deque(maxlen=MAX_WAITING_PONGS)
            self._pongs.append(payload)
        else:
            if self._control is None:
                self._control = deque()
            self._control.append((opcode, payload))
        if not self._corks:
            self._pump()

    def close(self, payload: bytes | None) -> None:
        """Send a Close frame behind everything that waits; None: no frame, only the end."""
        self._plain = False
        self._close = _NO_FRAME if payload is None else payload
        if not self._corks:
            self._pump()

    def discard(self) -> None:
        """Forget everything; nothing is handed over any more."""
        self._queue = self._control = self._pongs = None
        self._begun = self._rest = self._close = None
        self._waiting = self._handed = 0
        self._blocked = True
        self._over = False

    # When it is handed over.

    def cork(self) -> None:
        """Hand nothing over until as many ``uncork`` calls came."""
        self._corks += 1

    def uncork(self) -> None:
        """Hand over what gathered meanwhile."""
        self._corks -= 1
        if not self._corks:
            self._pump()
            self._check_low()

    def flush(self) -> None:
        """Hand over what the transport takes, corked or not."""
        self._pump()

    def writable(self) -> None:
        """The transport has sent what it was given."""
        self._blocked = False
        self._handed = 0
        if not self._corks:
            self._pump()
            self._check_low()

    def _pump(self) -> None:
        if self._plain and not self._queue:
            return
        while not self._blocked:
            chunks, size = self._take()
            if not chunks:
                break
            self._blocked = not self._transport.write(chunks)
            self._handed = size if self._blocked else 0
        if self._said_close and self._close is not None and self._rest is None:
            self._close = None
            self._owner.close_sent()

    def _check_low(self) -> None:
        if self._over and self.buffered <= self._low:
            self._over = False
            self._owner.send_resumed()

    def _take(self) -> tuple[list[bytes], int]:
        """Encode what may leave next, up to the batch's size."""
        chunks: list[bytes] = []
        size = self._take_messages(self._queue, chunks) if self._plain and self._queue else 0
        if self._queue or not self._plain:
            size = self._take_others(chunks, size)
        return chunks, size

    def _take_messages(self, queue: deque[tuple[int, bytes]], chunks: list[bytes]) -> int:
        """Encode messages as long as each makes one frame that fits."""
        frame, largest, size = self._encoder.frame, self._fragment_size or self._batch, 0
        while queue:
            opcode, payload = queue[0]
            if len(payload) > largest or size + len(payload) + MAX_HEADER > self._batch:
                break
            queue.popleft()
            self._waiting -= len(payload)
            self.messages_sent += 1
            self.bytes_sent += len(payload)
            data = frame(FIN | opcode, payload)
            chunks.append(data)
            size += len(data)
        return size

    def _take_others(self, chunks: list[bytes], size: int) -> int:
        """Encode whatever comes next, a piece at a time."""
        while size < self._batch:
            chunk = self._next(self._batch - size)
            if chunk is None:
                break
            chunks.append(chunk)
            size += len(chunk)
        self._plain = self._only_messages_wait()
        return size

    def _only_messages_wait(self) -> bool:
        begun = self._rest is not None or self._begun is not None
        closing = self._close is not None or self._said_close
        return not (begun or closing or self._pongs or self._control)

    def _next(self, room: float) -> bytes | None:
        if self._rest is not None:
            return self._slice(self._rest, room)
        frame = self._next_frame()
        if frame is None or len(frame) <= room:
            return frame
        self._waiting += len(frame)
        return self._slice(memoryview(frame), room)

    def _slice(self, rest: memoryview, room: float) -> bytes:
        cut = min(len(rest), int(min(room, len(rest))))
        self._rest = rest[cut:] if cut < len(rest) else None
        self._waiting -= cut
        return bytes(rest[:cut])

    def _next_frame(self) -> bytes | None:
        if self._said_close:
            return None
        # 5.4: "Control frames MAY be injected in the middle of a fragmented message."
        if self._pongs:
            return self._encoder.frame(FIN | Opcode.PONG, self._pongs.popleft())
        if self._control:
            opcode, payload = self._control.popleft()
            return self._encoder.frame(FIN | opcode, payload)
        if self._begun is not None:
            frame = next(self._begun, None)
            if frame is not None:
                return frame
            self._begun = None
        if self._queue:
            return self._begin(*self._queue.popleft())
        return self._last_frame()

    def _begin(self, opcode: int, payload: bytes) -> bytes:
        self.messages_sent += 1
        self.bytes_sent += len(payload)
        if self._fragment_size and len(payload) > self._fragment_size:
            self._begun = self._fragments(opcode, payload)
            return next(self._begun)
        self._waiting -= len(payload)
        return self._encoder.frame(FIN | opcode, payload)

    def _fragments(self, opcode: int, payload: bytes) -> Iterator[bytes]:
        view = memoryview(payload)
        size = self._fragment_size
        for start in range(0, len(view), size):
            piece = view[start : start + size]
            fin = FIN if start + size >= len(view) else 0
            self._waiting -= len(piece)
            yield self._encoder.frame(fin | (opcode if start == 0 else 0), piece)

    def _last_frame(self) -> bytes | None:
        if self._close is None:
            return None
        # 5.5.1: "The application MUST NOT send any more data frames after sending a Close frame."
        self._said_close = True
        if self._close is _NO_FRAME:
            return None
        return self._encoder.frame(FIN | Opcode.CLOSE, self._close)
