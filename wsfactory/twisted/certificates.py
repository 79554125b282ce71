"""TLS of a client on Twisted: what to verify, as an OpenSSL connection creator (needs ``wsfactory[tls]``)."""

from __future__ import annotations

from OpenSSL import SSL
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator
from twisted.internet.ssl import (
    Certificate,
    CertificateOptions,
    PrivateCertificate,
    optionsForClientTLS,
    trustRootFromCertificates,
)
from twisted.protocols.tls import TLSMemoryBIOProtocol
from zope.interface import implementer

from wsfactory.errors import OptionError
from wsfactory.tls import TLS

__all__ = ["connection_creator"]

_PEM_END = b"-----END CERTIFICATE-----"


def connection_creator(host: str, tls: object) -> IOpenSSLClientConnectionCreator:
    """Return what checks that *host* is who it says: *tls* is a ``TLS``, or such a creator already."""
    if not isinstance(tls, TLS):
        if IOpenSSLClientConnectionCreator.providedBy(tls):
            return tls
        raise OptionError(f"tls={tls!r} is not allowed: tls takes a wsfactory.TLS or an IOpenSSLClientConnectionCreator")
    name = tls.serverName or host
    if not tls.verify:
        return _Unverified(name)
    return optionsForClientTLS(name, trustRoot=_trust_root(tls), clientCertificate=_own_certificate(tls))


def _trust_root(tls: TLS) -> object:
    if tls.trustRoots is None:
        return None
    with open(tls.trustRoots, "rb") as file:
        blocks = [block + _PEM_END for block in file.read().split(_PEM_END)[:-1]]
    return trustRootFromCertificates([Certificate.loadPEM(block) for block in blocks])


def _own_certificate(tls: TLS) -> PrivateCertificate | None:
    if tls.certificate is None:
        return None
    pem = b""
    for path in (tls.key, tls.certificate):
        if path is not None:
            with open(path, "rb") as file:
                pem += file.read()
    return PrivateCertificate.loadPEM(pem)


@implementer(IOpenSSLClientConnectionCreator)
class _Unverified:
    """Encrypts, and believes whoever answers: only where the user said ``verify=False``."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._context = CertificateOptions(verify=False).getContext()

    def clientConnectionForTLS(self, tlsProtocol: TLSMemoryBIOProtocol) -> SSL.Connection:
        """Return a connection that checks nothing."""
        connection = SSL.Connection(self._context, None)
        connection.set_tlsext_host_name(self._name.encode("ascii"))
        return connection
