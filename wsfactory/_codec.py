"""The hot path: bytes to messages, and messages to bytes (RFC 6455 sections 5, 6 and 8.1).

Into a ``Decoder`` go the bytes of one connection, cut anywhere; out of it come whole messages and control frames, as
calls, in the order of the wire.  Into an ``Encoder`` goes one payload; out of it comes one frame.  No I/O, no clock,
and no idea of the connection's state: that is ``connection.py``.

This is ordinary Python.  ``_codec.pxd`` gives it C types where it can be compiled, and lets ``_payload.h`` take the
place of ``_payload.py``; ``COMPILED`` tells which of the two is running.  Hence the flat style: small methods cost
nothing once they are typed, but every attribute named here is named there too.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from struct import Struct
from weakref import WeakSet

from wsfactory import _payload
from wsfactory.errors import InvalidPayload, MessageTooBig, ProtocolError
from wsfactory.frames import FIN, RSV1, Opcode

__all__ = ["COMPILED", "Decoder", "Encoder", "MaskKeys", "is_utf8"]

COMPILED = not __file__.endswith((".py", ".pyc"))

_CONTINUATION = int(Opcode.CONTINUATION)
_TEXT = int(Opcode.TEXT)
_BINARY = int(Opcode.BINARY)
_PONG = int(Opcode.PONG)
_COMPRESSED = RSV1
_RSV2_RSV3 = 0x30
_CONTROL = 0x08
_MASKED = 0x80
_MAX_CONTROL = 125
_WHOLE_TEXT = FIN | _TEXT
_WHOLE_BINARY = FIN | _BINARY
_NOT_UTF8 = "a text message is not UTF-8"
_NO_LIMIT = sys.maxsize
_POOL_BYTES = 4096


class Decoder:
    """Bytes to messages (section 5): feed ``receive``, be called back.

    *masked*: True on a server, where every frame must be masked; False on a client, where none may be.
    *deliver(payload, is_binary)* is called with each whole message, always as ``bytes``, and *control(opcode, payload)*
    with each Close, Ping and Pong on its arrival, also between the fragments of a message.  A truthy result of either
    stops the decoder after that frame, as ``stop()`` does; what follows is kept until ``resume()``.

    Limits are in bytes, and in frames of one message; 0 means none.  With *inflate* a message may come compressed
    (RSV1, RFC 7692); the whole of it then goes through ``inflate(bytes) -> bytes``.  ``messages`` and ``payload_bytes``
    count what was delivered.
    """

    __slots__ = (
        "_busy",
        "_checked",
        "_compressed",
        "_control",
        "_control_payload",
        "_data",
        "_deliver",
        "_failed",
        "_fin",
        "_frames",
        "_inflate",
        "_key",
        "_later",
        "_mask_bit",
        "_max_compressed",
        "_max_fragments",
        "_max_frame",
        "_max_message",
        "_max_single",
        "_message",
        "_message_limit",
        "_message_opcode",
        "_needed",
        "_offset",
        "_opcode",
        "_position",
        "_remaining",
        "_short_head",
        "messages",
        "payload_bytes",
        "stopped",
    )

    def __init__(
        self,
        masked: bool,
        deliver: Callable[[bytes, bool], object],
        control: Callable[[int, bytes], object],
        *,
        max_message: int,
        max_frame: int,
        max_fragments: int,
        inflate: Callable[[bytes], bytes] | None = None,
    ) -> None:
        self._deliver = deliver
        self._control = control
        self._inflate = inflate
        self._mask_bit = _MASKED if masked else 0
        self._short_head = 6 if masked else 2
        self._max_message = min(max_message or _NO_LIMIT, _NO_LIMIT)
        self._max_frame = min(max_frame or _NO_LIMIT, _NO_LIMIT)
        # Deflate adds a little to what it cannot make smaller; what counts is the size after inflating.
        slack = (self._max_message >> 3) + 64
        self._max_compressed = self._max_message + min(slack, _NO_LIMIT - self._max_message)
        self._max_single = min(self._max_message, self._max_frame)
        self._max_fragments = min(max_fragments or _NO_LIMIT, _NO_LIMIT)
        self.stopped = False
        self.messages = 0
        self.payload_bytes = 0
        self._busy = False
        self._failed = False
        # Raw bytes: those being read and how far; how many an unfinished head needs; those that came meanwhile.
        self._data, self._position = b"", 0
        self._needed = 0
        self._later = bytearray()
        # The frame under way.
        self._opcode = 0
        self._fin = False
        self._remaining = 0
        self._offset = 0
        self._key = b""
        self._control_payload = bytearray()
        # The message under way; opcode 0 when there is none.
        self._message = bytearray()
        self._message_opcode = 0
        self._message_limit = 0
        self._compressed = False
        self._frames = 0
        self._checked = 0

    def receive(self, data: bytes) -> None:
        """Take the next bytes of the connection, and deliver what they complete.

        Raises ``ProtocolError``, ``InvalidPayload`` or ``MessageTooBig`` after everything before the fault was
        delivered; from then on all bytes are ignored.  While stopped, and when called from inside a callback, it only
        keeps the bytes.  An exception of a callback passes through; the frame it was called for is done with, and the
        bytes after that are kept for the next call.
        """
        if self._busy or self.stopped or self._failed:
            self._keep(data)
            return
        if not self._data and not self._later:
            self._data = data
        elif not self._join(data):
            return
        self._run()

    def resume(self) -> None:
        """Go on after a stop; what was kept is delivered from inside this call, and may stop it again.

        Called from inside *deliver* or *control* it takes the stop back, and the call under way goes on.
        """
        self.stopped = False
        if not self._busy and not self._failed:
            self._run()

    def stop(self) -> None:
        """Deliver nothing more until ``resume()``; inside a callback: nothing after the frame it was called for."""
        self.stopped = True

    @property
    def buffered(self) -> int:
        """How many bytes wait here: kept ones, and those of an incomplete frame or message."""
        kept = len(self._data) - self._position + len(self._later)
        return kept + len(self._message) + len(self._control_payload)

    # Raw bytes: kept, joined, read.

    def _keep(self, data: bytes) -> None:
        # 7.1.7: once the connection failed, "An endpoint MUST NOT continue to attempt to process data (including a
        # responding Close frame) from the remote endpoint".
        if not self._failed:
            self._later += data

    def _join(self, data: bytes) -> bool:
        """Put *data* behind what is kept; return whether an unfinished head now has the bytes that it waited for."""
        self._data = self._data[self._position :] + self._later + data
        self._position = 0
        self._later = bytearray()
        if len(self._data) < self._needed:
            return False
        self._needed = 0
        return True

    def _run(self) -> None:
        self._busy = True
        try:
            while (self._read_messages() and self._read_frame()) or (self._later and self._take_later()):
                pass
        finally:
            self._busy = False

    def _take_later(self) -> bool:
        """Go on with what came while we were stopped or inside a callback; return whether to read it now."""
        return not self.stopped and self._join(b"")

    def _read_messages(self) -> bool:
        """Deliver the messages that lie whole in one short frame each; return whether another kind of frame follows.

        This is nearly all that most connections ever do.  Whatever is unusual, or wrong, is left to ``_read_frame``.
        """
        data = self._data
        p = data
        size = len(data)
        i = self._position
        head = self._short_head
        mask_bit = self._mask_bit
        in_between = not self._remaining and not self._message_opcode
        while in_between and size - i >= head:
            is_binary = p[i] == _WHOLE_BINARY
            # A wrong mask bit makes this 128 or more.
            length = p[i + 1] ^ mask_bit
            start = i + head
            if length >= 126:
                if length > 126 or size - i < 4:
                    break
                length = p[i + 2] << 8 | p[i + 3]
                start += 2
                if length < 126:
                    break
            end = start + length
            if end > size or length > self._max_single or not (is_binary or p[i] == _WHOLE_TEXT):
                break
            self._position = i = end
            payload = _payload.unmasked(p, start, end) if mask_bit else data[start:end]
            if not is_binary:
                self._check_text(payload)
            self.messages += 1
            self.payload_bytes += length
            if self._deliver(payload, is_binary) or self.stopped:
                self.stopped = True
                return False
        if i < size:
            return True
        self._data, self._position = b"", 0
        return False

    # One frame of any kind, whole or in part.

    def _read_frame(self) -> bool:
        """Read one frame, or what is here of it; return whether to go on behind it."""
        if not self._remaining:
            if not self._read_head():
                return False
            if self._is_alone():
                return self._finish_frame(self._take_payload())
        self._read_part()
        if self._remaining:
            return False
        if self._opcode & _CONTROL:
            return self._finish_frame(self._take_control_payload())
        if self._fin:
            return self._finish_frame(self._take_message())
        return True

    def _read_head(self) -> bool:
        """Read a head, refusing each byte as soon as it is here; return whether the head was whole."""
        data = self._data
        p = data
        i = self._position
        here = len(data) - i
        self._check_first_byte(p[i])
        if here < 2:
            return self._wait_for(2)
        self._check_second_byte(p[i], p[i + 1])
        length = p[i + 1] & 0x7F
        head = 2 if length < 126 else 4 if length == 126 else 10
        if here < head:
            return self._wait_for(head)
        if head > 2:
            length = 0
            for k in range(i + 2, i + head):
                length = length << 8 | p[k]
        self._check_length(p[i], head, length)
        start = i + head + (4 if self._mask_bit else 0)
        if len(data) < start:
            return self._wait_for(start - i)
        self._key = data[i + head : start]
        self._position = start
        self._begin_frame(p[i], length)
        return True

    def _wait_for(self, needed: int) -> bool:
        """Keep only the beginning of a head, until there are *needed* bytes of it."""
        self._data = self._data[self._position :]
        self._position = 0
        self._needed = needed
        return False

    def _check_first_byte(self, first: int) -> None:
        opcode = first & 0x0F
        # 5.2: RSV bits "MUST be 0 unless an extension is negotiated that defines meanings for non-zero values."
        if first & _RSV2_RSV3:
            raise self._fault(ProtocolError("a frame has RSV2 or RSV3 set"))
        # RFC 7692 6.1: "An endpoint MUST NOT set the "Per-Message Compressed" bit of control frames and non-first
        # fragments of a data message."
        if first & _COMPRESSED and (self._inflate is None or opcode == _CONTINUATION or opcode & _CONTROL):
            raise self._fault(ProtocolError("a frame has RSV1 set"))
        # 5.2: "If an unknown opcode is received, the receiving endpoint MUST _Fail the WebSocket Connection_."
        if opcode > _PONG or _BINARY < opcode < _CONTROL:
            raise self._fault(ProtocolError(f"a frame has the reserved opcode {opcode}"))
        if opcode & _CONTROL:
            # 5.5: control frames "MUST NOT be fragmented."
            if not first & FIN:
                raise self._fault(ProtocolError("a control frame is fragmented"))
        else:
            self._check_place(opcode)

    def _check_place(self, opcode: int) -> None:
        """Check that a data frame may stand where it does (section 5.4)."""
        if opcode == _CONTINUATION:
            if not self._message_opcode:
                raise self._fault(ProtocolError("a continuation frame continues no message"))
            if self._frames >= self._max_fragments:
                raise self._fault(MessageTooBig(f"a message has more than {self._max_fragments} frames"))
        elif self._message_opcode:
            # 5.4: "The fragments of one message MUST NOT be interleaved between the fragments of another message"
            raise self._fault(ProtocolError("a new message begins inside a fragmented one"))

    def _check_second_byte(self, first: int, second: int) -> None:
        # 5.1: "The server MUST close the connection upon receiving a frame that is not masked." and
        # "A client MUST close a connection if it detects a masked frame."
        if second & _MASKED != self._mask_bit:
            raise self._fault(ProtocolError("a frame is not masked" if self._mask_bit else "a frame is masked"))
        # 5.5: "All control frames MUST have a payload length of 125 bytes or less"
        if first & _CONTROL and second & 0x7F > _MAX_CONTROL:
            raise self._fault(ProtocolError(f"a control frame has more than {_MAX_CONTROL} bytes"))

    def _check_length(self, first: int, head: int, length: int) -> None:
        """Check an announced length, as the 64-bit number that it is, before it becomes a size of anything."""
        # 5.2: "the minimal number of bytes MUST be used to encode the length"
        if (head == 4 and length < 126) or (head == 10 and length < 65536):
            raise self._fault(ProtocolError(f"the length {length} is not encoded in the fewest bytes"))
        # 5.2: "(the most significant bit MUST be 0)"
        if length >> 63:
            raise self._fault(ProtocolError("a length has its most significant bit set"))
        if not first & _CONTROL:
            self._check_limits(first, length)

    def _check_limits(self, first: int, length: int) -> None:
        if length > self._max_frame:
            raise self._fault(MessageTooBig(f"a frame has {length} bytes, more than {self._max_frame}"))
        if first & 0x0F != _CONTINUATION:
            self._message_limit = self._max_compressed if first & _COMPRESSED else self._max_message
        # Taken from the limit rather than added to the length, which may be anything below 2**63.
        if length > self._message_limit - len(self._message):
            raise self._fault(MessageTooBig(f"a message has more than {self._max_message} bytes"))

    def _begin_frame(self, first: int, length: int) -> None:
        opcode = first & 0x0F
        self._opcode = opcode
        self._fin = first & FIN != 0
        self._remaining = length
        self._offset = 0
        if opcode & _CONTROL:
            return
        self._frames += 1
        if opcode != _CONTINUATION:
            self._message_opcode = opcode
            self._compressed = first & _COMPRESSED != 0

    def _is_alone(self) -> bool:
        """Return whether the frame is all here and no other belongs to it: its payload then needs no gathering."""
        if len(self._data) - self._position < self._remaining:
            return False
        return self._opcode & _CONTROL != 0 or (self._fin and self._frames == 1)

    def _take_payload(self) -> bytes:
        start = self._position
        end = start + self._remaining
        self._position = end
        self._remaining = 0
        return _payload.unmasked(self._data, start, end) if self._mask_bit else self._data[start:end]

    def _read_part(self) -> None:
        """Gather what is here of the payload; text is checked as it comes."""
        start = self._position
        end = min(start + self._remaining, len(self._data))
        into = self._control_payload if self._opcode & _CONTROL else self._message
        if self._mask_bit:
            _payload.append_unmasked(into, self._data, start, end, self._key, self._offset)
        else:
            _payload.append_plain(into, self._data, start, end)
        self._offset += end - start
        self._remaining -= end - start
        self._position = end
        if self._message_opcode == _TEXT and not self._compressed:
            self._check_more_text()
        if end == len(self._data):
            self._data, self._position = b"", 0

    def _take_control_payload(self) -> bytes:
        payload = bytes(self._control_payload)
        self._control_payload = bytearray()
        return payload

    def _take_message(self) -> bytes:
        payload = bytes(self._message)
        # A new one, so that the memory of a big message does not stay with the connection.
        self._message = bytearray()
        return payload

    def _finish_frame(self, payload: bytes) -> bool:
        """Deliver what the frame completes; return whether to go on behind it."""
        if not self._opcode & _CONTROL:
            return self._finish_message(payload)
        if self._control(self._opcode, payload):
            self.stopped = True
        return not self.stopped

    def _finish_message(self, payload: bytes) -> bool:
        is_text = self._message_opcode == _TEXT
        checked = self._checked
        self._message_opcode = 0
        self._frames = 0
        self._checked = 0
        if self._compressed:
            payload = self._inflated(payload)
        if is_text and checked != len(payload):
            self._check_text(payload)
        self.messages += 1
        self.payload_bytes += len(payload)
        if self._deliver(payload, not is_text):
            self.stopped = True
        return not self.stopped

    def _inflated(self, payload: bytes) -> bytes:
        assert self._inflate is not None
        try:
            inflated = self._inflate(payload)
        except ProtocolError as error:
            self._fault(error)
            raise
        if len(inflated) > self._max_message:
            raise self._fault(MessageTooBig(f"a message has more than {self._max_message} bytes"))
        return inflated

    def _check_text(self, payload: bytes) -> None:
        # 8.1: "When an endpoint is to interpret a byte stream as UTF-8 but finds that the byte stream is not, in fact,
        # a valid UTF-8 stream, that endpoint MUST _Fail the WebSocket Connection_."
        if _payload.utf8_prefix(payload, 0, len(payload)) != len(payload):
            raise self._fault(InvalidPayload(_NOT_UTF8))

    def _check_more_text(self) -> None:
        """Check what was gathered since the last time; the beginning of a character waits for its rest."""
        self._checked = _payload.utf8_prefix(self._message, self._checked, len(self._message))
        if self._checked < 0:
            raise self._fault(InvalidPayload(_NOT_UTF8))

    def _fault(self, error: ProtocolError) -> ProtocolError:
        """Let go of everything and return *error*: the connection has failed, nothing after this is read."""
        self._failed = True
        self._data, self._position = b"", 0
        self._remaining = 0
        self._later = bytearray()
        self._message = bytearray()
        self._control_payload = bytearray()
        return error


class MaskKeys:
    """Unpredictable masking keys (section 10.3); *source(size)* gives random bytes, which are pooled.

    Two threads never get the same key: taking one from the pool is one step of the iterator.  Nor do two processes: a
    child begins with an empty pool.
    """

    __slots__ = ("__weakref__", "_source", "_unused")

    def __init__(self, source: Callable[[int], bytes] = os.urandom) -> None:
        self._source = source
        self._unused = _split(b"")
        _POOLS.add(self)

    def next(self) -> bytes:
        """Return the next four bytes."""
        while True:
            for (key,) in self._unused:
                return key
            self._unused = _split(self._source(_POOL_BYTES))

    def forget(self) -> None:
        """Throw away what is pooled."""
        self._unused = _split(b"")


def _split(pool: bytes) -> Iterator[tuple[bytes]]:
    return Struct("4s").iter_unpack(pool)


_POOLS: WeakSet[MaskKeys] = WeakSet()


def _forget_all() -> None:
    for keys in _POOLS:
        keys.forget()


# After fork() parent and child hold the same pool.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_all)


class Encoder:
    """Payloads to frames: masked with *keys* on a client, plain with None on a server (section 5.1)."""

    __slots__ = ("_keys",)

    def __init__(self, keys: MaskKeys | None) -> None:
        self._keys = keys

    def frame(self, first_byte: int, payload: bytes | bytearray | memoryview) -> bytes:
        """Return one whole frame; *first_byte* is FIN, RSV1 and opcode."""
        contents = payload if type(payload) is bytes else memoryview(payload).tobytes()
        if self._keys is None:
            return _payload.plain_frame(first_byte, contents)
        # 5.3: "The masking key needs to be unpredictable"
        return _payload.masked_frame(first_byte, contents, self._keys.next())


def is_utf8(data: bytes | bytearray | memoryview) -> bool:
    """Return whether *data* is UTF-8 from its first byte to its last."""
    text = data if type(data) is bytes else memoryview(data).tobytes()
    return _payload.utf8_prefix(text, 0, len(text)) == len(text)
