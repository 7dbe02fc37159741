"""What a port of this process speaks now: the modes of PeerAuthentication, asked per connection."""

from __future__ import annotations

from typing import TYPE_CHECKING

from meshware.policy.peer_modes import mode_at
from meshware.policy.record_types import PeerMode

if TYPE_CHECKING:
    from meshware.runtime.mesh import Mesh

__all__ = ["mode_of", "spoken"]


def mode_of(mesh: Mesh, port: int | None) -> PeerMode:
    """Return the mode of a port.

    Args:
        mesh: whose policy says it.
        port: where the connection comes in; None: not known, so that the strictest mode holds.

    Returns:
        PERMISSIVE while there is no policy, or it does not know this workload: every call is
        answered 503 then, which takes a connection.
    """
    snapshot = mesh.cell.current
    if snapshot is None or snapshot.inbound is None:
        return "PERMISSIVE"
    return mode_at(snapshot.inbound.peer, port)


def spoken(mesh: Mesh, port: int | None) -> PeerMode:
    """Return what a server can speak on a port: its mode, or DISABLE in the place of PERMISSIVE.

    The latter where policy gives the workload no service account: it can prove nothing in TLS, and
    so an app without identities is served as it was before there were any.
    """
    mode = mode_of(mesh, port)
    if mode == "PERMISSIVE":
        snapshot = mesh.cell.current
        if snapshot is None or snapshot.id is None:
            return "DISABLE"
    return mode
