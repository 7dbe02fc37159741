"""The mesh that a client without one of its own uses."""

from __future__ import annotations

from meshware.outbound.drive import ExchangeSource

__all__ = ["mesh_or_current"]


def mesh_or_current(mesh: ExchangeSource | None) -> ExchangeSource:
    """Return a mesh, or the process-wide one, following policy from now on at the latest.

    Asked at each call and not at construction: a client is often made at import, before a fork.
    """
    if mesh is None:
        from meshware.runtime.mesh import Mesh

        mesh = Mesh.current()
    mesh.start()
    return mesh
