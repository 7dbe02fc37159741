"""Stands for the module `asyncio` in the one module of a server that makes it listen.

So the loop itself is left alone, and whatever else an app listens to in this process: only the
server's own calls come here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import ModuleType
from typing import Any

from meshware.errors import SettingsError
from meshware.runtime.mesh import Mesh
from meshware.servers.accept import MeshLoop

__all__ = ["AsyncioOfServer", "stand_in"]


class AsyncioOfServer:
    """The module `asyncio`, but that what listens by it speaks as policy says."""

    def __getattr__(self, name: str) -> Any:
        return getattr(asyncio, name)

    def get_running_loop(self) -> MeshLoop:
        """Return the running loop."""
        return MeshLoop(asyncio.get_running_loop(), Mesh.current())

    async def start_server(
        self,
        client_connected_cb: Callable[..., Any],
        host: Any = None,
        port: Any = None,
        *,
        limit: int = 2**16,  # asyncio's
        **options: Any,
    ) -> Any:
        """Listen like `asyncio.start_server`."""
        loop = asyncio.get_running_loop()

        def factory() -> asyncio.StreamReaderProtocol:
            reader = asyncio.StreamReader(limit=limit, loop=loop)
            return asyncio.StreamReaderProtocol(reader, client_connected_cb, loop=loop)

        return await self.get_running_loop().create_server(factory, host, port, **options)


def stand_in(module: ModuleType) -> None:
    """Make a server's module listen by us. Idempotent.

    Raises:
        SettingsError: this version of the server listens in another way.
    """
    found = getattr(module, "asyncio", None)
    if isinstance(found, AsyncioOfServer):
        return
    if found is not asyncio:
        raise SettingsError(
            f"{module.__name__} is of a version that meshware does not know; "
            "take one that docs/how-to/tls-on-asgi-servers.md names"
        )
    vars(module)["asyncio"] = AsyncioOfServer()
