"""Go through a node's service accounts, a part at a time, so that none can hold up the others.

A turn ends when its time is up, and the next one begins where it stopped: an account whose files
take long, because of its user or of its disk, costs the others one turn and no more.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from meshware.ca.plan import Account
from meshware.errors import IdentityError

__all__ = ["DIRECTORY_MODE", "Turns"]

DIRECTORY_MODE = 0o700
"""Of the directory of an account, which is its user's own."""

_TRY_AGAIN_S = 1.0


class Turns:
    """Does something for each account. For one thread at a time.

    Args:
        place: the directory with a directory for each namespace, for messages.
    """

    def __init__(self, place: Path) -> None:
        self._place = place
        self._next: Account | None = None  # where the last turn stopped; None: it was whole

    def take(
        self,
        accounts: Sequence[Account],
        do: Callable[[Account], float],
        now_s: float,
        may_go_on: Callable[[], bool],
    ) -> float:
        """Do it for as many as there is time for, one at least.

        Args:
            accounts: all of them.
            do: returns the unix seconds at which it is due again for an account.
            now_s: unix seconds.
            may_go_on: asked between two accounts.

        Returns:
            Unix seconds at which something is due again.

        Raises:
            OSError, IdentityError: the first that went wrong, naming the account's directory, after
                all others had their turn.
        """
        first = accounts.index(self._next) if self._next in accounts else 0
        self._next = None
        failed: OSError | IdentityError | None = None
        due_s: list[float] = []
        for account in (*accounts[first:], *accounts[:first]):
            if due_s and not may_go_on():
                self._next = account
                due_s.append(now_s)
                break
            try:
                due_s.append(do(account))
            except (OSError, IdentityError) as error:
                failed = failed or self._about(error, account)
                due_s.append(now_s + _TRY_AGAIN_S)
        if failed is not None:
            raise failed
        return min(due_s, default=float("inf"))

    def _about(self, error: OSError | IdentityError, account: Account) -> OSError | IdentityError:
        """Return an error that names the identity that it is about."""
        where = f"{self._place}/{account.namespace}/{account.name}"
        if isinstance(error, OSError):
            error.filename, error.filename2 = where, None
            return error
        return IdentityError(f"{where}: {error}")
