"""Issue certificates: roots, intermediates and SVIDs, as pure functions of keys, names and times.

What is issued here is what `verify` accepts, and nothing that it would not: an authority that
could issue more than its own side believes would be a riddle for later.

Source: SPIFFE X509-SVID 4; RFC 5280 4.2.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from meshware.errors import IdentityError
from meshware.identity.spiffe import SpiffeID, is_trust_domain
from meshware.identity.svid import X509SVID, PrivateKey

__all__ = [
    "CLOCKS_DIFFER_S",
    "LEAF_LIFE_S",
    "Issuer",
    "issue_intermediate",
    "issue_root",
    "issue_svid",
    "new_key",
]

LEAF_LIFE_S = 3600.0

CLOCKS_DIFFER_S = 60.0
"""A certificate begins so much before it is made: the clocks of two machines are never one."""


@dataclass(frozen=True, slots=True)
class Issuer:
    """An authority that signs: its key, and its chain up to and with the root."""

    trust_domain: str
    chain: tuple[x509.Certificate, ...]
    key: PrivateKey = field(repr=False)

    @property
    def certificate(self) -> x509.Certificate:
        """Of the key."""
        return self.chain[0]

    @property
    def root(self) -> x509.Certificate:
        """Where its chain ends."""
        return self.chain[-1]

    @property
    def until(self) -> datetime:
        """When the first certificate of its chain ends."""
        return min(one.not_valid_after_utc for one in self.chain)

    @property
    def key_pem(self) -> str:
        """The key, in the clear: for a file of mode 0600 and nowhere else."""
        return self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()

    @property
    def cert_pem(self) -> str:
        """Its chain, root last."""
        return "".join(one.public_bytes(Encoding.PEM).decode() for one in self.chain)


def new_key() -> ec.EllipticCurvePrivateKey:
    """Return a new key for an authority or a workload: ECDSA P-256."""
    return ec.generate_private_key(ec.SECP256R1())


def issue_root(
    trust_domain: str, key: PrivateKey, now: datetime, life_s: float, name: str = "root"
) -> Issuer:
    """Return a root, signed by itself.

    Raises:
        IdentityError: the trust domain is no name of one.
    """
    subject = _authority_name(trust_domain, name)
    builder = _builder(subject, subject, key, now, now + timedelta(seconds=life_s))
    builder = _as_authority(builder, trust_domain, path_length=None)
    return Issuer(trust_domain, (builder.sign(key, hashes.SHA256()),), key)


def issue_intermediate(
    root: Issuer, key: PrivateKey, now: datetime, life_s: float, name: str = "intermediate"
) -> Issuer:
    """Return an authority that issues SVIDs and no further authorities.

    Args:
        root: who vouches for it; it never outlives that.
        key: its own.
        now: aware UTC.
        life_s: seconds.
        name: for people, such as a node's.

    Raises:
        IdentityError: the root has ended, or may vouch for no further authority.
    """
    until = _end(now, life_s, root)
    lengths = [_path_length(one) for one in root.chain]
    if any(most is not None and most <= below for below, most in enumerate(lengths)):
        raise IdentityError(
            f"the authority of {root.trust_domain} may vouch for no further authority: its path "
            "length, or one above it, is used up"
        )
    builder = _builder(
        _authority_name(root.trust_domain, name), root.certificate.subject, key, now, until
    )
    builder = _as_authority(builder, root.trust_domain, path_length=0)
    builder = builder.add_extension(_authority_key(root), critical=False)
    signed = builder.sign(root.key, hashes.SHA256())
    return Issuer(root.trust_domain, (signed, *root.chain), key)


def issue_svid(
    issuer: Issuer, spiffe_id: SpiffeID, key: PrivateKey, now: datetime, life_s: float = LEAF_LIFE_S
) -> X509SVID:
    """Return an SVID, without the root in its chain.

    Args:
        issuer: who vouches; the SVID never outlives it.
        spiffe_id: of the issuer's trust domain.
        key: the workload's own.
        now: aware UTC.
        life_s: seconds.

    Raises:
        IdentityError: the ID is another trust domain's, or the issuer has ended.
    """
    if spiffe_id.trust_domain != issuer.trust_domain:
        raise IdentityError(
            f"an authority of {issuer.trust_domain} issues nothing for {spiffe_id.trust_domain}"
        )
    until = _end(now, life_s, issuer)
    usage = _usage(digital_signature=True)
    purposes = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
    builder = (
        # X509-SVID 2: with an empty subject the name is critical (RFC 5280 4.2.1.6).
        _builder(x509.Name([]), issuer.certificate.subject, key, now, until)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.ExtendedKeyUsage(purposes), critical=False)
        .add_extension(
            x509.SubjectAlternativeName([x509.UniformResourceIdentifier(str(spiffe_id))]),
            critical=True,
        )
        .add_extension(_authority_key(issuer), critical=False)
    )
    leaf = builder.sign(issuer.key, hashes.SHA256())
    above = issuer.chain[:-1] if len(issuer.chain) > 1 else ()
    return X509SVID(spiffe_id, (leaf, *above), key)


def _path_length(certificate: x509.Certificate) -> int | None:
    try:
        found = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value
    except x509.ExtensionNotFound:
        return None
    return found.path_length


def _end(now: datetime, life_s: float, issuer: Issuer) -> datetime:
    if issuer.until <= now:
        raise IdentityError(
            f"the authority of {issuer.trust_domain} ended at {issuer.until:%FT%TZ}"
        )
    return min(now + timedelta(seconds=life_s), issuer.until)


def _builder(
    subject: x509.Name, issuer: x509.Name, key: PrivateKey, now: datetime, until: datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(seconds=CLOCKS_DIFFER_S))
        .not_valid_after(until)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _as_authority(
    builder: x509.CertificateBuilder, trust_domain: str, path_length: int | None
) -> x509.CertificateBuilder:
    return (
        builder.add_extension(
            x509.BasicConstraints(ca=True, path_length=path_length), critical=True
        )
        .add_extension(_usage(key_cert_sign=True, crl_sign=True), critical=True)
        # X509-SVID 2: an authority's certificate may bear the trust domain's own ID.
        .add_extension(
            x509.SubjectAlternativeName(
                [x509.UniformResourceIdentifier(f"spiffe://{trust_domain}")]
            ),
            critical=False,
        )
    )


def _authority_name(trust_domain: str, name: str) -> x509.Name:
    if not is_trust_domain(trust_domain):
        raise IdentityError("an authority needs a trust domain: a-z, 0-9, '.', '-' and '_'")
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, trust_domain[:64]),
            x509.NameAttribute(NameOID.COMMON_NAME, name[:64]),
        ]
    )


def _authority_key(issuer: Issuer) -> x509.AuthorityKeyIdentifier:
    try:
        found = issuer.certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier)
    except x509.ExtensionNotFound:
        return x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.key.public_key())
    return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(found.value)


def _usage(
    *, digital_signature: bool = False, key_cert_sign: bool = False, crl_sign: bool = False
) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=digital_signature,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=key_cert_sign,
        crl_sign=crl_sign,
        encipher_only=False,
        decipher_only=False,
    )
