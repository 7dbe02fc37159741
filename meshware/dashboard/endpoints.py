"""Endpoints of services, as their callers find them: attempts, failures, and who has ejected them.

Each worker decides by itself whom it ejects, so an endpoint may be out for some of its callers and
in for others.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any

from meshware.dashboard.data import EndpointSeen, Sample
from meshware.dashboard.window import Rises, Window, counts_of, figures_of

__all__ = ["MOST_LISTED", "Endpoints"]

MOST_LISTED = 200
"""Endpoints of one service, those in trouble first."""

_WINDOW_S = 60


@dataclass(frozen=True, slots=True)
class _Known:
    service: str
    address: str
    ejected_by: int


class Endpoints:
    """What all callers found of late. Not for several threads at once."""

    def __init__(self) -> None:
        self._rises = Rises()
        self._window = Window()
        self._known: dict[str, _Known] = {}

    def look(self, seen: Iterable[EndpointSeen], seconds: int = 1) -> None:
        """Take up what is known by now.

        Args:
            seen: of every endpoint; counters only rise.
            seconds: since the last time.
        """
        known, samples = {}, []
        for each in seen:
            name = f"{each.service} {each.address}"
            known[name] = _Known(each.service, each.address, each.ejected_by)
            samples.append(
                Sample(labels={"endpoint": name}, requests=each.attempts, errors=each.failed)
            )
        self._known = known
        rows = {
            sample.labels["endpoint"]: counts_of(sample.requests, sample.errors, 0, ())
            for sample in self._rises.of(samples)
        }
        self._window.add(rows, seconds)

    def of(self, services: Collection[str]) -> list[dict[str, Any]]:
        """Return the endpoints of services by their hosts, with rates of the last minute."""
        totals, seconds = self._window.totals(_WINDOW_S)
        found: list[dict[str, Any]] = []
        for name, known in self._known.items():
            if known.service not in services:
                continue
            figures = figures_of(totals.get(name) or (0.0, 0.0, 0.0), seconds)
            found.append(
                {
                    "address": known.address,
                    "rate": figures.rate,
                    "error_share": figures.error_share if figures.rate else None,
                    "ejected": known.ejected_by > 0,
                    "ejected_by": known.ejected_by,
                }
            )
        found.sort(key=lambda each: (-each["ejected_by"], each["address"]))
        return found[:MOST_LISTED]
