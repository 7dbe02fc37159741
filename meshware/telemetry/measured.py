"""Whose counts are told where there is no daemon: those of one mesh, of this process."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from meshware.telemetry.report import Counted

__all__ = ["Measured", "MeshOf", "counted_by"]

_LEFT_OUT = "meshware_telemetry_left_out_total"


class Measured(Protocol):
    """A `meshware.Mesh`, as far as its counts go."""

    def counted(self) -> Counted:
        """Return what it has counted, in a copy that nobody changes."""


MeshOf = Measured | Callable[[], Measured]
"""A mesh, or what returns one when it is asked for: `Mesh.current`, before the process forks."""


def counted_by(mesh: MeshOf) -> Counted:
    """Return what a mesh has counted, what was left out with the other counters."""
    found = mesh() if callable(mesh) else mesh
    counted = found.counted()
    counted.counters[(_LEFT_OUT, ())] = counted.left_out
    return counted
