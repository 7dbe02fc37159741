"""Identities for tests: an authority for each trust domain, made when first asked for."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta

import msgspec
from cryptography.hazmat.primitives.serialization import Encoding

from meshware.clock import Clock
from meshware.identity.bundle import Bundle
from meshware.identity.issue import Issuer, issue_intermediate, issue_root, issue_svid, new_key
from meshware.identity.spiffe import SpiffeID
from meshware.identity.svid import X509SVID
from meshware.policy.record_types import BundleRecord, MeshRecord

__all__ = ["Identities"]

_LONG_S = 10 * 365 * 86400.0


class Identities:
    """Authorities of tests, and what they issue.

    Args:
        clock: time.
        bundles: roots, as PEM, by trust domain; None: each domain of the policy gets those of the
            authority that issues for it here.
    """

    def __init__(self, clock: Clock, bundles: Mapping[str, str] | None) -> None:
        self._clock = clock
        self._bundles = bundles
        self._authorities: dict[str, Issuer] = {}

    def issue(self, spiffe_id: SpiffeID, life_s: float = 3600.0) -> X509SVID:
        """Issue an SVID for any ID."""
        authority = self._authority(spiffe_id.trust_domain)
        return issue_svid(authority, spiffe_id, new_key(), self._clock.now(), life_s)

    def believed(self, records: Mapping[str, bytes]) -> dict[str, bytes]:
        """Return records with the bundles of these authorities among them.

        Raises:
            IdentityError: a bundle is not PEM, or is of no trust domain.
        """
        mesh = msgspec.json.decode(records["mesh"], type=MeshRecord)
        own = mesh.trust_domain
        if self._bundles is None:
            roots = {own: self._authority(own).root.public_bytes(Encoding.PEM).decode()}
            found = dict(records)
        else:
            roots = dict(self._bundles)
            found = {key: data for key, data in records.items() if not key.startswith("bundle/")}
            others = tuple(name for name in roots if name != own)
            found["mesh"] = msgspec.json.encode(msgspec.structs.replace(mesh, bundles=others))
        for name, pem in roots.items():
            Bundle.from_pem(name, pem)  # an error here and not at the first call
            found[f"bundle/{name}"] = msgspec.json.encode(
                BundleRecord(trust_domain=name, roots=(pem,))
            )
        return found

    def _authority(self, trust_domain: str) -> Issuer:
        found = self._authorities.get(trust_domain)
        if found is None:
            # From long ago, so that a test may set its clock back.
            then = self._clock.now() - timedelta(seconds=_LONG_S)
            root = issue_root(trust_domain, new_key(), then, 3 * _LONG_S)
            found = issue_intermediate(root, new_key(), then, 3 * _LONG_S)
            self._authorities[trust_domain] = found
        return found
