"""Keep the identities of this node's service accounts: issued, renewed, put back where damaged.

Each has a directory `identity/<namespace>/<service account>/` in the run directory, with `svid.pem`
(key and chain in one file, so that the two are always a pair) and `bundle.pem` (the roots, a copy
for other programs). Each renewal has a new key.

1. A file that is as it was written is left alone until it is due; a look costs two `stat`s.
2. Any other is read. It stays where it is a pair, of the right ID, that our own side accepts, and
   not due; else another takes its place. So a restart issues nothing that is not needed.
3. A daemon of root gives directory and files to the Unix user that policy binds the account to; see
   `guarded` for what that user may try.
4. What fails is tried again at the next look, and keeps no other identity from its renewal, nor
   does what takes long: see `turns`.
"""

from __future__ import annotations

import contextlib
import itertools
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from cryptography.hazmat.primitives.serialization import Encoding

from meshware.ca.authority import Authority
from meshware.ca.guarded import (
    Owner,
    clear_away,
    is_leftover,
    mode_in,
    opened,
    opened_ours,
    owner_of,
    read_file,
    signature,
    step_into,
    write_file,
)
from meshware.ca.plan import Account, Plan
from meshware.ca.turns import DIRECTORY_MODE, Turns
from meshware.errors import IdentityError
from meshware.identity.bundle import Bundle, Bundles, fingerprint
from meshware.identity.rotation import renew_at
from meshware.identity.spiffe import SpiffeID
from meshware.identity.svid import X509SVID
from meshware.identity.verify import verify_chain

__all__ = ["BUNDLE_NAME", "SVID_NAME", "TOKEN_NAME", "IdentityFiles", "roots_pem"]

SVID_NAME, BUNDLE_NAME, TOKEN_NAME = "svid.pem", "bundle.pem", "token.json"

_MOST_LEFTOVERS = 1000  # names that are looked at: a user may fill its directory


@dataclass(frozen=True, slots=True)
class _Kept:
    """What lies there, as far as it was written or read here."""

    svid: tuple[int, ...]  # signature of the file
    bundle: tuple[int, ...]
    roots: str  # that the bundle's file says
    authority: str  # fingerprint of what issued it
    renew_at: float  # unix seconds


@dataclass(frozen=True, slots=True)
class _Work:
    """What one look works with."""

    plan: Plan
    authority: Authority
    bundles: Bundles  # of the authority
    now: datetime
    roots: str  # as `bundle.pem` has them


class IdentityFiles:
    """Keeps the identities below a run directory. For one thread at a time.

    Args:
        run_dir: the run directory.
    """

    def __init__(self, run_dir: Path) -> None:
        self._run_dir = run_dir.resolve()
        self._turns = Turns(self._run_dir / "identity")
        self._plan: Plan | None = None
        self._kept: dict[Account, _Kept] = {}

    def keep(
        self, plan: Plan, authority: Authority, now: datetime, may_go_on: Callable[[], bool]
    ) -> float:
        """Do what is due now.

        Args:
            plan: whose identities, and how long they live.
            authority: issues them.
            now: aware UTC.
            may_go_on: asked between two identities; what is left then is due at once.

        Returns:
            Unix seconds at which the next is due.

        Raises:
            OSError, IdentityError: the first that went wrong, after all were tried.
        """
        if plan != self._plan:
            self._kept.clear()  # the life of leaves may be another
        bundle = authority.bundle
        work = _Work(plan, authority, Bundles([bundle]), now, roots_pem(bundle))
        with self._identities() as top:
            if plan != self._plan:
                self._remove_others(top, plan)
                self._plan = plan
            return self._turns.take(
                plan.accounts,
                lambda account: self._keep_one(top, account, work),
                now.timestamp(),
                may_go_on,
            )

    def remove_all(self) -> None:
        """Remove every identity that was issued here: nobody is to have one any more.

        Raises:
            OSError: it cannot be done.
        """
        with self._identities() as top:
            self._remove_others(top, Plan())
        self._plan = None

    # --- inside -------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _identities(self) -> Iterator[int]:
        try:
            with opened(self._run_dir) as run, opened_ours(run, "identity") as top:
                yield top
        except OSError as error:
            if error.filename == "identity":
                error.filename = str(self._run_dir / "identity")
            raise

    def _keep_one(self, top: int, account: Account, work: _Work) -> float:
        spiffe_id = account.id_in(work.plan.trust_domain)
        owner = owner_of(account.user)
        with (
            opened_ours(top, account.namespace) as middle,
            step_into(middle, account.name, DIRECTORY_MODE, owner) as place,
        ):
            kept = self._kept.get(account)
            if kept is None:
                _remove_leftovers(place)
            found = signature(place, SVID_NAME), signature(place, BUNDLE_NAME)
            if kept is None or found != (kept.svid, kept.bundle):
                kept = self._look_at(place, account, work)
            self._kept.pop(account, None)  # until all of it is there
            if (
                kept is None
                or work.now.timestamp() >= kept.renew_at
                or not work.authority.is_current(kept.authority)
            ):
                kept = self._renew(place, spiffe_id, owner, work)
            elif kept.roots != work.roots:
                bundle = _write_roots(place, work, owner)
                kept = replace(kept, bundle=bundle, roots=work.roots)
            self._kept[account] = kept
            return kept.renew_at

    def _renew(self, place: int, spiffe_id: SpiffeID, owner: Owner | None, work: _Work) -> _Kept:
        life_s = work.plan.leaf_life_s
        svid = work.authority.issue(spiffe_id, work.now, life_s)
        bundle = _write_roots(place, work, owner)
        written = write_file(place, SVID_NAME, svid.pem.encode(), owner)
        return _Kept(written, bundle, work.roots, _authority_of(svid), renew_at(svid, life_s))

    def _look_at(self, place: int, account: Account, work: _Work) -> _Kept | None:
        """Return what lies there if it can stay; None: it cannot."""
        about = signature(place, SVID_NAME), signature(place, BUNDLE_NAME)
        user = os.fstat(place).st_uid
        owners = frozenset({user})
        try:
            svid = X509SVID.from_pem(read_file(place, SVID_NAME, owners))
            roots = read_file(place, BUNDLE_NAME, owners).decode("latin-1")
            verified = verify_chain(svid.chain, work.bundles, work.now, "client")
        except (OSError, IdentityError):
            return None
        if about[0] is None or about[1] is None:
            return None
        modes = [mode_in(each) for each in (about[0], about[1])]
        if verified.id != account.id_in(work.plan.trust_domain) or modes != [0o600, 0o600]:
            return None
        due = renew_at(svid, work.plan.leaf_life_s)
        return _Kept(about[0], about[1], roots, _authority_of(svid), due)

    def _remove_others(self, top: int, plan: Plan) -> None:
        """Remove what lies there for accounts that are not of this node any more."""
        wanted = {(account.namespace, account.name) for account in plan.accounts}
        for namespace in os.listdir(top):
            with contextlib.suppress(OSError), opened(namespace, top) as middle:
                for name in os.listdir(middle):
                    if is_leftover(name):
                        clear_away(middle, name)
                    elif (namespace, name) not in wanted:
                        _remove_identity(middle, name)
            with contextlib.suppress(OSError):
                os.rmdir(namespace, dir_fd=top)  # if it is empty


def roots_pem(bundle: Bundle) -> str:
    """Return what `bundle.pem` says: the roots."""
    return "".join(root.public_bytes(Encoding.PEM).decode() for root in bundle.roots)


def _write_roots(place: int, work: _Work, owner: Owner | None) -> tuple[int, ...]:
    # A copy for other programs: after a power cut it is written again.
    return write_file(place, BUNDLE_NAME, work.roots.encode(), owner, is_durable=False)


def _authority_of(svid: X509SVID) -> str:
    """Return the fingerprint of what issued it; nothing where it does not show that."""
    return fingerprint(svid.chain[1]) if len(svid.chain) > 1 else ""


def _remove_leftovers(place: int) -> None:
    with os.scandir(place) as entries:
        for entry in itertools.islice(entries, _MOST_LEFTOVERS):
            if is_leftover(entry.name):
                with contextlib.suppress(OSError):
                    os.unlink(entry.name, dir_fd=place)


def _remove_identity(middle: int, name: str) -> None:
    with contextlib.suppress(OSError):
        with opened(name, middle) as place:
            _remove_leftovers(place)
            for file in (SVID_NAME, BUNDLE_NAME, TOKEN_NAME):
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(file, dir_fd=place)
        os.rmdir(name, dir_fd=middle)  # if there is nothing else in it
