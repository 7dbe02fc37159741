"""What the mesh carries out of each field: one table, for refusing and for the reference.

A path names a field of a kind, `[]` for the items of a list, `{}` for the values of a mapping; a
path without an entry has the status of the nearest one above it. Nothing is ignored in silence:
`decode` refuses what is `LATER` or `NOT_APPLICABLE`, wherever it is written.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from types import MappingProxyType

from meshware.policy.support.networking import NETWORKING
from meshware.policy.support.ours import OURS
from meshware.policy.support.security import SECURITY
from meshware.policy.support.status import Status, Support, done
from meshware.policy.support.telemetry import PROVIDERS, TELEMETRY

__all__ = ["SUPPORT", "is_partly_done", "support_of"]

SUPPORT: Mapping[str, Support] = MappingProxyType(
    {**NETWORKING, **SECURITY, **TELEMETRY, **OURS, **PROVIDERS}
)
"""Field path -> status."""


@cache
def support_of(path: str) -> Support:
    """Return the status of a field: its own, else that of the nearest field above it."""
    while path:
        found = SUPPORT.get(path)
        if found is not None:
            return found
        path = path[:-2] if path.endswith(("[]", "{}")) else path.rpartition(".")[0]
    return done()


@cache
def is_partly_done(path: str) -> bool:
    """Say whether part of a field that is not supported yet is carried out all the same."""
    return any(
        below.startswith((f"{path}.", f"{path}["))
        and support.status in (Status.DONE, Status.DIFFERS)
        for below, support in SUPPORT.items()
    )
