"""Look after the identities of one run directory, as the policy in force wants it.

The keeper says when; this puts together the authority, the files that it issues, and the bundle
that is published with policy.

1. `settled`: new policy has come. With `provider: embedded` and a service account the authority is
   opened, or made; a mesh without service accounts has none. Where that policy is refused after
   all, what held before goes on. Until policy was read once, nothing is issued and nothing removed.
2. `dressed`: records about to be published get the bundle of the own trust domain.
3. `look`: what is due is issued, renewed or put back; a change of root goes a step further.
4. With `provider: files` nothing is written below `identity/`; the roots that lie there are
   published. With `workload-api` there is neither.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import msgspec

from meshware.ca.plan import Plan, plan_of, read_plan, write_plan
from meshware.ca.requests import read_request
from meshware.clock import Clock
from meshware.errors import MeshError
from meshware.policy.parse import Resource
from meshware.policy.record_types import BundleRecord, MeshRecord
from meshware.policy.snapshot import read_bundles
from meshware.runtime.reporter import Report
from meshware.syncd.places import Places

if TYPE_CHECKING:  # what imports `cryptography` is imported where it is used
    from meshware.ca.authority import EmbeddedAuthority
    from meshware.ca.found import FoundAuthorities
    from meshware.ca.given import GivenAuthority
    from meshware.ca.identities import IdentityFiles
    from meshware.ca.rotate import RootChange
    from meshware.ca.token_files import TokenFiles
    from meshware.ca.tokens import TokenAuthority
    from meshware.identity.bundle import Bundle

__all__ = ["Identities"]

Records = Mapping[str, bytes]

_MOST_S = 0.2
"""Spent on issuing in one go: an edit of policy is not to wait for a thousand keys."""

_SOON_S = 30 * 86400.0


class Identities:
    """The identities of one run directory. For the keeper's thread alone.

    Args:
        places: where everything lies.
        clock: the machine's.
        note: told what a person wants to know.
        last_records: returns what was published last by any daemon.
    """

    def __init__(
        self,
        places: Places,
        clock: Clock,
        note: Callable[[str], None],
        last_records: Callable[[], Records],
    ) -> None:
        self._places = places
        self._clock = clock
        self._note = note
        self._last_records = last_records
        self._plan: Plan | None = None  # None: nobody has said yet who is to have an identity
        self._plan_kept = read_plan(places.plan_file)
        self._authority: EmbeddedAuthority | GivenAuthority | None = None
        self._files: IdentityFiles | None = None
        self._tokens: TokenAuthority | None = None
        self._token_files: TokenFiles | None = None
        self._found: FoundAuthorities | None = None
        self._change: RootChange | None = None
        self._told: set[str] = set()
        self._cleared_for: Plan | None = None  # whose left-over keys were looked for
        self._no_tokens_for: Plan | None = None  # likewise, of tokens
        self._record: tuple[str, tuple[dict[str, str], ...], bytes] | None = None

    @contextlib.contextmanager
    def settled(self, resources: Sequence[Resource]) -> Iterator[None]:
        """Take up what new policy says, unless its publishing within fails.

        Raises:
            SyncError: the authority cannot be used, or must not be made.
            OSError: a file cannot be read or written.
        """
        before = self._plan, self._authority, self._tokens
        try:
            self._take(plan_of(resources))
            yield
        except BaseException:
            self._plan, self._authority, self._tokens = before
            raise

    def restore(self) -> None:
        """Take up what policy said when it was read last, by any daemon.

        Raises:
            SyncError: the authority cannot be used, or must not be made.
            OSError: a file cannot be read or written.
        """
        if self._plan_kept is not None:
            self._take(self._plan_kept)

    def dressed(self, records: Records) -> Records:
        """Return records with the bundle of the own trust domain, as far as there is one."""
        bundle = self._bundle()
        if bundle is None:
            return records
        key = f"bundle/{bundle.trust_domain}"
        tokens: tuple[dict[str, str], ...] = ()
        if self._tokens is not None:
            keys = self._tokens.public_keys(self._clock.now().timestamp())
            tokens = tuple(dict(each) for each in keys)
        made = self._record
        if made is None or made[:2] != (bundle.digest, tokens):
            encoded = msgspec.json.encode(_record(bundle, tokens))
            made = self._record = (bundle.digest, tokens, encoded)
        return {**records, key: made[2]}

    def look(self, published: Records, live: Sequence[Report], *, is_in_place: bool) -> float:
        """Do what is due now.

        Args:
            published: the records that are published, or about to be.
            live: what live workers report.
            is_in_place: they are published, with the bundle of now.

        Returns:
            Seconds until something is due; infinity: nothing will be.

        Raises:
            OSError, MeshError: something went wrong; all else was done.
        """
        failed: list[OSError | MeshError] = []
        plan, due_s = self._plan, float("inf")
        if plan is not None:
            for step in (self._keep_plan, self._make_report_places):
                with _noted(failed):
                    step(plan)
        with _noted(failed):
            self._change_root(published, live, is_in_place=is_in_place)
        if plan is not None:
            with _noted(failed):
                due_s = self._keep_files(plan, failed)
            with _noted(failed):
                due_s = min(due_s, self._keep_tokens(plan))
        if failed:
            raise failed[0]
        return due_s

    # --- the parts of a look, none of which keeps the others from being done ------------------

    def _keep_plan(self, plan: Plan) -> None:
        is_there = self._places.plan_file.exists()
        if (is_there or plan.accounts) and (plan != self._plan_kept or not is_there):
            write_plan(self._places.plan_file, plan)
            self._plan_kept = plan

    def _make_report_places(self, plan: Plan) -> None:
        if plan.reports:
            from meshware.ca.report_places import make_report_places

            make_report_places(self._places.reports, plan)

    def _keep_files(self, plan: Plan, failed: list[OSError | MeshError]) -> float:
        authority = self._authority
        if authority is None:
            if plan.provider == "embedded" and self._is_left_over(plan):
                self._identity_files().remove_all()
            self._cleared_for = plan
            return float("inf")
        self._cleared_for = None
        now = self._clock.now()
        with _noted(failed):  # what it has issues all the same, if it may
            authority.look(now, plan.leaf_life_s, plan.denied)
            self._warn(authority)
        until = self._clock.monotonic() + _MOST_S
        due_s = self._identity_files().keep(
            plan, authority, now, lambda: self._clock.monotonic() <= until
        )
        return max(0.0, due_s - self._clock.now().timestamp())

    def _keep_tokens(self, plan: Plan) -> float:
        from meshware.ca.token_files import TokenFiles, remove_tokens

        if self._tokens is None:
            if plan.provider == "embedded" and plan != self._no_tokens_for:
                remove_tokens(self._places.run_dir)
            self._no_tokens_for, self._token_files = plan, None
            return float("inf")
        self._no_tokens_for = None
        if self._token_files is None:
            self._token_files = TokenFiles(self._places.run_dir)
        now = self._clock.now().timestamp()
        if self._tokens.is_due(now):
            self._tokens.rotate(now)
        until = self._clock.monotonic() + _MOST_S
        due_s = self._token_files.keep(
            plan, self._tokens, now, lambda: self._clock.monotonic() <= until
        )
        return max(0.0, due_s - now)

    def _identity_files(self) -> IdentityFiles:
        from meshware.ca.identities import IdentityFiles

        if self._files is None:
            self._files = IdentityFiles(self._places.run_dir)
        return self._files

    def _is_left_over(self, plan: Plan) -> bool:
        """Say whether there may be keys of ours that nobody is to have any more."""
        return (
            plan != self._cleared_for
            and self._places.authorities.is_dir()
            and (self._places.run_dir / "identity").is_dir()
        )

    # --- inside -------------------------------------------------------------------------------

    def _take(self, plan: Plan) -> None:
        authority = self._authority
        if plan.provider != "embedded" or not plan.accounts:
            authority = None
        elif authority is None or authority.trust_domain != plan.trust_domain:
            authority = self._open(plan.trust_domain)
        self._plan, self._authority = plan, authority
        self._take_tokens(plan, is_ours=authority is not None)
        if authority is not None:
            # Before the bundle is published: an authority that policy denies is followed first.
            try:
                authority.look(self._clock.now(), plan.leaf_life_s, plan.denied)
            except MeshError as error:
                self._tell(str(error))

    def _take_tokens(self, plan: Plan, *, is_ours: bool) -> None:
        """Open the token authority where some workload takes tokens and identities are ours."""
        if not (is_ours and plan.has_tokens):
            self._tokens = None
        elif self._tokens is None or self._tokens.trust_domain != plan.trust_domain:
            from meshware.ca.store import Store
            from meshware.ca.tokens import TokenAuthority

            directory = Store(self._places.authorities, plan.trust_domain).directory
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            now = self._clock.now().timestamp()
            self._tokens = TokenAuthority(directory, plan.trust_domain, now)

    def _open(self, trust_domain: str) -> EmbeddedAuthority | GivenAuthority:
        now = self._clock.now()
        if self._places.ca_dir is not None:
            from meshware.ca.given import GivenAuthority

            return GivenAuthority(self._places.ca_dir, trust_domain, now)
        from meshware.ca.authority import EmbeddedAuthority
        from meshware.ca.store import Store

        store = Store(self._places.authorities, trust_domain)
        if store.exists():
            return EmbeddedAuthority.open(store, trust_domain, now)
        return EmbeddedAuthority.open(store, trust_domain, now, self._bundle_in(trust_domain))

    def _bundle_in(self, trust_domain: str) -> str | None:
        """Return where a bundle of a trust domain lies already; None: nowhere."""
        from meshware.ca.found import has_bundle, identity_files

        identities = self._places.run_dir / "identity"
        where = [
            str(directory)
            for directory in identity_files(identities)
            if has_bundle(directory, trust_domain)
        ]
        if f"bundle/{trust_domain}" in self._last_records():
            files = (self._places.policy_file, self._places.last_file)
            where = [str(path) for path in files if path.exists()] + where
        if len(where) > 3:
            where = [*where[:2], f"{len(where) - 2} more places"]
        return " and ".join(where) or None

    def _bundle(self) -> Bundle | None:
        if self._authority is not None:
            return self._authority.bundle
        if self._plan is None or self._plan.provider != "files":
            return None
        if self._found is None:
            from meshware.ca.found import FoundAuthorities

            self._found = FoundAuthorities(self._places.run_dir, self._tell)
        return self._found.bundle(self._plan.trust_domain)

    def _change_root(
        self, published: Records, live: Sequence[Report], *, is_in_place: bool
    ) -> None:
        if self._authority is None and read_request(self._places.state_dir) is None:
            return
        from meshware.ca.authority import EmbeddedAuthority
        from meshware.ca.rotate import RootChange

        if self._change is None:
            self._change = RootChange(self._places.state_dir)
        authority = self._authority
        embedded = authority if isinstance(authority, EmbeddedAuthority) else None
        if authority is not None:
            refusal = (
                f"the root is not here: it is kept beside {self._places.ca_dir}; put the new root "
                "into root.crt on every node, then new intermediates, then remove the old root"
            )
        elif self._plan is not None and self._plan.provider != "embedded":
            refusal = f"identities come from elsewhere (identity.provider: {self._plan.provider})"
        else:
            refusal = "there is no authority: no workload has a service account"
        now = self._clock.now()
        before = None if embedded is None else embedded.state
        self._change.look(embedded, refusal, now)
        if embedded is not None and is_in_place and embedded.state == before:
            expected = ""
            if embedded.state.rotation is not None:
                mesh = msgspec.json.decode(published["mesh"], type=MeshRecord)
                expected = read_bundles(published.get, mesh).digest
            self._change.step(embedded, expected, live, now)

    def _warn(self, authority: EmbeddedAuthority | GivenAuthority) -> None:
        """Tell, once, that something ends that only an operator can follow by another."""
        for root in authority.bundle.roots:
            left_s = root.not_valid_after_utc.timestamp() - self._clock.now().timestamp()
            if left_s < 12 * _SOON_S and len(authority.bundle.roots) == 1:
                self._tell(
                    f"the root of {authority.trust_domain} ends at "
                    f"{root.not_valid_after_utc:%FT%TZ}: change it by `meshware cert rotate-root`"
                )
        until = authority.until
        if until is not None and until.timestamp() - self._clock.now().timestamp() < _SOON_S:
            self._tell(
                f"the authority in {self._places.ca_dir} ends at {until:%FT%TZ}: put another there "
                "(`meshware cert issue-intermediate`)"
            )

    def _tell(self, sentence: str) -> None:
        if sentence not in self._told:
            self._told.add(sentence)
            self._note(sentence)


@contextlib.contextmanager
def _noted(failed: list[OSError | MeshError]) -> Iterator[None]:
    """Do something that may fail, and keep what went wrong for later."""
    try:
        yield
    except (OSError, MeshError) as error:
        failed.append(error)


def _record(bundle: Bundle, tokens: tuple[dict[str, str], ...]) -> BundleRecord:
    from cryptography.hazmat.primitives.serialization import Encoding

    return BundleRecord(
        trust_domain=bundle.trust_domain,
        roots=tuple(each.public_bytes(Encoding.PEM).decode() for each in bundle.roots),
        intermediates=tuple(
            each.public_bytes(Encoding.PEM).decode() for each in bundle.intermediates
        ),
        tokens=tokens,
    )
