"""Choose among levels and localities of endpoints, by how many of them are well.

Source: Envoy, "Priority levels", "Panic threshold", "Locality weighted load balancing":
`load_balancer_impl.cc`. Differs: the locality is drawn where Envoy takes turns.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from meshware.policy.locality import Level

__all__ = ["choose_group", "choose_level", "loads"]

_OVERPROVISIONED = 1.4  # Envoy: a level is full until fewer than 5 of 7 of its endpoints are well


def loads(
    levels: Sequence[Level],
    out: frozenset[str],
    min_health_percent: float,
    passed_over: Collection[int] = (),
) -> list[tuple[float, bool]]:
    """Return the share of calls of each level, and whether its ejected endpoints are used too.

    Args:
        levels: nearest first.
        out: keys of ejected endpoints.
        min_health_percent: fewer well ones than that, and all are used; 0 is off.
        passed_over: indexes of levels to leave out while another can be used.

    Returns:
        Shares that add up to 1, or to 0 when nobody can be called.
    """
    well = [1 - len(level.keys & out) / len(level.keys) if out else 1.0 for level in levels]
    able = [min(1.0, share * _OVERPROVISIONED) for share in well]
    if passed_over:
        kept = [0.0 if index in passed_over else share for index, share in enumerate(able)]
        if any(kept):
            able = kept
    if sum(able) >= 1:
        return [(share, False) for share in _filled(able, 1.0)]
    panics = [100 * share < min_health_percent for share in well]
    if all(panics):  # everybody is called, as there is nobody better
        total = sum(len(level.keys) for level in levels)
        return [(len(level.keys) / total, True) for level in levels]
    total_able = sum(able)
    if not total_able:
        return [(0.0, False)] * len(levels)
    shares = _filled([share / total_able for share in able], 1.0)
    return list(zip(shares, panics, strict=True))


def _filled(able: Sequence[float], left: float) -> list[float]:
    """Give each level what it is able to take of what is left."""
    shares = []
    for share in able:
        taken = min(share, left)
        shares.append(taken)
        left -= taken
    return shares


def choose_level(shares: Sequence[tuple[float, bool]], drawn: float) -> int | None:
    """Return the index of a level; None: nobody can be called.

    Args:
        shares: of the levels.
        drawn: from 0 to below 1.
    """
    last = None
    for index, (share, _) in enumerate(shares):
        if share <= 0:
            continue
        if drawn < share:
            return index
        drawn -= share
        last = index
    return last  # what rounding left over


def choose_group(level: Level, out: frozenset[str], drawn: float) -> int | None:
    """Return the index of a locality, drawn by weight and by how many of its endpoints are well.

    Args:
        level: chosen before.
        out: keys of endpoints that are not called now.
        drawn: from 0 to below 1.
    """
    groups = level.groups
    if len(groups) == 1:
        return 0
    weights = []
    for group in groups:
        count = len(group.endpoints)
        well = count - sum(e.key in out for e in group.endpoints) if out else count
        weights.append(group.weight * min(1.0, _OVERPROVISIONED * well / count))
    total = sum(weights)
    if not total:
        return None
    return choose_level([(weight / total, False) for weight in weights], drawn)
