"""Remember the proofs that were used, so that each is good for one call.

Of this process alone: another worker, or another replica with the same ID, has not seen them. That
bounds a replay to the receivers of one ID within a proof's life, and does not rule it out.

1. A proof is remembered until it cannot be valid any more; then its slice of time goes whole.
2. Memory has a bound. When it is full of proofs that may still come again, a new one is *refused*:
   to forget one instead would let whoever can make many calls replay any of them.
3. No single key may hold more than a part of it, so that a caller who floods shuts out itself.

The clock that is handed in may step back: slices that went do not come back, and what is expired
then is refused by its `exp` as soon as the clock has caught up; until then it is refused here.
"""

from __future__ import annotations

import hashlib
from threading import Lock

__all__ = ["MAX_PROOFS", "ReplayCache"]

MAX_PROOFS = 131_072
"""About 18 MB when full. A proof is remembered for 40 to 56 s, so that is above 2,300 calls a
second, half of them from one caller: more than a worker of Python's can answer."""

_SLICE_S = 16
_SHARE = 2  # a key may hold one part in so many


class _Slice:
    """The proofs that end within the same seconds."""

    __slots__ = ("by_key", "seen")

    def __init__(self) -> None:
        self.seen: set[bytes] = set()
        self.by_key: dict[str, int] = {}


class ReplayCache:
    """Says of a proof whether it was used before. Safe to use from any thread.

    Args:
        most: proofs that are remembered at once.
    """

    def __init__(self, most: int = MAX_PROOFS) -> None:
        self._most = most
        self._slices: dict[int, _Slice] = {}
        self._count = 0
        self._by_key: dict[str, int] = {}  # the same, for each key
        self._gone_until = float("-inf")
        self.renew()

    def renew(self) -> None:
        """Forget, in a child process, the lock of the parent; what it saw stays seen."""
        self._lock = Lock()

    def seen(self, jti: str, thumbprint: str, until: float, now: float) -> bool:
        """Say whether a proof must not be used; else it is used with this.

        Args:
            jti: of the proof.
            thumbprint: of the key that signed it.
            until: unix seconds from which nobody takes it, leeway included.
            now: unix seconds.
        """
        name = hashlib.sha256(f"{thumbprint}\n{jti}".encode()).digest()[:16]
        with self._lock:
            self._forget(now)
            if until <= self._gone_until:
                return True  # the clock went back: it may have been seen in what is forgotten
            for one in self._slices.values():
                if name in one.seen:
                    return True
            of_key = self._by_key.get(thumbprint, 0)
            if self._count >= self._most or of_key >= self._most // _SHARE:
                return True
            own = self._slices.setdefault(int(until // _SLICE_S), _Slice())
            own.seen.add(name)
            own.by_key[thumbprint] = own.by_key.get(thumbprint, 0) + 1
            self._count += 1
            self._by_key[thumbprint] = of_key + 1
            return False

    def __len__(self) -> int:
        """How many proofs are remembered."""
        return self._count

    def _forget(self, now: float) -> None:
        for number in [each for each in self._slices if (each + 1) * _SLICE_S <= now]:
            gone = self._slices.pop(number)
            self._count -= len(gone.seen)
            for key, count in gone.by_key.items():
                left = self._by_key[key] - count
                if left:
                    self._by_key[key] = left
                else:
                    del self._by_key[key]
            self._gone_until = max(self._gone_until, (number + 1.0) * _SLICE_S)
