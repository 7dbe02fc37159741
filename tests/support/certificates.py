"""Certificates for tests: an authority, and what it issues and revokes, as PEM."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

_DAY = datetime.timedelta(days=1)


@dataclass(frozen=True)
class Issued:
    """A certificate and its key."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @property
    def cert_pem(self) -> bytes:
        """The certificate."""
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    @property
    def key_pem(self) -> bytes:
        """The key, not encrypted."""
        return self._key_pem(serialization.NoEncryption())

    def encrypted_key_pem(self, password: bytes) -> bytes:
        """The key, encrypted."""
        return self._key_pem(serialization.BestAvailableEncryption(password))

    def _key_pem(self, encryption) -> bytes:
        return self.key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption
        )

    def write(self, directory: Path, name: str) -> tuple[Path, Path]:
        """Write `<name>.crt` and `<name>.key`, and return them."""
        paths = directory / f"{name}.crt", directory / f"{name}.key"
        paths[0].write_bytes(self.cert_pem)
        paths[1].write_bytes(self.key_pem)
        return paths


class Authority:
    """An authority of its own, trusted by nobody yet."""

    def __init__(self, name: str = "an authority") -> None:
        self.own = _issue(name, None, ca=True)
        self.cert_pem = self.own.cert_pem

    def issue(self, *names: str, days: int = 30) -> Issued:
        """Issue a certificate with DNS, URI and IP names; with `days` below 0 an expired one."""
        return _issue("a leaf", self.own, names=names, days=days)

    def revoke(self, *issued: Issued) -> bytes:
        """Return a list, as PEM, that revokes certificates."""
        now = datetime.datetime.now(datetime.UTC)
        builder = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(self.own.certificate.subject)
            .last_update(now - _DAY)
            .next_update(now + 30 * _DAY)
        )
        for each in issued:
            builder = builder.add_revoked_certificate(
                x509.RevokedCertificateBuilder()
                .serial_number(each.certificate.serial_number)
                .revocation_date(now - _DAY)
                .build()
            )
        signed = builder.sign(self.own.key, hashes.SHA256())
        return signed.public_bytes(serialization.Encoding.PEM)


def _issue(
    common_name: str,
    issuer: Issued | None,
    *,
    names: Sequence[str] = (),
    days: int = 30,
    ca: bool = False,
) -> Issued:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
    now = datetime.datetime.now(datetime.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.certificate.subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - 60 * _DAY)
        .not_valid_after(now + days * _DAY)
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )
    if names:
        builder = builder.add_extension(
            x509.SubjectAlternativeName([_name(name) for name in names]), critical=False
        )
    signed = builder.sign(issuer.key if issuer else key, hashes.SHA256())
    return Issued(signed, key)


def _name(text: str) -> x509.GeneralName:
    if "://" in text:
        return x509.UniformResourceIdentifier(text)
    try:
        return x509.IPAddress(ip_address(text))
    except ValueError:
        return x509.DNSName(text)
