"""What the kernel tells of a socket beyond the portable interface; nothing where it does not."""

from __future__ import annotations

import socket
import struct

try:
    import fcntl
    import termios
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

__all__ = ["kernel_unsent"]


def kernel_unsent(handle: socket.socket | None) -> int:
    """Return how many bytes the peer has not acknowledged (Linux: SIOCOUTQ, the same number as TIOCOUTQ); else 0."""
    if handle is None or fcntl is None or not hasattr(termios, "TIOCOUTQ"):
        return 0
    try:
        return int(struct.unpack("i", fcntl.ioctl(handle.fileno(), termios.TIOCOUTQ, bytes(4)))[0])
    except OSError:
        return 0
