"""Keep the identity tokens of this node's service accounts: issued, renewed, put back.

Each lies as `token.json` beside `svid.pem`, with a key of its own, for the same user. It is written
anew at half of its life, when it was changed or removed, and when keys of the authority did.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from meshware.ca.guarded import opened, opened_ours, owner_of, signature, step_into, write_file
from meshware.ca.identities import TOKEN_NAME
from meshware.ca.plan import Account, Plan
from meshware.ca.tokens import TokenAuthority
from meshware.ca.turns import DIRECTORY_MODE, Turns

__all__ = ["TokenFiles", "remove_tokens"]


@dataclass(frozen=True, slots=True)
class _Kept:
    """What was written last."""

    written: tuple[int, ...]  # signature of the file
    renew_at: float  # unix seconds


class TokenFiles:
    """Keeps the tokens below a run directory. For one thread at a time.

    Args:
        run_dir: the run directory.
    """

    def __init__(self, run_dir: Path) -> None:
        self._run_dir = run_dir.resolve()
        self._turns = Turns(self._run_dir / "identity")
        self._kept: dict[Account, _Kept] = {}

    def keep(
        self, plan: Plan, authority: TokenAuthority, now: float, may_go_on: Callable[[], bool]
    ) -> float:
        """Do what is due now.

        Args:
            plan: whose tokens.
            authority: signs them.
            now: unix seconds.
            may_go_on: asked between two; what is left then is due at once.

        Returns:
            Unix seconds at which the next is due.

        Raises:
            OSError, IdentityError: the first that went wrong, after all were tried.
        """
        with opened(self._run_dir) as run, opened_ours(run, "identity") as top:
            return self._turns.take(
                plan.accounts,
                lambda account: self._keep_one(top, account, authority, now),
                now,
                may_go_on,
            )

    def _keep_one(self, top: int, account: Account, authority: TokenAuthority, now: float) -> float:
        owner = owner_of(account.user)
        with (
            opened_ours(top, account.namespace) as middle,
            step_into(middle, account.name, DIRECTORY_MODE, owner) as place,
        ):
            kept = self._kept.pop(account, None)
            found = signature(place, TOKEN_NAME)
            if kept is None or found != kept.written or now >= kept.renew_at:
                token = authority.issue(account.id_in(authority.trust_domain), now)
                written = write_file(place, TOKEN_NAME, token.json.encode(), owner)
                kept = _Kept(written, token.renew_at)
            self._kept[account] = kept
            return kept.renew_at


def remove_tokens(run_dir: Path) -> None:
    """Remove every token below a run directory, and touch nothing else: policy takes none."""
    with suppress(OSError), opened(run_dir.resolve()) as run, opened("identity", run) as top:
        for namespace in os.listdir(top):
            with suppress(OSError), opened(namespace, top) as middle:
                for name in os.listdir(middle):
                    with suppress(OSError), opened(name, middle) as place:
                        os.unlink(TOKEN_NAME, dir_fd=place)
