"""Endpoints of the peers that run on Twisted."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from twisted.internet.endpoints import HostnameEndpoint, SSL4ServerEndpoint, TCP4ServerEndpoint, wrapClientTLS
from twisted.internet.interfaces import IStreamClientEndpoint

__all__ = ["client_endpoint", "server_endpoint", "trust_root"]


def server_endpoint(reactor: Any, certificate: list[str] | None) -> Any:
    """Return where to listen; *certificate* is its file and its key's."""
    if certificate is None:
        return TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1")
    from twisted.internet.ssl import PrivateCertificate

    shown, key = (Path(path).read_bytes() for path in certificate)
    options = PrivateCertificate.loadPEM(key + shown).options()
    return SSL4ServerEndpoint(reactor, 0, options, interface="127.0.0.1")


def client_endpoint(reactor: Any, url: str, trust: str | None) -> IStreamClientEndpoint:
    """Return where *url* leads; *trust* is the file of the authority's certificate."""
    parts = urlsplit(url)
    assert parts.hostname is not None
    assert parts.port is not None
    endpoint = HostnameEndpoint(reactor, parts.hostname, parts.port)
    if parts.scheme != "wss":
        return endpoint
    from twisted.internet.ssl import optionsForClientTLS

    return wrapClientTLS(optionsForClientTLS(parts.hostname, trustRoot=trust_root(trust)), endpoint)


def trust_root(trust: str | None) -> Any:
    """Return what to trust: one authority, or the system's."""
    from twisted.internet.ssl import Certificate, trustRootFromCertificates

    return trustRootFromCertificates([Certificate.loadPEM(Path(trust).read_bytes())]) if trust else None
