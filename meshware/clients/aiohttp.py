"""A client middleware for aiohttp that sends every request through the mesh.

::

    async with aiohttp.ClientSession(middlewares=(MeshClientMiddleware(),)) as session:
        async with session.get("http://reviews:9080/reviews/1") as response: ...

The response is aiohttp's own; `response.meshware` tells what the mesh did. Mesh destinations are
dialled where policy says, through the session's own connector, with `Host` as the caller wrote it.
Hosts that the mesh does not know are called as without it, through the session's proxies where it
has any. Put it last: middlewares before it see the call, those behind it each attempt.
"""

from __future__ import annotations

from aiohttp import ClientRequest, ClientResponse
from aiohttp.client_middlewares import ClientHandlerType

from meshware.clients.aiohttp_calls import Call
from meshware.clients.aiohttp_lives import Lives
from meshware.clients.current import mesh_or_current
from meshware.clients.mirrors import MirrorTasks
from meshware.outbound.drive import ExchangeSource

__all__ = ["MeshClientMiddleware"]


class MeshClientMiddleware:
    """The mesh as a middleware for `aiohttp.ClientSession`; one may serve many sessions.

    Args:
        mesh: None: the process-wide mesh.
    """

    def __init__(self, mesh: ExchangeSource | None = None) -> None:
        self._mesh = mesh
        self._mirrors = MirrorTasks()
        self._lives = Lives()

    async def __call__(self, request: ClientRequest, handler: ClientHandlerType) -> ClientResponse:
        """Send a request through the mesh; the session calls this.

        Raises:
            aiohttp.ClientError: as without the mesh, except that the failure of a mesh destination
                before its response headers is a response of the mesh's own.
            TimeoutError: the caller's time-out for the whole call has passed.
        """
        call = Call(request, handler, lives=self._lives, mirrors=self._mirrors)
        return await call.run(mesh_or_current(self._mesh))
