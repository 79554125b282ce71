"""Certificates made for a test run: an authority, and what it signs, in time or expired."""

from __future__ import annotations

import datetime
import ssl
from dataclasses import dataclass
from ipaddress import ip_address
from itertools import count
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from twisted.internet.ssl import Certificate as TwistedCertificate
from twisted.internet.ssl import CertificateOptions, PrivateCertificate

_ONE_DAY = datetime.timedelta(days=1)
# Python 3.13 verifies strictly (RFC 5280): an authority must say that it may sign, and each whose key is meant.
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


@dataclass(frozen=True)
class Certificate:
    """A certificate and its key, as PEM files."""

    path: Path
    key_path: Path

    def for_twisted(self) -> Any:
        """Return what a Twisted server shows."""
        return self._private().options()

    def asking_for(self, authority: Authority) -> Any:
        """Return the same for a server that wants a certificate of *authority*'s from its clients."""
        return self._private().options(TwistedCertificate.loadPEM(authority.path.read_bytes()))

    def with_sni(self, names: list[bytes | None]) -> Any:
        """Return the same for a server that notes the names that clients ask for."""
        private = self._private()
        options = CertificateOptions(privateKey=private.privateKey.original, certificate=private.original)
        options.getContext().set_tlsext_servername_callback(lambda asking: names.append(asking.get_servername()))
        return options

    def for_asyncio(self) -> ssl.SSLContext:
        """Return what an asyncio server shows."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*self.files())
        return context

    def files(self) -> list[str]:
        """Return the two files' names."""
        return [str(self.path), str(self.key_path)]

    def _private(self) -> Any:
        return PrivateCertificate.loadPEM(self.key_path.read_bytes() + self.path.read_bytes())


class Authority:
    """Signs certificates; ``path`` is what to trust."""

    def __init__(self, directory: Path, name: str = "wsfactory test authority") -> None:
        self._directory = directory
        self._serial = count()
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _name(name)
        builder = _builder(self._name, self._name, self._key.public_key(), is_authority=True)
        self.path = directory / f"{name}.pem"
        self.path.write_bytes(_pem(builder.add_extension(_MAY_SIGN, critical=True).sign(self._key, hashes.SHA256())))

    def issue(self, *hosts: str, expired: bool = False) -> Certificate:
        """Return a certificate for *hosts*, names or addresses."""
        key = ec.generate_private_key(ec.SECP256R1())
        builder = _builder(_name(hosts[0]), self._name, key.public_key(), is_authority=False, expired=expired)
        names = x509.SubjectAlternativeName([_alternative_name(host) for host in hosts])
        signer = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        builder = builder.add_extension(names, critical=False).add_extension(signer, critical=False)
        stem = str(self._directory / f"{self._name.rfc4514_string()}-{next(self._serial)}")
        made = Certificate(Path(f"{stem}.pem"), Path(f"{stem}.key"))
        made.path.write_bytes(_pem(builder.sign(self._key, hashes.SHA256())))
        made.key_path.write_bytes(_key_pem(key))
        return made


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _alternative_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePublicKey,
    *,
    is_authority: bool,
    expired: bool = False,
) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    end = now - _ONE_DAY if expired else now + _ONE_DAY
    builder = x509.CertificateBuilder(issuer, subject, key, x509.random_serial_number(), now - 2 * _ONE_DAY, end)
    builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    return builder.add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    unencrypted = serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, unencrypted)
