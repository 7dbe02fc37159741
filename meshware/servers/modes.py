"""What a port of this process speaks now: the modes of PeerAuthentication, asked per connection."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

from meshware.policy.peer_modes import mode_at
from meshware.policy.record_types import PeerMode
from meshware.policy.snapshot import Snapshot

if TYPE_CHECKING:
    from meshware.runtime.mesh import Mesh

__all__ = ["HANDSHAKE_BYTE", "mode_of", "port_of", "spoken"]

HANDSHAKE_BYTE = b"\x16"
"""The first byte of TLS, and of no request of HTTP. Source: RFC 8446 5.1, content type 22."""


def mode_of(mesh: Mesh, port: int | None) -> PeerMode:
    """Return the mode of a port.

    Args:
        mesh: whose policy says it.
        port: where the connection comes in; None: not known, so that the strictest mode holds.

    Returns:
        PERMISSIVE while there is no policy, or it does not know this workload: every call is
        answered 503 then, which takes a connection.
    """
    return _mode_in(mesh.cell.current, port)


def spoken(mesh: Mesh, port: int | None) -> PeerMode:
    """Return what a server can speak on a port: its mode, or DISABLE in the place of PERMISSIVE.

    The latter where policy gives the workload no service account: it can prove nothing in TLS, and
    so an app without identities is served as it was before there were any.
    """
    snapshot = mesh.cell.current
    mode = _mode_in(snapshot, port)
    if mode == "PERMISSIVE" and (snapshot is None or snapshot.id is None):
        return "DISABLE"
    return mode


def port_of(connection: socket.socket) -> int | None:
    """Return the port of a socket of this process; None: it has none, or is gone already.

    A server that inherits a descriptor may be wrong about its family; the address is not.
    """
    try:
        here = connection.getsockname()
    except OSError:
        return None
    return here[1] if isinstance(here, tuple) else None


def _mode_in(snapshot: Snapshot | None, port: int | None) -> PeerMode:
    if snapshot is None or snapshot.inbound is None:
        return "PERMISSIVE"
    return mode_at(snapshot.inbound.peer, port)
