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
from meshware.ca.plan import Account, Plan
from meshware.ca.tokens import TokenAuthority
from meshware.errors import IdentityError

__all__ = ["TOKEN_NAME", "TokenFiles"]

TOKEN_NAME = "token.json"

_MODE = 0o700
_TRY_AGAIN_S = 1.0


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
        self._run_dir = run_dir
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
        failed: OSError | IdentityError | None = None
        due_s: list[float] = []
        with opened(self._run_dir) as run, opened_ours(run, "identity") as top:
            for account in plan.accounts:
                if not may_go_on():
                    return now
                try:
                    due_s.append(self._keep_one(top, account, authority, now))
                except (OSError, IdentityError) as error:
                    failed = failed or error
                    due_s.append(now + _TRY_AGAIN_S)
        if failed is not None:
            raise failed
        return min(due_s, default=float("inf"))

    def remove_all(self, plan: Plan) -> None:
        """Remove every token: policy takes none any more."""
        self._kept.clear()
        with suppress(OSError), opened(self._run_dir) as run, opened_ours(run, "identity") as top:
            for account in plan.accounts:
                with (
                    suppress(OSError),
                    opened_ours(top, account.namespace) as middle,
                    step_into(middle, account.name, _MODE, owner_of(account.user)) as place,
                ):
                    _remove(place)

    def _keep_one(self, top: int, account: Account, authority: TokenAuthority, now: float) -> float:
        owner = owner_of(account.user)
        with (
            opened_ours(top, account.namespace) as middle,
            step_into(middle, account.name, _MODE, owner) as place,
        ):
            kept = self._kept.pop(account, None)
            found = signature(place, TOKEN_NAME)
            if kept is None or found != kept.written or now >= kept.renew_at:
                token = authority.issue(account.id_in(authority.trust_domain), now)
                written = write_file(place, TOKEN_NAME, token.json.encode(), owner)
                kept = _Kept(written, token.renew_at)
            self._kept[account] = kept
            return kept.renew_at


def _remove(place: int) -> None:
    with suppress(FileNotFoundError):
        os.unlink(TOKEN_NAME, dir_fd=place)
