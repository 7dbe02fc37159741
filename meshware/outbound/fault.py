"""Whether a fault on purpose happens to this call. Source: Envoy, fault filter."""

from __future__ import annotations

from random import Random

__all__ = ["ABORTED", "happens"]

ABORTED = "fault filter abort"
"""The body of a call that was aborted."""

_MILLION = 1_000_000


def happens(per_million: int, rng: Random) -> bool:
    """Draw whether something with this share happens; no chance is used up where it is certain.

    Args:
        per_million: 0 never, a million always.
        rng: the source of chance.
    """
    return per_million >= _MILLION or rng.random() * _MILLION < per_million
