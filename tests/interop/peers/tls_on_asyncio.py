"""TLS of the peers that run on asyncio."""

from __future__ import annotations

import ssl

__all__ = ["server_context"]


def server_context(certificate: list[str] | None) -> ssl.SSLContext | None:
    """Return the TLS of a server that shows *certificate* (its file and its key's)."""
    if certificate is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    return context
