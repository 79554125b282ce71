"""What a client asks of TLS, in words that both flavours understand.

Certificates and host names are verified; only ``TLS(verify=False)`` turns that off.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["TLS"]


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
