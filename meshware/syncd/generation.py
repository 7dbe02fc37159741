"""Decide the number of the next generation: larger than every one that anybody has seen.

Workers refuse what is older than what they have, so a number that went back would leave them on
old policy. The daemon looks everywhere a number may have survived: the file, the one before it,
its own state, and what live workers say they applied. The last is a claim, and must not be able to
use up the numbers: claims count only up to what a daemon can have reached by honest means.
"""

from __future__ import annotations

from collections.abc import Iterable

from meshware.errors import SyncError
from meshware.policy.file import MAX_GENERATION

__all__ = ["is_believable", "largest_claim", "next_generation"]

_PER_SECOND = 2
"""No daemon publishes more often, so no honest number is beyond twice the seconds since 1970."""


def is_believable(claim: int, now_s: float) -> bool:
    """Say whether a claimed generation can be true.

    Args:
        claim: what a worker says it applied.
        now_s: unix time in seconds. The end of integers is then 100,000 years of lying away.
    """
    return 0 < claim <= min(int(now_s) * _PER_SECOND, MAX_GENERATION // 2)


def largest_claim(claims: Iterable[int | None], now_s: float) -> int:
    """Return the largest generation that is claimed and can be true; 0 when there is none.

    Args:
        claims: generations that live workers say they applied.
        now_s: unix time in seconds.
    """
    return max(
        (claim for claim in claims if claim is not None and is_believable(claim, now_s)), default=0
    )


def next_generation(known: Iterable[int | None], claims: Iterable[int | None], now_s: float) -> int:
    """Return 1 + the largest generation that is known or can be true.

    Args:
        known: of the file on disk, the one before it, and the daemon's state; None where absent.
        claims: of live workers.
        now_s: unix time in seconds.

    Raises:
        SyncError: the numbers are used up, which only a forged file can bring about.
    """
    largest = max((number for number in known if number is not None), default=0)
    number = 1 + max(largest, largest_claim(claims, now_s))
    if number > MAX_GENERATION:
        raise SyncError(
            f"the policy file on disk says generation {largest}, and no larger one can follow; "
            "remove it with its .prev, and start workers and daemon anew"
        )
    return number
