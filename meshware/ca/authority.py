"""The authority that a daemon issues from: made on the first start, or given in a directory.

Theory of operation
-------------------
1. A *generation* is a root with the intermediates below it. One generation issues; the roots of all
   that are trusted are in the bundle, beside their intermediates, which only help to build paths.
2. An intermediate is followed by another at half of its life. For some seconds the new one is in
   the bundle and issues nothing, so that it is known wherever it is met.
3. The root changes in three steps, each of them kept before it counts: *announced* (a second
   generation is trusted and issues nothing), *issuing* (it issues, and the old one is trusted for
   as long as the longest-lived leaf that it issued may last), and the old one is dropped. Who says
   when a step is due is `rotate`.
4. What policy denies issues nothing: a denied intermediate is followed by another at once.
5. Nothing is handed out that our own side would not accept: each leaf is verified before.

Keys are in memory as long as the daemon runs; files that vanish meanwhile are put back.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import Protocol

import msgspec

from meshware.ca.store import Generation, Rotation, State, Store
from meshware.errors import IdentityError, SyncError
from meshware.identity.bundle import Bundle, Bundles, fingerprint
from meshware.identity.issue import (
    CLOCKS_DIFFER_S,
    Issuer,
    issue_intermediate,
    issue_root,
    issue_svid,
    new_key,
)
from meshware.identity.spiffe import SpiffeID
from meshware.identity.svid import X509SVID
from meshware.identity.verify import verify_chain

__all__ = [
    "INTERMEDIATE_LIFE_S",
    "ROOT_LIFE_S",
    "Authority",
    "EmbeddedAuthority",
    "checked_svid",
]

_DAY_S = 86400.0
ROOT_LIFE_S = 3652 * _DAY_S
INTERMEDIATE_LIFE_S = 365 * _DAY_S

_KNOWN_AFTER_S = 10.0
"""An intermediate issues so long after it was made: workers follow policy within a second."""


class Authority(Protocol):
    """What issues the identities of one trust domain."""

    trust_domain: str

    @property
    def bundle(self) -> Bundle:
        """Who vouches for the trust domain: all roots, and the intermediates of now."""
        ...

    @property
    def until(self) -> datetime | None:
        """When it ends, if nobody but an operator can follow it by another."""
        ...

    def look(self, now: datetime, life_s: float, denied: Collection[str] = ()) -> None:
        """Do what is due, given the life of leaves and who is denied.

        Raises:
            OSError: a file cannot be used; the next call tries again.
            MeshError: it cannot issue, and what is to be mended.
        """
        ...

    def issue(self, spiffe_id: SpiffeID, now: datetime, life_s: float) -> X509SVID:
        """Return a new SVID with a new key.

        Raises:
            IdentityError: it cannot be issued; the message says why.
        """
        ...

    def is_current(self, authority: str) -> bool:
        """Say whether what an intermediate of this fingerprint issued may stay until it is due."""
        ...


class EmbeddedAuthority:
    """An authority whose root is here, too. For one thread at a time.

    Use `open` to get one.

    Attributes:
        trust_domain: whose it is.
        state: which generations there are, as kept.
    """

    def __init__(self, store: Store, state: State, generations: dict[int, Generation]) -> None:
        self.trust_domain = state.trust_domain
        self.state = state
        self._store = store
        self._generations = generations
        self._denied: frozenset[str] = frozenset()
        self._bundle: Bundle | None = None
        self._current: set[str] | None = None  # fingerprints of what issues, or did before

    @classmethod
    def open(
        cls, store: Store, trust_domain: str, now: datetime, bundle_in: str | None = None
    ) -> EmbeddedAuthority:
        """Read the authority, or make it where there is none.

        Args:
            store: its files.
            trust_domain: whose it is.
            now: aware UTC.
            bundle_in: where a bundle of the trust domain was found; None: nowhere. Then no root is
                made: it would not be the one that workloads believe.

        Raises:
            SyncError: a file is damaged, or the keys of the bundle's root are not here.
            OSError: a file cannot be read or written.
        """
        if store.exists():
            state, generations = store.load()
            store.tidy(state)
            return cls(store, state, generations)
        if bundle_in is not None:
            raise SyncError(
                f"there is a bundle of {trust_domain} already, in {bundle_in}, and the authority's "
                f"keys are not in {store.directory}: no new root is made beside it; bring the "
                "state directory back from a backup, name the right one by --state-dir, or, where "
                f"the keys are lost for good, remove {bundle_in} and begin anew"
            )
        state = State(trust_domain=trust_domain, issuing=1, trusted=(1,))
        made = cls(store, state, {})
        made._generations[1] = made._make_generation(1, now)
        store.save_state(state)
        return made

    # --- what is asked of it ------------------------------------------------------------------

    @property
    def until(self) -> None:
        """Never: it follows its own intermediates; a root's end is told by its certificate."""
        return None

    @property
    def bundle(self) -> Bundle:
        """Who vouches for the trust domain: all roots, and the intermediates of now."""
        if self._bundle is None:
            generations = [self._generations[number] for number in self.state.trusted]
            self._bundle = Bundle(
                self.trust_domain,
                tuple(each.root.certificate for each in generations),
                tuple(
                    issuer.certificate
                    for each in generations
                    for issuer in each.intermediates.values()
                    if fingerprint(issuer.certificate) not in self._denied
                ),
            )
        return self._bundle

    def issue(self, spiffe_id: SpiffeID, now: datetime, life_s: float) -> X509SVID:
        """Return a new SVID with a new key.

        Raises:
            IdentityError: it cannot be issued; the message says why.
        """
        return checked_svid(
            self.issuer(now), Bundles([self.bundle], tuple(self._denied)), spiffe_id, now, life_s
        )

    def issuer(self, now: datetime) -> Issuer:
        """Return the intermediate that issues now.

        Raises:
            IdentityError: there is none that has not ended and is not denied.
        """
        found = [
            issuer
            for issuer in self._generations[self.state.issuing].intermediates.values()
            if issuer.until > now and fingerprint(issuer.certificate) not in self._denied
        ]
        if not found:
            raise IdentityError(f"no authority of {self.trust_domain} may issue now")
        known = [each for each in found if _made_s(each) + _KNOWN_AFTER_S <= now.timestamp()]
        return (known or found)[-1]

    def is_current(self, authority: str) -> bool:
        """Say whether what an intermediate of this fingerprint issued may stay until it is due."""
        if self._current is None:
            issuing = self._generations[self.state.issuing].intermediates.values()
            self._current = {fingerprint(issuer.certificate) for issuer in issuing} - self._denied
        return authority in self._current

    def root(self, number: int) -> Issuer:
        """Return the root of a generation that is trusted."""
        return self._generations[number].root

    # --- its life -----------------------------------------------------------------------------

    def look(self, now: datetime, life_s: float, denied: Collection[str] = ()) -> None:
        """Do what is due: follow what ends, drop what has ended, put back what has vanished.

        Args:
            now: aware UTC.
            life_s: of leaves, as policy says now.
            denied: fingerprints of authorities that policy denies.

        Raises:
            OSError: a file cannot be written; the next call tries again.
            IdentityError: the root has ended, or is denied.
        """
        if self._denied != frozenset(denied):
            self._denied = frozenset(denied)
            self._forget()
        if not self._store.exists():
            self._put_back()
        if life_s > self.state.longest_leaf_s:
            self._keep(longest_leaf_s=life_s)
        rotation = self.state.rotation
        if rotation and rotation.drop_at is not None and now.timestamp() >= rotation.drop_at:
            self._keep(trusted=(rotation.next,), rotation=None)
            self._generations = {rotation.next: self._generations[rotation.next]}
        for number, generation in self._generations.items():
            self._look_at(number, generation, now)

    def begin(self, request: str, now: datetime) -> Rotation:
        """Announce a new root beside the present one.

        Args:
            request: names who asked for it.
            now: aware UTC.

        Raises:
            OSError: it cannot be kept; nothing has changed.
        """
        number = max(self.state.trusted) + 1
        generation = self._make_generation(number, now)
        rotation = Rotation(
            id=request,
            next=number,
            phase="announced",
            since=now.isoformat(timespec="seconds"),
        )
        self._generations[number] = generation
        try:
            self._keep(trusted=(*self.state.trusted, number), rotation=rotation)
        except OSError:
            del self._generations[number]
            raise
        return rotation

    def issue_from_next(self, now: datetime) -> None:
        """Have the announced generation issue from now on.

        Raises:
            OSError: it cannot be kept; nothing has changed.
        """
        rotation = self.state.rotation
        assert rotation is not None
        # What was issued a moment ago lives as long as any; clocks differ by as much again.
        drop_at = now.timestamp() + self.state.longest_leaf_s + CLOCKS_DIFFER_S
        self._keep(
            issuing=rotation.next,
            rotation=msgspec.structs.replace(rotation, phase="issuing", drop_at=drop_at),
        )

    # --- inside -------------------------------------------------------------------------------

    def _look_at(self, number: int, generation: Generation, now: datetime) -> None:
        """Follow the newest intermediate of a generation, and forget those that have ended."""
        newest = max(generation.intermediates)
        issuer = generation.intermediates[newest]
        half_s = (issuer.until.timestamp() + _made_s(issuer)) / 2
        is_denied = fingerprint(issuer.certificate) in self._denied
        if is_denied or now.timestamp() >= half_s:
            root_until = generation.root.until
            # One that ends with the root already cannot be followed by a longer-lived one.
            if is_denied or issuer.until < root_until:
                self._add_intermediate(number, generation, newest + 1, now)
        for count, each in list(generation.intermediates.items()):
            if each.until <= now and count != max(generation.intermediates):
                self._store.remove_intermediate(number, count)
                del generation.intermediates[count]
                self._forget()

    def _make_generation(self, number: int, now: datetime) -> Generation:
        root = issue_root(self.trust_domain, new_key(), now, ROOT_LIFE_S, f"root {number}")
        self._store.save_root(number, root)
        generation = Generation(root, {})
        self._add_intermediate(number, generation, 1, now)
        return generation

    def _add_intermediate(
        self, number: int, generation: Generation, count: int, now: datetime
    ) -> None:
        name = f"intermediate {number}.{count}"
        made = issue_intermediate(generation.root, new_key(), now, INTERMEDIATE_LIFE_S, name)
        self._store.save_intermediate(number, count, made)
        generation.intermediates[count] = made
        self._forget()

    def _keep(self, **changes: object) -> None:
        state: State = msgspec.structs.replace(self.state, **changes)
        self._store.save_state(state)
        self.state = state
        self._forget()

    def _forget(self) -> None:
        """Forget what was made of the generations: they have changed."""
        self._bundle = self._current = None

    def _put_back(self) -> None:
        for number, generation in self._generations.items():
            self._store.save_root(number, generation.root)
            for count, issuer in generation.intermediates.items():
                self._store.save_intermediate(number, count, issuer)
        self._store.save_state(self.state)


def checked_svid(
    issuer: Issuer, bundles: Bundles, spiffe_id: SpiffeID, now: datetime, life_s: float
) -> X509SVID:
    """Return a new SVID that our own side accepts, as a client and as a server.

    Raises:
        IdentityError: it cannot be issued, or nobody would accept it.
    """
    svid = issue_svid(issuer, spiffe_id, new_key(), now, life_s)
    for role in ("client", "server"):
        verify_chain(svid.chain, bundles, now, role)
    return svid


def _made_s(issuer: Issuer) -> float:
    return issuer.certificate.not_valid_before_utc.timestamp() + CLOCKS_DIFFER_S
