"""Tell the mesh where this process is reached, as its server says, unless MESH_PORT does.

A process that listens on several ports has none of them as *its* port: then it stays unknown,
which is decided in the strictest way.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any

__all__ = ["reached_at", "reached_by"]

_found: set[int] = set()


def reached_at(port: int) -> None:
    """Note a port where a server of this process listens; 0 is none."""
    from meshware.runtime.mesh import Mesh

    if not port or os.environ.get("MESH_PORT"):
        return
    _found.add(port)
    Mesh.current().reached_at(port if len(_found) == 1 else None)


def reached_by(sockets: Iterable[Any]) -> None:
    """Note the ports of listening sockets; Unix sockets have none."""
    for sock in sockets:
        try:
            name = sock.getsockname()
        except OSError:
            continue  # closed meanwhile, so nothing is reached there
        if isinstance(name, tuple):
            reached_at(name[1])


def _forget() -> None:
    """In a child process: it says itself where it listens."""
    _found.clear()


os.register_at_fork(after_in_child=_forget)
