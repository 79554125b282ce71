"""Certificates made for a test run: an authority, and what it signs."""

from __future__ import annotations

import datetime
import ssl
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

__all__ = ["Authority", "Certificate"]

_MAY_SIGN = x509.KeyUsage(
    digital_signature=True,
    key_cert_sign=True,
    crl_sign=True,
    content_commitment=False,
    key_encipherment=False,
    data_encipherment=False,
    key_agreement=False,
    encipher_only=False,
    decipher_only=False,
)
_ONE_DAY = datetime.timedelta(days=1)


@dataclass(frozen=True)
class Certificate:
    """A certificate and its key, as PEM files."""

    path: Path
    key_path: Path

    def for_twisted(self) -> Any:
        """Return what a Twisted server shows."""
        from twisted.internet.ssl import PrivateCertificate

        return PrivateCertificate.loadPEM(self.key_path.read_bytes() + self.path.read_bytes()).options()

    def for_asyncio(self) -> Any:
        """Return what an asyncio server shows."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*self.files())
        return context

    def files(self) -> list[str]:
        """Return the two files' names."""
        return [str(self.path), str(self.key_path)]


class Authority:
    """Signs certificates; ``path`` is what to trust."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _name("wsfactory test authority")
        builder = _builder(self._name, self._name, self._key.public_key(), is_authority=True)
        # Python 3.13 verifies strictly (RFC 5280): an authority must say that it may sign, and each whose key is meant.
        builder = builder.add_extension(_MAY_SIGN, critical=True)
        self.path = directory / "authority.pem"
        self.path.write_bytes(_pem(builder.sign(self._key, hashes.SHA256())))

    def issue(self, host: str) -> Certificate:
        """Return a certificate for *host*, a name or an address."""
        key = ec.generate_private_key(ec.SECP256R1())
        builder = _builder(_name(host), self._name, key.public_key(), is_authority=False)
        builder = builder.add_extension(x509.SubjectAlternativeName([_alternative_name(host)]), critical=False)
        builder = builder.add_extension(self._own_identifier(), critical=False)
        made = Certificate(self._directory / f"{host}.pem", self._directory / f"{host}.key")
        made.path.write_bytes(_pem(builder.sign(self._key, hashes.SHA256())))
        made.key_path.write_bytes(_key_pem(key))
        return made

    def _own_identifier(self) -> x509.AuthorityKeyIdentifier:
        return x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _alternative_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, *, is_authority: bool
) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    builder = x509.CertificateBuilder(issuer, subject, key, x509.random_serial_number(), now - _ONE_DAY, now + _ONE_DAY)
    builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    return builder.add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    unencrypted = serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, unencrypted)
