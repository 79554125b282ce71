"""TLS of a client on Twisted: what to verify, and what was wrong (needs ``wsfactory[tls]``)."""

from __future__ import annotations

from ipaddress import ip_address
from pathlib import Path
from typing import Any, cast

from OpenSSL import SSL, crypto
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

__all__ = ["connection_creator", "tls_fault"]

_PEM_END = b"-----END CERTIFICATE-----"


def connection_creator(host: str, tls: object) -> IOpenSSLClientConnectionCreator:
    """Return what checks that *host* is who it says: *tls* is a ``TLS``, or such a creator already.

    Raises ``OptionError`` where *tls* or one of its files is of no use.
    """
    if not isinstance(tls, TLS):
        if IOpenSSLClientConnectionCreator.providedBy(tls):
            return tls
        raise OptionError(f"tls={tls!r} is not allowed: it takes a wsfactory.TLS or an IOpenSSLClientConnectionCreator")
    # The zone of an IPv6 address (fe80::1%eth0) is ours alone.
    name = tls.serverName or host.partition("%")[0]
    own = _own_certificate(tls)
    if not tls.verify:
        return _Unverified(name, own)
    return optionsForClientTLS(name, trustRoot=_trust_root(tls), clientCertificate=own)


def _trust_root(tls: TLS) -> Any:
    if tls.trustRoots is None:
        return None
    blocks = [block + _PEM_END for block in _read("trustRoots", tls.trustRoots).split(_PEM_END)[:-1]]
    if not blocks:
        raise OptionError(f"tls: there is no certificate in trustRoots={tls.trustRoots!r}, which takes a PEM file")
    return trustRootFromCertificates([_loaded(Certificate, tls.trustRoots, block) for block in blocks])


def _own_certificate(tls: TLS) -> PrivateCertificate | None:
    if tls.certificate is None:
        return None
    pem = _read("certificate", tls.certificate) + (b"" if tls.key is None else b"\n" + _read("key", tls.key))
    return cast("PrivateCertificate", _loaded(PrivateCertificate, tls.certificate, pem))


def _read(what: str, path: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise OptionError(f"tls: {what}={path!r} cannot be read: {error.strerror}") from error


def _loaded(kind: type[Certificate], path: str, pem: bytes) -> Certificate:
    try:
        return kind.loadPEM(pem)
    except crypto.Error as error:
        raise OptionError(f"tls: what is in {path!r} is no certificate in PEM format, or not with its key") from error


@implementer(IOpenSSLClientConnectionCreator)
class _Unverified:
    """Encrypts, and believes whoever answers: only where the user said ``verify=False``."""

    def __init__(self, name: str, own: PrivateCertificate | None) -> None:
        self._name = None if _is_address(name) else name.encode("ascii")
        shown = {"privateKey": own.privateKey.original, "certificate": own.original} if own is not None else {}
        self._context = CertificateOptions(verify=False, **shown).getContext()

    def clientConnectionForTLS(self, tlsProtocol: TLSMemoryBIOProtocol) -> SSL.Connection:
        """Return a connection that checks nothing."""
        connection = SSL.Connection(self._context, None)
        # RFC 6066 section 3: "Literal IPv4 and IPv6 addresses are not permitted in "HostName"."
        if self._name is not None:
            connection.set_tlsext_host_name(self._name)
        return connection


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


# What was wrong.


def tls_fault(transport: object, error: BaseException) -> str | None:
    """Return in words why TLS on *transport*, which was lost with *error*, did not come about; None: it did."""
    connection = cast("Any", transport).getHandle()
    if not isinstance(connection, SSL.Connection):
        return None
    if isinstance(error, SSL.Error):
        return _chain_fault(connection) or _openssl_fault(error)
    # Twisted's reasons where the name does not match; service_identity, which finds out, is optional.
    if type(error).__name__.endswith("VerificationError"):
        return f"the certificate is not for {_wanted_name(error)}"
    return None if connection.get_peer_finished() else "the connection was closed during the TLS handshake"


def _chain_fault(connection: SSL.Connection) -> str | None:
    """Return why the peer's certificates are not to be trusted: OpenSSL's error only says that they are not."""
    chain = connection.get_peer_cert_chain()
    store = connection.get_context().get_cert_store()
    if not chain or store is None or connection.get_context().get_verify_mode() == SSL.VERIFY_NONE:
        return None
    try:
        crypto.X509StoreContext(store, chain[0], chain[1:]).verify_certificate()
    except crypto.X509StoreContextError as fault:
        return f"the certificate was not accepted: {fault}"
    return None


def _openssl_fault(error: SSL.Error) -> str:
    """Return what OpenSSL says, as [(library, function, fault), ...]."""
    match error.args:
        case ([(str(), str(), str(fault)), *_],):
            return fault
    return str(error) or type(error).__name__


def _wanted_name(error: BaseException) -> str:
    for mismatch in getattr(error, "errors", ()):
        wanted = mismatch.mismatched_id
        return str(wanted.ip) if hasattr(wanted, "ip") else bytes(wanted.hostname).decode("ascii")
    return "the name that was asked for"
