"""X.509 SVIDs: a workload's key with the chain that says who it is, read and checked as a pair.

Source: SPIFFE X509-SVID.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from meshware.errors import IdentityError
from meshware.identity.bundle import read_certificates
from meshware.identity.spiffe import SpiffeID
from meshware.identity.verify import id_of

__all__ = ["PrivateKey", "X509SVID", "read_key"]

PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


@dataclass(frozen=True, slots=True)
class X509SVID:
    """A workload's own key and chain.

    Attributes:
        id: who it says we are.
        chain: the leaf first, then intermediates, without the root.
        key: the leaf's. Never in a repr.
        digest: changes with every renewal.
    """

    id: SpiffeID
    chain: tuple[x509.Certificate, ...] = field(repr=False)
    key: PrivateKey = field(repr=False, compare=False)  # told by its certificate
    digest: str = field(init=False)

    def __post_init__(self) -> None:
        digest = hashlib.sha256()
        for certificate in self.chain:
            digest.update(certificate.public_bytes(Encoding.DER))
        object.__setattr__(self, "digest", digest.hexdigest())

    @classmethod
    def from_pem(cls, chain: bytes | str, key: bytes | str | None = None) -> X509SVID:
        """Read a chain and its key.

        Args:
            chain: PEM, the leaf first; may hold the key as well, as `svid.pem` does.
            key: PEM; None: it is in `chain`.

        Raises:
            IdentityError: a part is missing or does not fit the other. No text of a key is in it.
        """
        certificates = read_certificates(chain, "the certificate")
        private = read_key(chain if key is None else key, certificates[0])
        return cls(id_of(certificates[0]), certificates, private)

    @property
    def leaf(self) -> x509.Certificate:
        """The certificate of the key."""
        return self.chain[0]

    @property
    def from_s(self) -> float:
        """Unix seconds from which the leaf holds."""
        return self.leaf.not_valid_before_utc.timestamp()

    @property
    def until_s(self) -> float:
        """Unix seconds at which the first certificate of the chain ends."""
        return min(one.not_valid_after_utc.timestamp() for one in self.chain)

    @property
    def cert_pem(self) -> str:
        """The whole chain, leaf first."""
        return "".join(one.public_bytes(Encoding.PEM).decode() for one in self.chain)

    @property
    def key_pem(self) -> str:
        """The key, in the clear: for a file of mode 0600 and nowhere else."""
        return self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()

    @property
    def pem(self) -> str:
        """What `svid.pem` holds: the key, then the chain."""
        return self.key_pem + self.cert_pem


def read_key(pem: bytes | str, certificate: x509.Certificate) -> PrivateKey:
    """Return the private key in a PEM text, which must be a certificate's.

    Raises:
        IdentityError: there is none, or it is another's. No text of a key is in it.
    """
    data = pem.encode() if isinstance(pem, str) else pem
    try:
        private = load_pem_private_key(_key_block(data), password=None)
    except Exception as error:  # ValueError, TypeError for a password, and others for algorithms
        raise IdentityError("the private key cannot be read, or has a password") from error
    if not isinstance(private, PrivateKey):
        raise IdentityError("the private key is neither ECDSA nor RSA")
    try:
        is_its = _public(private.public_key()) == _public(certificate.public_key())
    except Exception as error:
        raise IdentityError("the certificate's key cannot be read") from error
    if not is_its:
        raise IdentityError("the private key does not belong to the certificate")
    return private


def _key_block(data: bytes) -> bytes:
    """Return the PEM block of a text that is a private key."""
    begin = data.find(b"-----BEGIN ")
    while begin >= 0:
        label = data[begin + 11 : data.find(b"-----", begin + 11)]
        end = data.find(b"-----END " + label, begin)
        if label.endswith(b"PRIVATE KEY") and end >= 0:
            return data[begin : end + len(label) + 14]
        begin = data.find(b"-----BEGIN ", begin + 11)
    raise ValueError("no private key")


def _public(key: Any) -> bytes:
    found: bytes = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return found
