"""What each Unix user of this node may be handed: its SVIDs and everybody's bundles, from files.

1. Who is entitled stands in the plan that the daemon keeps in its state directory, made of policy:
   each service account is its Unix user's (`nodeIdentities`), or else the daemon's own user's.
2. SVIDs are those that lie in the run directory. One that names anybody else than the account in
   whose directory it lies is handed to nobody: a user who puts another's file, or a link to it,
   into its own directory gains nothing.
3. Bundles are those of the published policy; the own domain's, where policy has none, is the one
   that lies beside the SVID.
4. While files cannot be used, what they said before stays: certificates end by themselves.
5. Files are looked at when somebody asks, no oftener than each quarter of a second for a user, and
   who is which Unix user each few seconds: a stranger who asks often costs next to nothing.
"""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass
from pathlib import Path

import msgspec

from meshware.ca.guarded import opened, owner_of, read_file
from meshware.ca.plan import Account, Plan, read_plan
from meshware.clock import Clock
from meshware.errors import IdentityError, MeshError
from meshware.identity.bundle import Bundle, Bundles
from meshware.identity.svid import X509SVID
from meshware.policy.record_types import MeshRecord
from meshware.policy.snapshot import read_bundles
from meshware.runtime.followed_files import state_of
from meshware.runtime.policy_file import open_policy_file, trusted_owners
from meshware.runtime.svid_files import SVIDFiles, read_svid

__all__ = ["Handout", "Handouts"]

_LOOK_AGAIN_S = 0.25
_USERS_AGAIN_S = 5.0  # who is which user is looked up no oftener, unless policy changes
_MOST_TOLD = 1000

_log = logging.getLogger("meshware.identity")

_State = tuple[tuple[int, ...] | None, ...]


@dataclass(frozen=True, slots=True)
class Handout:
    """What a user is handed; equal to another while nothing has changed."""

    svids: tuple[X509SVID, ...]  # none: the user is entitled to nothing
    bundles: tuple[Bundle, ...]  # by trust domain
    trust_domain: str  # our own


_NOTHING = Handout((), (), "")


class Handouts:
    """Tells what a user may be handed. For one thread.

    Args:
        run_dir: where policy and identities lie.
        plan_file: where the daemon keeps who is to have an identity.
        clock: the machine's.
    """

    def __init__(self, run_dir: Path, plan_file: Path, clock: Clock) -> None:
        self._run_dir = run_dir
        self._plan_file = plan_file
        self._clock = clock
        self._plan: tuple[tuple[int, ...] | None, Plan] = (None, Plan())
        self._accounts: dict[int, tuple[Account, ...]] = {}  # by user
        self._accounts_until = float("-inf")
        self._policy: tuple[tuple[int, ...] | None, Bundles] = (None, Bundles())
        self._kept: dict[Account, tuple[_State, X509SVID | None]] = {}
        self._answers: dict[int, tuple[float, Handout]] = {}
        self._told: set[str] = set()

    def of(self, uid: int) -> Handout:
        """Return what a user may be handed now.

        Args:
            uid: the user's id, as the kernel tells it.
        """
        now = self._clock.monotonic()
        kept = self._answers.get(uid)
        if kept is not None and now - kept[0] < _LOOK_AGAIN_S:
            return kept[1]
        made = self._made(uid)
        if made.svids:
            self._answers[uid] = (now, made)
        else:
            self._answers.pop(uid, None)  # strangers are not remembered: they may be many
        return made

    def _made(self, uid: int) -> Handout:
        plan = self._read_plan()
        accounts = self._accounts_of(uid, plan)
        svids = [self._svid(account, plan) for account in accounts]
        until = self._clock.now().timestamp()
        usable = tuple(svid for svid in svids if svid is not None and svid.until_s > until)
        if not usable:
            return _NOTHING
        bundles = dict(self._read_bundles())
        own = plan.trust_domain
        if own not in bundles:
            beside = SVIDFiles(self._directory(accounts[0])).bundle(own)
            bundles |= {own: beside} if beside is not None else {}
        ordered = tuple(bundles[name] for name in sorted(bundles) if bundles[name].roots)
        return Handout(usable, ordered, own)

    # --- files --------------------------------------------------------------------------------

    def _read_plan(self) -> Plan:
        state = state_of(self._plan_file)
        if state is not None and state != self._plan[0]:
            plan = read_plan(self._plan_file)
            if plan is not None:
                self._plan = (state, plan)
                self._accounts_until = float("-inf")
        return self._plan[1]

    def _accounts_of(self, uid: int, plan: Plan) -> tuple[Account, ...]:
        """Return the service accounts that are a certain user's."""
        now = self._clock.monotonic()
        if now >= self._accounts_until:
            self._accounts = {}
            for account in plan.accounts:
                try:
                    owner = owner_of(account.user)
                except IdentityError:
                    continue  # there is no such user; the daemon tells that where it issues
                whose = os.geteuid() if owner is None else owner[0]
                self._accounts[whose] = (*self._accounts.get(whose, ()), account)
            self._accounts_until = now + _USERS_AGAIN_S
        return self._accounts.get(uid, ())

    def _read_bundles(self) -> Bundles:
        path = self._run_dir / "policy.mesh"
        state = state_of(path)
        if state is not None and state != self._policy[0]:
            try:
                records = open_policy_file(path, trusted_owners(None))
                mesh = msgspec.json.decode(records.get("mesh") or b"{}", type=MeshRecord)
                self._policy = (state, read_bundles(records.get, mesh))
            except (OSError, MeshError, msgspec.MsgspecError) as error:
                self._tell(f"{path} cannot be read: {error}")
        return self._policy[1]

    def _svid(self, account: Account, plan: Plan) -> X509SVID | None:
        directory = self._directory(account)
        names = ("svid.pem", "tls.crt", "tls.key")
        state: _State = tuple(state_of(directory / name) for name in names)
        kept = self._kept.get(account)
        if kept is not None and kept[0] == state:
            return kept[1]
        svid = None
        if any(state):
            try:
                svid = self._read_svid(account, plan, directory)
            except (OSError, MeshError) as error:
                self._tell(f"{directory} cannot be used: {error}")
                # Read again at the next look; two files may be replaced one after the other.
                return None if kept is None else kept[1]
        self._kept[account] = (state, svid)
        return svid

    def _read_svid(self, account: Account, plan: Plan, directory: Path) -> X509SVID:
        if plan.provider == "embedded":
            # Written by the daemon; what a user put in its place is not even opened as root.
            with opened(directory) as place:
                owner = owner_of(account.user)
                owners = frozenset({os.geteuid() if owner is None else owner[0]})
                svid = X509SVID.from_pem(read_file(place, "svid.pem", owners))
        else:
            svid = read_svid(directory)
        expected = account.id_in(plan.trust_domain)
        if svid.id != expected:
            raise IdentityError(f"the SVID there is of {svid.id}, and not of {expected}")
        return svid

    def _directory(self, account: Account) -> Path:
        return self._run_dir / "identity" / account.namespace / account.name

    def _tell(self, sentence: str) -> None:
        if sentence not in self._told and len(self._told) < _MOST_TOLD:
            self._told.add(sentence)
            _log.error("the Workload API leaves an identity out: %s", sentence)
