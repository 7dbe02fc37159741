"""Tags of spans whose values are written as access logs are. Source: Istio, `customTags.formatter`.

What has no value is left out, as in Envoy; a tag of which nothing is left is none.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING

from meshware.events import Event
from meshware.policy.telemetry_plan import LogPlan
from meshware.telemetry.log_entry import Entry, entry_of
from meshware.telemetry.log_lines import LineMaker, line_maker
from meshware.telemetry.log_values import Surroundings

if TYPE_CHECKING:
    from meshware.policy.snapshot import Snapshot

__all__ = ["TagFormats"]

_MOST_KEPT = 1000  # formats; policy may change for ever

Written = Callable[[str], str | None]
"""Write a call by a format; None: there is nothing to say."""


class TagFormats:
    """Compiles formats when they are first met. Safe from any thread.

    Args:
        environ: for `%ENVIRONMENT(X)%`.
        now: returns the aware UTC time.
    """

    def __init__(self, environ: Mapping[str, str], now: Callable[[], datetime]) -> None:
        self._around = Surroundings(environ, socket.gethostname())
        self._now = now
        self._compiled: dict[str, LineMaker | None] = {}

    def of(self, event: Event, snapshot: Snapshot | None) -> Written:
        """Return what writes one call, which is over.

        Args:
            event: how it went.
            snapshot: the policy that decided it.
        """
        entry: Entry | None = None

        def written(text: str) -> str | None:
            nonlocal entry
            line = self._line(text)
            if line is None:
                return None
            if entry is None:
                entry = entry_of(event, snapshot, self._now())
            return line(entry) or None

        return written

    def _line(self, text: str) -> LineMaker | None:
        if text not in self._compiled:
            if len(self._compiled) >= _MOST_KEPT:
                self._compiled.clear()
            plan = LogPlan(provider="tag", path=None, text=text, omits_empty=True)
            try:
                self._compiled[text] = line_maker(plan, self._around)
            except ValueError:
                self._compiled[text] = None  # policy was checked by another version
        return self._compiled[text]
