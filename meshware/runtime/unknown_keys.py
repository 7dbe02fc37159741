"""Remember whose keys were asked for and not there, until somebody has time for it."""

from __future__ import annotations

from collections.abc import Sequence

from meshware.policy.jwks_records import jwks_key

__all__ = ["MOST_UNKNOWN", "UnknownKeys"]

MOST_UNKNOWN = 32
"""Addresses that are remembered at a time: more issuers than a workload has."""


class UnknownKeys:
    """The addresses whose keys lack one that a token names. Safe from any thread; waits for nobody.

    A thousand such tokens a second are noted as one.
    """

    __slots__ = ("_met",)

    def __init__(self) -> None:
        self._met: set[str] = set()

    def note(self, uri: str) -> None:
        """Note an address; called while a call is decided."""
        met = self._met
        if len(met) < MOST_UNKNOWN:
            met.add(uri)

    def take(self) -> Sequence[str]:
        """Return the keys of the records of what was noted since the last time, sorted."""
        if not self._met:
            return ()
        met, self._met = self._met, set()
        return sorted(jwks_key(uri) for uri in tuple(met))
