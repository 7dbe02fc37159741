"""Chains that a peer may show: a table of hostile ones, each refused for a reason, and good ones.

Used by the tests of `verify_chain` and, over real sockets, by those of handshakes.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID as Eku
from cryptography.x509.oid import NameOID, ObjectIdentifier

from meshware.identity.bundle import Bundle, Bundles, fingerprint

DOMAIN = "cluster.local"
ID = "spiffe://cluster.local/ns/default/sa/caller"
NOW = datetime.now(UTC).replace(microsecond=0)
BOTH = (Eku.CLIENT_AUTH, Eku.SERVER_AUTH)
HOUR = timedelta(hours=1)
NOT_CA = x509.BasicConstraints(ca=False, path_length=None)


@dataclass(frozen=True)
class Signed:
    """A certificate with its key."""

    certificate: x509.Certificate
    key: Any = field(repr=False)


@dataclass(frozen=True)
class Case:
    """A chain, whom the other end believes, and why it is refused; `reason` None: it is not."""

    id: str
    reason: str | None
    shown: tuple[x509.Certificate, ...]
    key: Any = field(repr=False)
    bundles: Bundles
    roles: tuple[str, ...] = ("client", "server")


def usage(*names: str) -> x509.KeyUsage:
    """Return a KeyUsage with these bits."""
    every = (
        "digital_signature",
        "content_commitment",
        "key_encipherment",
        "data_encipherment",
        "key_agreement",
        "key_cert_sign",
        "crl_sign",
        "encipher_only",
        "decipher_only",
    )
    return x509.KeyUsage(**{name: name in names for name in every})


LEAF_USAGE = usage("digital_signature")
CA_USAGE = usage("key_cert_sign", "crl_sign")


@functools.cache
def rsa_key(bits: int = 2048, nth: int = 0) -> rsa.RSAPrivateKey:
    """Return an RSA key, made once: they cost."""
    del nth
    return rsa.generate_private_key(65537, bits)


def uri(text: str) -> x509.UniformResourceIdentifier:
    """Return a URI, however wrong it is."""
    return x509.UniformResourceIdentifier._init_without_validation(text)


def sign(
    issuer: Signed | None,
    *,
    names: Sequence[x509.GeneralName] | None = (x509.UniformResourceIdentifier(ID),),
    subject: str = "",
    key: Any = None,
    begins: timedelta = -HOUR,
    ends: timedelta = HOUR,
    basic: x509.BasicConstraints | None = NOT_CA,
    usage: x509.KeyUsage | None = LEAF_USAGE,
    purposes: Sequence[ObjectIdentifier] | None = BOTH,
    extra: Sequence[tuple[x509.ExtensionType, bool]] = (),
    issuer_name: str | None = None,
    has_ids: bool = True,
) -> Signed:
    """Return a certificate with exactly what is asked for, however wrong that is."""
    key = key or ec.generate_private_key(ec.SECP256R1())
    subject_name = _name(subject)
    above = issuer.certificate.subject if issuer else subject_name
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject_name)
        .issuer_name(above if issuer_name is None else _name(issuer_name))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOW + begins)
        .not_valid_after(NOW + ends)
    )
    extensions: list[tuple[x509.ExtensionType, bool]] = []
    if basic is not None:
        extensions.append((basic, True))
    if usage is not None:
        extensions.append((usage, True))
    if purposes is not None:
        extensions.append((x509.ExtendedKeyUsage(purposes), False))
    if names is not None:
        extensions.append((x509.SubjectAlternativeName(names), not subject))
    if has_ids:
        extensions.append((x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False))
        if issuer is not None:
            above_id = x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.key.public_key())
            extensions.append((above_id, False))
    extensions += extra
    # Past the builder's own check that no extension stands twice.
    builder._extensions = [x509.Extension(one.oid, crit, one) for one, crit in extensions]
    signer = issuer.key if issuer else key
    is_edwards = isinstance(signer, ed25519.Ed25519PrivateKey)
    return Signed(builder.sign(signer, None if is_edwards else hashes.SHA256()), key)


def authority(
    issuer: Signed | None = None, subject: str = "root", *, path: int | None = None, **rest: Any
) -> Signed:
    """Return an authority; without an issuer it is a root."""
    rest = {
        "names": None,
        "basic": x509.BasicConstraints(ca=True, path_length=path),
        "usage": CA_USAGE,
        "purposes": None,
        "ends": 240 * HOUR,
        "begins": -240 * HOUR,
    } | rest
    return sign(issuer, subject=subject, **rest)


def with_old_digest(signed: Signed, issuer: Signed, digest: hashes.HashAlgorithm) -> Signed:
    """Sign a certificate of an RSA authority anew with MD5 or SHA-1, which builders refuse."""
    sha256_rsa = bytes.fromhex("2a864886f70d01010b")
    last = {"md5": 4, "sha1": 5}[digest.name]
    tbs = signed.certificate.tbs_certificate_bytes
    old = sha256_rsa[:-1] + bytes([last])
    der = signed.certificate.public_bytes(Encoding.DER).replace(sha256_rsa, old)
    signature = issuer.key.sign(tbs.replace(sha256_rsa, old), padding.PKCS1v15(), digest)
    der = der[: -len(signature)] + signature
    return Signed(x509.load_der_x509_certificate(der), signed.key)


def with_bad_signature(signed: Signed) -> Signed:
    """Turn over bits in the middle of a signature's first number."""
    der = bytearray(signed.certificate.public_bytes(Encoding.DER))
    der[len(der) - len(signed.certificate.signature) + 10] ^= 0x55
    return Signed(x509.load_der_x509_certificate(bytes(der)), signed.key)


def believing(
    *roots: Signed,
    domain: str = DOMAIN,
    intermediates: Sequence[Signed] = (),
    others: Sequence[Bundle] = (),
    denied: Sequence[Signed] = (),
) -> Bundles:
    """Return bundles with these roots of our domain."""
    own = Bundle(
        domain,
        tuple(one.certificate for one in roots),
        tuple(one.certificate for one in intermediates),
    )
    return Bundles([own, *others], [fingerprint(one.certificate) for one in denied])


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)] if text else [])


Made = tuple[Sequence[Signed], Bundles]
_MAKERS: dict[str, tuple[str | None, Callable[[], Made], tuple[str, ...]]] = {}


def add(name: str, reason: str | None, make: Callable[[], Made], *roles: str) -> None:
    """Put a case into the table; it is made when it is asked for."""
    assert name not in _MAKERS, name
    _MAKERS[name] = (reason, make, roles or ("client", "server"))


@functools.cache
def case(name: str) -> Case:
    """Return a case, made once."""
    import hostile_table  # noqa: F401 - fills the table

    reason, make, roles = _MAKERS[name]
    shown, bundles = make()
    certificates = tuple(one.certificate for one in shown)
    return Case(name, reason, certificates, shown[0].key if shown else None, bundles, roles)


def names(*, good: bool, role: str | None = None) -> list[str]:
    """Return the ids of good or hostile cases: of all, or of those for a "client" or "server"."""
    import hostile_table  # noqa: F401 - fills the table

    return [
        name
        for name, (reason, _, roles) in _MAKERS.items()
        if (reason is None) == good and role in (None, *roles)
    ]


@functools.cache
def root() -> Signed:
    """Return the root that is believed."""
    return authority()


@functools.cache
def partner() -> Signed:
    """Return a root that is believed about another trust domain."""
    return authority(subject="partner root")


def ours(**rest: Any) -> Bundles:
    """Return bundles of our root, and of a partner's for the partner."""
    other = Bundle("partner.example", (partner().certificate,))
    return believing(root(), others=[other], **rest)
