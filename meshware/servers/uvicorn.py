"""uvicorn, and every worker of gunicorn that is made of it.

`install` replaces `uvicorn.Server.startup`, in which uvicorn asks its loop for listeners: they are
ours then, so that its port speaks as policy says. A server that was given TLS of its own
(`--ssl-keyfile`) keeps it.
"""

from __future__ import annotations

import asyncio
import functools
import socket
from typing import Any

import uvicorn.server

from meshware.runtime.mesh import Mesh
from meshware.servers.accept import listening

__all__ = ["install"]

_MARK = "_meshware_listens"


def install() -> None:
    """Have every server of uvicorn in this process speak as policy says. Idempotent."""
    original = uvicorn.server.Server.startup
    if hasattr(original, _MARK):
        return

    @functools.wraps(original)
    async def startup(self: Any, sockets: list[socket.socket] | None = None) -> None:
        mesh = Mesh.current()
        mesh.start()
        if mesh.port is None:
            mesh.port = _port_of(self.config, sockets)
        with listening(asyncio.get_running_loop(), mesh, _is_uvicorns):
            await original(self, sockets)

    setattr(startup, _MARK, True)
    uvicorn.server.Server.startup = startup  # type: ignore[method-assign]


def _is_uvicorns(factory: Any) -> bool:
    return getattr(factory, "__module__", "") == "uvicorn.server"


def _port_of(config: Any, sockets: list[socket.socket] | None) -> int | None:
    for sock in sockets or ():
        if sock.family in (socket.AF_INET, socket.AF_INET6):
            port: int = sock.getsockname()[1]
            return port
    if config.fd is None and config.uds is None and config.port:
        return int(config.port)
    return None
