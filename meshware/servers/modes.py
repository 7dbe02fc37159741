"""Which connections a server takes now, as policy says; asked at each one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from meshware.policy.peer_modes import mode_at
from meshware.policy.record_types import PeerMode

if TYPE_CHECKING:
    from meshware.runtime.mesh import Mesh

__all__ = ["mode_of"]


def mode_of(mesh: Mesh, port: int | None) -> PeerMode:
    """Return the mode of a port of this process.

    Without policy, or with one that does not know this workload, connections are taken in
    plaintext: every call over them is answered 503. So it is where the workload has no identity
    and does not need one.

    Args:
        mesh: of the process.
        port: where the connection arrives; None: not known, so that the strictest mode holds.
    """
    snapshot = mesh.cell.current
    if snapshot is None or snapshot.inbound is None:
        return "DISABLE"
    mode = mode_at(snapshot.inbound.peer, port)
    if mode == "PERMISSIVE" and snapshot.id is None:
        return "DISABLE"
    return mode
