"""An authority that somebody else made: one node's intermediate, below a root that is kept offline.

The directory of `meshware sync --ca-dir` holds

- `intermediate.pem`: key and chain, as `meshware cert issue-intermediate` writes it;
- `root.crt`: the root, or several of them while one follows another;
- any other `*.crt`: intermediates of other nodes, which help to build paths where a server shows
  the leaf alone.

It is read again when a file changes, so that an operator renews it by replacing files.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from pathlib import Path

from cryptography import x509

from meshware.ca.authority import checked_svid
from meshware.ca.store import read_issuer, trust_domain_in
from meshware.errors import IdentityError, SyncError
from meshware.identity.bundle import Bundle, Bundles, fingerprint, read_certificates
from meshware.identity.issue import Issuer
from meshware.identity.spiffe import SpiffeID, workload_id
from meshware.identity.svid import X509SVID
from meshware.runtime.followed_files import read_file, read_secret, state_of

__all__ = ["GivenAuthority", "trust_domain_of"]

_MOST_FILES = 1024
_LEAF_S = 60.0  # of one that is issued to see whether it can be


class GivenAuthority:
    """An authority in a directory. For one thread at a time.

    Args:
        directory: where it lies.
        trust_domain: whose it must be.
        now: aware UTC.

    Attributes:
        issuer: its key and chain.
        bundle: who vouches for the trust domain.

    Raises:
        SyncError: it cannot be used; the message says what to mend.
    """

    def __init__(self, directory: Path, trust_domain: str, now: datetime) -> None:
        self.trust_domain = trust_domain
        self._directory = directory
        self._denied: frozenset[str] = frozenset()
        self._state = _state(directory)
        self.issuer, self.bundle = self._read(now)

    @property
    def until(self) -> datetime:
        """When the first certificate of its chain ends."""
        return self.issuer.until

    def look(self, now: datetime, life_s: float, denied: Collection[str] = ()) -> None:
        """Read the files again if they have changed.

        Raises:
            SyncError: they cannot be used; what was read before stays.
            IdentityError: policy denies this authority.
        """
        self._denied = frozenset(denied)
        state = _state(self._directory)
        if state != self._state:
            self.issuer, self.bundle = self._read(now)
            self._state = state
        if any(fingerprint(each) in self._denied for each in self.issuer.chain):
            raise IdentityError(
                f"policy denies the authority in {self._directory}: put another intermediate there"
            )

    def issue(self, spiffe_id: SpiffeID, now: datetime, life_s: float) -> X509SVID:
        """Return a new SVID with a new key.

        Raises:
            IdentityError: it cannot be issued; the message says why.
        """
        bundles = Bundles([self.bundle], tuple(self._denied))
        return checked_svid(self.issuer, bundles, spiffe_id, now, life_s)

    def is_current(self, authority: str) -> bool:
        """Say whether what an intermediate of this fingerprint issued may stay until it is due."""
        return authority not in self._denied and authority == fingerprint(self.issuer.certificate)

    def _read(self, now: datetime) -> tuple[Issuer, Bundle]:
        path = self._directory / "intermediate.pem"
        try:
            pem = read_secret(path)
            issuer = read_issuer(pem, self.trust_domain)
            _check_trust_domain(issuer.certificate, self.trust_domain)
            path = self._directory / "root.crt"
            roots = read_certificates(read_file(path), str(path))
            others: list[x509.Certificate] = list(issuer.chain)
            for path in sorted(self._directory.glob("*.crt"))[:_MOST_FILES]:
                others += read_certificates(read_file(path), str(path))
            # Between this authority and the root nothing is left out, whatever its file says.
            chain = tuple(each for each in issuer.chain if each not in roots)
            if not chain:
                raise IdentityError("intermediate.pem holds a root; a node has no root's key")
            above = next((root for root in roots if root.subject == chain[-1].issuer), None)
            if above is None:
                raise IdentityError("its chain does not end at a root of root.crt")
            issuer = Issuer(self.trust_domain, (*chain, above), issuer.key)
            between = tuple(dict.fromkeys(each for each in others if each not in roots))
            bundle = Bundle(self.trust_domain, roots, between)
            probe = workload_id(self.trust_domain, "default", "probe")
            checked_svid(issuer, Bundles([bundle]), probe, now, _LEAF_S)
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            raise self._unusable(f"{path}: {reason}") from error
        except (IdentityError, ValueError, x509.DuplicateExtension) as error:
            raise self._unusable(str(error)) from error
        return issuer, bundle

    def _unusable(self, why: str) -> SyncError:
        return SyncError(
            f"the authority in {self._directory} cannot be used: {why}; make it by `meshware cert "
            "issue-intermediate`, or name another by --ca-dir"
        )


def trust_domain_of(directory: Path) -> str:
    """Return the trust domain whose authority lies in a directory.

    Raises:
        IdentityError: its certificate names none, or cannot be read.
        OSError: there is none.
    """
    path = directory / "intermediate.pem"
    return trust_domain_in(read_secret(path), str(path))


def _check_trust_domain(certificate: x509.Certificate, trust_domain: str) -> None:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return
    uris = names.get_values_for_type(x509.UniformResourceIdentifier)
    if uris and f"spiffe://{trust_domain}" not in uris:
        raise IdentityError(f"it is not of trust domain {trust_domain}")


def _state(directory: Path) -> object:
    paths = (directory / "intermediate.pem", *sorted(directory.glob("*.crt"))[:_MOST_FILES])
    return [(path.name, state_of(path)) for path in paths]
