"""Which mode of mutual TLS a port of this process has at this moment."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from meshware.policy.record_types import PeerMode
    from meshware.runtime.mesh import Mesh

__all__ = ["mode_of"]

_STRICTER: tuple[PeerMode, ...] = ("DISABLE", "PERMISSIVE", "STRICT")


def mode_of(mesh: Mesh, port: int | None) -> PeerMode:
    """Return what the policy in force says of a port; asked for each connection.

    Args:
        mesh: whose policy.
        port: where the connection came in; None: not known, and the strictest of all modes holds.
    """
    snapshot = mesh.cell.current
    inbound = None if snapshot is None else snapshot.inbound
    if inbound is None:
        return "STRICT"  # no policy, or none that knows this workload
    modes = inbound.peer
    if port is not None:
        return modes.ports.get(str(port), modes.mode)
    return max((modes.mode, *modes.ports.values()), key=_STRICTER.index)
