"""Decide when a burst of edits has settled, so that half of an edit is not read as the whole.

An editor saves several files, `git checkout` writes hundreds, a ConfigMap swaps its directory. A
reader that acts on the first event refuses half an edit and publishes ten times for one.

1. A change starts a burst, or goes on with it.
2. The burst has settled after `quiet_s` without a change, or `most_s` after its first change: who
   edits without a pause is published all the same, always within a second.
3. Two publishes are at least `apart_s` apart, however the changes come.
"""

from __future__ import annotations

__all__ = ["APART_S", "MOST_S", "QUIET_S", "Settle"]

QUIET_S = 0.15
"""Longer than a save of several files takes, shorter than anybody notices."""

MOST_S = 0.6
"""With the time to notice an edit (0.1 s) and to read 300 resources (0.15 s): below a second."""

APART_S = 0.5
"""Two publishes a second at most: each makes every worker on the node compile."""


class Settle:
    """Says when to read the sources. It has no clock; the caller tells the time in seconds."""

    def __init__(
        self, *, quiet_s: float = QUIET_S, most_s: float = MOST_S, apart_s: float = APART_S
    ) -> None:
        self._quiet_s = quiet_s
        self._most_s = most_s
        self._apart_s = apart_s
        self._first: float | None = None  # change of this burst
        self._last = 0.0
        self._not_before = float("-inf")

    def changed(self, now: float) -> None:
        """Note that something changed."""
        if self._first is None:
            self._first = now
        self._last = now

    def published(self, now: float) -> None:
        """Note that policy was published."""
        self._not_before = now + self._apart_s

    def due_at(self) -> float | None:
        """Return when to read, as far as is known now; None: nothing has changed."""
        if self._first is None:
            return None
        settled = min(self._last + self._quiet_s, self._first + self._most_s)
        return max(settled, self._not_before)

    def take(self) -> None:
        """Note that the sources are read from now on: what changed before is taken care of."""
        self._first = None
