"""What the kernel can do and tells of a socket beyond the portable interface; nothing where it does not."""

from __future__ import annotations

import socket
import struct
import sys
from contextlib import suppress

if sys.platform != "win32":
    import fcntl
    import termios

__all__ = ["kernel_unsent", "reset_on_close", "set_tcp_options"]

_TCP = (socket.AF_INET, socket.AF_INET6)
_MAX_INT = 2**31 - 1
_LINGER = "hh" if sys.platform == "win32" else "ii"


def set_tcp_options(handle: socket.socket | None, no_delay: bool, not_sent_bytes: int) -> None:
    """Set TCP_NODELAY, and TCP_NOTSENT_LOWAT (0: leave it): the kernel asks for more once it holds less than that.

    Nothing happens to what is no TCP socket.
    """
    if handle is None or handle.family not in _TCP:
        return
    with suppress(OSError):  # macOS: of a connection that is gone already
        handle.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, no_delay)
        if not_sent_bytes and hasattr(socket, "TCP_NOTSENT_LOWAT"):
            handle.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, min(not_sent_bytes, _MAX_INT))


def kernel_unsent(handle: socket.socket | None) -> int:
    """Return how many bytes the peer has not acknowledged (Linux: SIOCOUTQ, the same number as TIOCOUTQ); else 0."""
    if handle is None or sys.platform == "win32" or handle.fileno() < 0:
        return 0
    try:
        return int(struct.unpack("i", fcntl.ioctl(handle, termios.TIOCOUTQ, bytes(4)))[0])
    except OSError:
        return 0


def reset_on_close(handle: socket.socket | None) -> None:
    """Let closing send RST and forget what is unsent, instead of keeping it in the kernel for a stalled peer."""
    if handle is not None and handle.fileno() >= 0:
        with suppress(OSError):
            handle.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack(_LINGER, 1, 0))
