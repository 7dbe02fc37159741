"""Keep the identities of this node's service accounts: issued, renewed, put back where damaged.

Each has a directory `identity/<namespace>/<service account>/` in the run directory, with `svid.pem`
(key and chain in one file, so that the two are always a pair) and `bundle.pem` (the roots, a copy
for other programs). Each renewal has a new key.

1. A file that is as it was written is left alone until it is due; a look costs two `stat`s.
2. Any other is read. It stays where it is a pair, of the right ID, that our own side accepts, and
   not due; else another takes its place. So a restart issues nothing that is not needed.
3. A daemon of root gives directory and files to the Unix user that policy binds the account to; see
   `guarded` for what that user may try.
4. What fails is tried again at the next look, and keeps no other identity from its renewal.
"""

from __future__ import annotations

import contextlib
import os
import stat
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
    opened,
    opened_ours,
    owner_of,
    read_file,
    signature,
    step_into,
    write_file,
)
from meshware.ca.plan import Account, Plan
from meshware.errors import IdentityError
from meshware.identity.bundle import Bundle, Bundles, fingerprint
from meshware.identity.rotation import renew_at
from meshware.identity.spiffe import SpiffeID
from meshware.identity.svid import X509SVID
from meshware.identity.verify import verify_chain

__all__ = ["BUNDLE_NAME", "SVID_NAME", "IdentityFiles", "roots_pem"]

SVID_NAME, BUNDLE_NAME = "svid.pem", "bundle.pem"

_TOKEN_NAME = "token.json"  # a token with its key, if there is one
_MODE = 0o700
_TRY_AGAIN_S = 1.0


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
    now: datetime
    roots: str  # as `bundle.pem` has them


class IdentityFiles:
    """Keeps the identities below a run directory. For one thread at a time.

    Args:
        run_dir: the run directory.
    """

    def __init__(self, run_dir: Path) -> None:
        self._run_dir = run_dir
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
        failed: OSError | IdentityError | None = None
        due_s: list[float] = []
        work = _Work(plan, authority, now, roots_pem(authority.bundle))
        with self._identities() as top:
            if plan != self._plan:
                self._remove_others(top, plan)
                self._plan = plan
            for account in plan.accounts:
                if not may_go_on():
                    due_s.append(now.timestamp())
                    break
                try:
                    due_s.append(self._keep_one(top, account, work))
                except (OSError, IdentityError) as error:
                    failed = failed or self._about(error, account)
                    due_s.append(now.timestamp() + _TRY_AGAIN_S)
        if failed is not None:
            raise failed
        return min(due_s, default=float("inf"))

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

    def _about(self, error: OSError | IdentityError, account: Account) -> OSError | IdentityError:
        """Return an error that names the identity that it is about."""
        where = f"{self._run_dir}/identity/{account.namespace}/{account.name}"
        if isinstance(error, OSError):
            error.filename, error.filename2 = where, None
            return error
        return IdentityError(f"{where}: {error}")

    def _keep_one(self, top: int, account: Account, work: _Work) -> float:
        spiffe_id = account.id_in(work.plan.trust_domain)
        owner = owner_of(account.user)
        with (
            opened_ours(top, account.namespace) as middle,
            step_into(middle, account.name, _MODE, owner) as place,
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
            bundles = Bundles([work.authority.bundle])
            verified = verify_chain(svid.chain, bundles, work.now, "client")
        except (OSError, IdentityError):
            return None
        modes = [
            stat.S_IMODE(os.stat(name, dir_fd=place, follow_symlinks=False).st_mode)
            for name in (SVID_NAME, BUNDLE_NAME)
        ]
        if (
            verified.id != account.id_in(work.plan.trust_domain)
            or modes != [0o600, 0o600]
            or about[0] is None
            or about[1] is None
        ):
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
    for name in os.listdir(place):
        if is_leftover(name):
            with contextlib.suppress(OSError):
                os.unlink(name, dir_fd=place)


def _remove_identity(middle: int, name: str) -> None:
    with contextlib.suppress(OSError):
        with opened(name, middle) as place:
            _remove_leftovers(place)
            for file in (SVID_NAME, BUNDLE_NAME, _TOKEN_NAME):
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(file, dir_fd=place)
        os.rmdir(name, dir_fd=middle)  # if there is nothing else in it
