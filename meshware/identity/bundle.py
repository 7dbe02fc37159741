"""Bundles: who may vouch for the IDs of a trust domain. One for each, never merged.

A bundle also carries intermediates, which are *not* trusted: they help to build a path where a
server shows the leaf alone, as most Python servers do.

Source: SPIFFE Trust Domain and Bundle; X509-SVID 5.1.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.verification import Store

from meshware.errors import IdentityError
from meshware.identity.spiffe import is_trust_domain

__all__ = ["Bundle", "Bundles", "Trust", "fingerprint", "read_certificates"]


def fingerprint(certificate: x509.Certificate) -> str:
    """Return what names a certificate in policy and in logs: SHA-256 of its DER, in lower hex."""
    return hashlib.sha256(certificate.public_bytes(Encoding.DER)).hexdigest()


def read_certificates(pem: bytes | str, what: str) -> tuple[x509.Certificate, ...]:
    """Return the certificates of a PEM text; what else stands in it is passed over.

    Args:
        pem: the text.
        what: it is, for the message: "the bundle of example.org".

    Raises:
        IdentityError: a certificate cannot be read, or there is none.
    """
    data = pem.encode() if isinstance(pem, str) else pem
    try:
        found = tuple(x509.load_pem_x509_certificates(data))
    except Exception as error:  # ValueError, and others for versions and algorithms
        raise IdentityError(f"{what} cannot be read: it is not PEM with certificates") from error
    if data.count(b"-----BEGIN CERTIFICATE-----") > len(found):
        # Half written: the reader passes over the last one where its end is missing.
        raise IdentityError(f"{what} cannot be read: it ends within a certificate")
    return found


@dataclass(frozen=True, slots=True)
class Bundle:
    """The authorities of one trust domain.

    Attributes:
        trust_domain: whose they are.
        roots: trusted.
        intermediates: for building paths only.
        tokens: the public keys (RFC 7517, as JSON objects) that sign its workloads' tokens.
    """

    trust_domain: str
    roots: tuple[x509.Certificate, ...]
    intermediates: tuple[x509.Certificate, ...] = ()
    tokens: tuple[Mapping[str, Any], ...] = ()
    digest: str = field(init=False, repr=False)  # of all that
    store: Store | None = field(init=False, repr=False, compare=False)  # None: no root

    def __post_init__(self) -> None:
        if not is_trust_domain(self.trust_domain):
            raise IdentityError("the bundle's trust domain is no name of one")
        digest = hashlib.sha256(self.trust_domain.encode())
        for group in (self.roots, self.intermediates):
            digest.update(b"|")
            for certificate in group:
                digest.update(bytes.fromhex(fingerprint(certificate)))
        digest.update(repr([sorted(key.items()) for key in self.tokens]).encode())
        object.__setattr__(self, "digest", digest.hexdigest())
        object.__setattr__(self, "store", Store(list(self.roots)) if self.roots else None)

    @classmethod
    def from_pem(
        cls,
        trust_domain: str,
        roots: str | bytes,
        intermediates: Sequence[str] = (),
        tokens: Sequence[Mapping[str, Any]] = (),
    ) -> Bundle:
        """Read a bundle.

        Raises:
            IdentityError: it is not PEM, or holds no root.
        """
        what = f"the bundle of {trust_domain}"
        return cls(
            trust_domain,
            read_certificates(roots, what),
            tuple(one for pem in intermediates for one in read_certificates(pem, what)),
            tuple(tokens),
        )


@dataclass(frozen=True, slots=True)
class Trust:
    """What a chain of one trust domain is verified against: a bundle less what policy denies."""

    store: Store | None  # None: every root is denied
    intermediates: tuple[x509.Certificate, ...]


class Bundles(Mapping[str, Bundle]):
    """Bundles by trust domain. Immutable.

    Args:
        bundles: one for each trust domain.
        denied: fingerprints of authorities that vouch for nobody any more.

    Attributes:
        denied: the same.
        digest: of all of it; changes when whom we believe changes.
        known: what `verify` remembers of chains that it has verified against these very bundles.
    """

    __slots__ = ("_bundles", "_trust", "denied", "digest", "known")

    def __init__(self, bundles: Sequence[Bundle] = (), denied: Sequence[str] = ()) -> None:
        self._bundles = {bundle.trust_domain: bundle for bundle in bundles}
        if len(self._bundles) != len(bundles):
            raise IdentityError("a trust domain has two bundles; give it one")
        self.denied = frozenset(denied)
        self.known: dict[bytes, Any] = {}
        parts = [self._bundles[name].digest for name in sorted(self._bundles)]
        digest = hashlib.sha256("".join([*parts, "|", *sorted(self.denied)]).encode())
        self.digest = digest.hexdigest()
        # Made once: each handshake needs them.
        self._trust = {
            name: self._less_denied(bundle)
            for name, bundle in self._bundles.items()
            if bundle.store is not None
        }

    def trust(self, trust_domain: str) -> Trust | None:
        """Return what a chain of a trust domain is verified against; None: it has no root."""
        return self._trust.get(trust_domain)

    def _less_denied(self, bundle: Bundle) -> Trust:
        if not self.denied:
            return Trust(bundle.store, bundle.intermediates)
        roots = [one for one in bundle.roots if fingerprint(one) not in self.denied]
        store = bundle.store if len(roots) == len(bundle.roots) else None
        if store is None and roots:
            store = Store(roots)
        below = tuple(one for one in bundle.intermediates if fingerprint(one) not in self.denied)
        return Trust(store, below)

    def __getitem__(self, trust_domain: str) -> Bundle:
        return self._bundles[trust_domain]

    def __iter__(self) -> Iterator[str]:
        return iter(self._bundles)

    def __len__(self) -> int:
        return len(self._bundles)

    @property
    def roots(self) -> tuple[x509.Certificate, ...]:
        """Every root of every trust domain: for OpenSSL's first look, which is never the last."""
        return tuple(root for bundle in self._bundles.values() for root in bundle.roots)

    @property
    def intermediates(self) -> tuple[x509.Certificate, ...]:
        """Every intermediate of every trust domain."""
        return tuple(one for bundle in self._bundles.values() for one in bundle.intermediates)
