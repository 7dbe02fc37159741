"""Which workloads a selector selects."""

from __future__ import annotations

from collections.abc import Mapping

from meshware.policy.document.common import Labels

__all__ = ["selects"]


def selects(selector: Labels | None, labels: Mapping[str, str]) -> bool:
    """Say whether labels satisfy an equality selector; none or an empty one selects all."""
    return all(labels.get(name) == value for name, value in (selector or {}).items())
