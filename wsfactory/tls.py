"""What a client asks of TLS, in words that both flavours understand.

Certificates and host names are verified; only ``TLS(verify=False)`` turns that off.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from wsfactory.errors import OptionError

__all__ = ["TLS", "check_tls"]


@dataclass(frozen=True, slots=True)
class TLS:
    """How a client checks its server, and shows itself.

    ``trustRoots`` is the path of a PEM file with the certificates to trust (None: the system's), ``certificate`` and
    ``key`` the paths of PEM files with which the client shows itself (None: it does not), ``serverName`` the name to
    expect instead of the URL's host.  ``verify=False`` accepts any certificate: for tests only.
    """

    trustRoots: str | None = None
    certificate: str | None = None
    key: str | None = None
    serverName: str | None = None
    verify: bool = True


def check_tls(tls: object, is_native: Callable[[object], object], native: str) -> None:
    """Raise ``OptionError`` unless *tls* is None, a ``TLS``, or what the framework itself has, by the name *native*."""
    if not (tls is None or isinstance(tls, TLS) or is_native(tls)):
        raise OptionError(f"tls={tls!r} is not allowed: tls takes a wsfactory.TLS or {native}")
