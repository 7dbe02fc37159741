"""gunicorn's own asgi worker.

`install` replaces its `_serve`, in which it asks its loop for listeners: they are ours then. A
server that was given TLS of its own (`--certfile`) keeps it.
"""

from __future__ import annotations

import functools
from typing import Any

from meshware.runtime.mesh import Mesh
from meshware.servers.accept import listening

__all__ = ["install"]

_MARK = "_meshware_listens"


def install() -> None:
    """Have every asgi worker of gunicorn in this process speak as policy says. Idempotent."""
    from gunicorn.workers.gasgi import ASGIWorker  # type: ignore[import-untyped]

    original = ASGIWorker._serve
    if hasattr(original, _MARK):
        return

    @functools.wraps(original)
    async def serve(self: Any) -> None:
        mesh = Mesh.current()
        mesh.start()
        with listening(self.loop, mesh, _is_gunicorns):
            await original(self)

    setattr(serve, _MARK, True)
    ASGIWorker._serve = serve


def _is_gunicorns(factory: Any) -> bool:
    return getattr(factory, "__module__", "") == "gunicorn.workers.gasgi"
