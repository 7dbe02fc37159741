"""Decide when an SVID is renewed: at half of its life, and a little earlier for most.

1. Half of the life is left when a new one is there, so that whoever renews may be away for almost
   that long, and nobody notices.
2. Many made in one moment are not renewed in one moment: each draws its part of the last twentieth
   before half-life. The draw comes from the certificate itself, so it is the same at each look and
   after a restart.
3. What outlives a shorter life that policy has set since is renewed at once.
"""

from __future__ import annotations

from meshware.identity.issue import CLOCKS_DIFFER_S
from meshware.identity.svid import X509SVID

__all__ = ["renew_at"]

_HALF = 0.5
_SPREAD = 0.05  # of the life, before its half
_SLACK_S = 1.0  # certificates tell whole seconds


def renew_at(svid: X509SVID, life_s: float) -> float:
    """Return the unix time at which an SVID that our authority issued is to be renewed.

    Args:
        svid: as issued by `identity.issue`.
        life_s: seconds that policy gives to one that is issued now.

    Returns:
        Unix seconds; 0 for one that lives longer than it would if it were issued now.
    """
    # It begins a little before it was made: the clocks of two machines differ.
    begin = min(svid.from_s + CLOCKS_DIFFER_S, svid.until_s)
    life = svid.until_s - begin
    if life > life_s + _SLACK_S:
        return 0.0
    drawn = int(svid.digest[:8], 16) / 0xFFFFFFFF
    return begin + life * (_HALF - _SPREAD * drawn)
