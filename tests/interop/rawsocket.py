"""A peer without an implementation: bytes on a blocking socket, for what no library would send.

A conversation is an ordinary function that runs in a thread (``in_thread``) while the reactor runs our side.  The few
lines of framing here are written anew on purpose: what we test must not be what we test with.
"""

from __future__ import annotations

import base64
import hashlib
import socket
import ssl
import struct
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import ParamSpec, Self, TypeVar
from urllib.parse import urlsplit

from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread

__all__ = ["RawPeer", "RawServer", "close_frame", "frame", "frames", "in_thread", "upgrade_request"]

# A safety net: every wait on a socket ends.
SAFETY_NET_SECONDS = 15.0
# Who does not take anything for so long is stuck; a machine that is as busy makes a test easier to pass, not harder.
STUCK_SECONDS = 0.3
FIN = 0x80
TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10
MASK = b"\x25\x8a\xf1\x03"
# How a connection ends that is not ended in order: RST, or no close_notify.
CUT_OFF = (ConnectionResetError, ssl.SSLEOFError)
KEY = "dGhlIHNhbXBsZSBub25jZQ=="
ACCEPT = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="  # RFC 6455 section 1.3: the answer to KEY

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


def in_thread(
    conversation: Callable[Arguments, Result], *args: Arguments.args, **kwargs: Arguments.kwargs
) -> Deferred[Result]:
    """Run *conversation* in a thread; fires with what it returns."""
    return deferToThread(conversation, *args, **kwargs)


class RawPeer:
    """One TCP connection."""

    def __init__(self, connection: socket.socket) -> None:
        connection.settimeout(SAFETY_NET_SECONDS)
        self._socket = connection
        self._rest = b""
        self._unsent = b""

    @classmethod
    def connect(cls, url: str, receive_buffer: int | None = None) -> Self:
        """Connect to where *url* leads; nothing is said yet."""
        connection = socket.socket()
        if receive_buffer is not None:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        parts = urlsplit(url)
        connection.settimeout(SAFETY_NET_SECONDS)
        connection.connect((parts.hostname, parts.port))
        return cls(_encrypted(connection) if parts.scheme == "wss" else connection)

    @classmethod
    def open(cls, url: str, receive_buffer: int | None = None) -> Self:
        """Return a WebSocket connection to *url*."""
        peer = cls.connect(url, receive_buffer)
        peer.send(upgrade_request(url))
        head = peer.read_head()
        assert head.startswith(b"HTTP/1.1 101 "), head
        return peer

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._socket.close()

    def send(self, data: bytes) -> None:
        """Send all of *data*."""
        unsent, self._unsent = self._unsent, b""
        self._socket.sendall(unsent + data)

    def send_until_stuck(self, data: bytes, most: int) -> int:
        """Send *data* again and again, until it is not taken any more or *most* times; return how often it was begun.

        What is left of the last one leaves with the next ``send``.
        """
        self._socket.settimeout(STUCK_SECONDS)
        count = 0
        while count < most and not self._unsent:
            count += 1
            self._unsent = self._send_part(data)
        self._socket.settimeout(SAFETY_NET_SECONDS)
        return count

    def _send_part(self, data: bytes) -> bytes:
        rest = memoryview(data)
        with suppress(TimeoutError):
            while rest:
                rest = rest[self._socket.send(rest) :]
        return bytes(rest)

    def read_head(self) -> bytes:
        """Return one HTTP head; what follows it is kept."""
        return self._read_until(lambda data: data.find(b"\r\n\r\n") + 4 if b"\r\n\r\n" in data else 0)

    def read_frame(self) -> tuple[int, bytes]:
        """Return one frame as (first byte, payload)."""
        raw = self._read_until(_frame_length)
        return frames(raw)[0]

    def _read_until(self, length: Callable[[bytes], int]) -> bytes:
        while not (end := length(self._rest)):
            data = self._socket.recv(65536)
            assert data, f"the connection ended behind {self._rest[:200]!r}"
            self._rest += data
        taken, self._rest = self._rest[:end], self._rest[end:]
        return taken

    def read_some(self, size: int) -> bytes:
        """Return about *size* bytes; none: the connection has ended."""
        taken, self._rest = self._rest, b""
        return taken or self._socket.recv(size)

    def read_to_the_end(self) -> bytes:
        """Return everything up to the orderly end (of TLS, too) of the connection; raises one of CUT_OFF at another."""
        received = bytearray()
        while data := self.read_some(65536):
            received += data
        return bytes(received)

    def read_until_gone(self) -> bytes:
        """Return everything up to the end of the connection, orderly or not."""
        received = bytearray()
        with suppress(*CUT_OFF):
            while data := self.read_some(65536):
                received += data
        return bytes(received)

    def shut_down_sending(self) -> None:
        """Send FIN; go on reading."""
        self._socket.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        """End the connection with RST."""
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._socket.close()


class RawServer:
    """A listening socket at ``url``."""

    def __init__(self, receive_buffer: int | None = None) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0))
        if receive_buffer is not None:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self._socket.settimeout(SAFETY_NET_SECONDS)
        self.url = f"ws://127.0.0.1:{self._socket.getsockname()[1]}/"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._socket.close()

    def accept(self) -> RawPeer:
        """Return the next TCP connection."""
        return RawPeer(self._socket.accept()[0])

    def open(self, behind: bytes = b"") -> RawPeer:
        """Return the next WebSocket connection; *behind* leaves in one packet with the answer."""
        peer = self.accept()
        lines = peer.read_head().decode().split("\r\n")
        (key,) = [line.partition(":")[2].strip() for line in lines if line.lower().startswith("sec-websocket-key:")]
        peer.send(
            f"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Accept: {_accept(key)}\r\n\r\n".encode()
            + behind
        )
        return peer


def _encrypted(connection: socket.socket) -> ssl.SSLSocket:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    # What is verified, and by whom, is not the matter of raw conversations.
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context.wrap_socket(connection, suppress_ragged_eofs=False)


def _accept(key: str) -> str:
    return base64.b64encode(hashlib.sha1(f"{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11".encode()).digest()).decode()


def upgrade_request(url: str, *lines: str, connection: str = "Upgrade", version: str = "13") -> bytes:
    """Return a request to upgrade, with more header *lines*."""
    parts = urlsplit(url)
    head = [
        f"GET {parts.path or '/'} HTTP/1.1",
        f"Host: {parts.netloc}",
        "Upgrade: websocket",
        f"Connection: {connection}",
        f"Sec-WebSocket-Key: {KEY}",
        f"Sec-WebSocket-Version: {version}",
        *lines,
    ]
    return "\r\n".join([*head, "", ""]).encode("latin-1")


def frame(first_byte: int, payload: bytes = b"", *, masked: bool = True) -> bytes:
    """Return one frame; a client's is masked."""
    length = len(payload)
    mask_bit = 0x80 if masked else 0
    if length < 126:
        head = bytes([first_byte, mask_bit | length])
    elif length < 0x10000:
        head = struct.pack("!BBH", first_byte, mask_bit | 126, length)
    else:
        head = struct.pack("!BBQ", first_byte, mask_bit | 127, length)
    return head + MASK + _masked(payload, MASK) if masked else head + payload


def close_frame(code: int, *, masked: bool = True) -> bytes:
    """Return a Close frame."""
    return frame(FIN | CLOSE, struct.pack("!H", code), masked=masked)


def frames(data: bytes) -> list[tuple[int, bytes]]:
    """Return the frames that *data* is, unmasked, as (first byte, payload)."""
    found = []
    while data:
        end = _frame_length(data)
        assert end, f"an incomplete frame: {data[:20]!r}"
        head = _head_length(data)
        payload = data[head:end]
        found.append((data[0], _masked(payload, data[head - 4 : head]) if data[1] & 0x80 else payload))
        data = data[end:]
    return found


def _head_length(data: bytes) -> int:
    short = data[1] & 0x7F
    return 2 + (2 if short == 126 else 8 if short == 127 else 0) + (4 if data[1] & 0x80 else 0)


def _frame_length(data: bytes) -> int:
    """Return where the first frame ends, 0 if that is not here yet."""
    if len(data) < 2 or len(data) < _head_length(data):
        return 0
    short = data[1] & 0x7F
    length = short if short < 126 else int.from_bytes(data[2 : 4 if short == 126 else 10], "big")
    end = _head_length(data) + length
    return end if len(data) >= end else 0


def _masked(payload: bytes, key: bytes) -> bytes:
    stream = (key * (len(payload) // 4 + 1))[: len(payload)]
    return (int.from_bytes(payload, "big") ^ int.from_bytes(stream, "big")).to_bytes(len(payload), "big")
