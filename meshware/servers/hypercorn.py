"""hypercorn, with its asyncio workers.

`install` replaces `worker_serve`, in which hypercorn asks its loop for listeners: they are ours
then. A server that was given TLS of its own (`--certfile`) keeps it, and nobody is known there.
"""

from __future__ import annotations

import asyncio
import functools
from typing import Any

import hypercorn.asyncio
import hypercorn.asyncio.run

from meshware.runtime.mesh import Mesh
from meshware.servers.accept import listening

__all__ = ["install"]

_MARK = "_meshware_listens"


def install() -> None:
    """Have every asyncio server of hypercorn in this process speak as policy says. Idempotent."""
    original = hypercorn.asyncio.run.worker_serve
    if hasattr(original, _MARK):
        return

    @functools.wraps(original)
    async def worker_serve(*args: Any, **options: Any) -> None:
        mesh = Mesh.current()
        mesh.start()
        with listening(asyncio.get_running_loop(), mesh, _is_hypercorns):
            await original(*args, **options)

    setattr(worker_serve, _MARK, True)
    hypercorn.asyncio.run.worker_serve = worker_serve
    hypercorn.asyncio.worker_serve = worker_serve  # type: ignore[attr-defined]


def _is_hypercorns(factory: Any) -> bool:
    """Say whether a protocol will call hypercorn: `start_server` keeps whom in a closure."""
    for cell in getattr(factory, "__closure__", None) or ():
        callback = cell.cell_contents
        if getattr(callback, "__module__", "") == "hypercorn.asyncio.run":
            return True
    return False
