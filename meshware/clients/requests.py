"""An adapter for requests that sends every request through the mesh.

::

    session = requests.Session()
    session.mount("http://", MeshAdapter())
    session.mount("https://", MeshAdapter())

The response is requests' own; `response.meshware` tells what the mesh did. Mesh destinations are
dialled where policy says, with `Host` as the caller wrote it. Hosts that the mesh does not know are
called as without it: with the session's proxies, certificates and time-outs.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from requests import PreparedRequest, Response
from requests.adapters import HTTPAdapter
from urllib3 import PoolManager

from meshware.clients.current import mesh_or_current
from meshware.clients.mirrors import MirrorThreads
from meshware.clients.pools import Pools
from meshware.clients.requests_calls import Call, Options
from meshware.clients.urllib3_network import close_pools, make_pools
from meshware.outbound.drive import ExchangeSource

__all__ = ["MeshAdapter"]


def _make(key: Any) -> PoolManager:
    rule, tls = key
    return make_pools(rule, tls)


class MeshAdapter(HTTPAdapter):
    """The mesh as an adapter for `requests.Session`. Safe in many threads.

    Args:
        mesh: None: the process-wide mesh.
    """

    def __init__(self, mesh: ExchangeSource | None = None) -> None:
        super().__init__()
        self._mesh = mesh
        self._services: Pools[PoolManager] = Pools(_make)
        self._mirrors = MirrorThreads()

    def send(  # noqa: PLR0917 - the parameters are those of requests
        self,
        request: PreparedRequest,
        stream: bool = False,
        timeout: Any = None,
        verify: bool | str = True,
        cert: Any = None,
        proxies: Mapping[str, str] | None = None,
    ) -> Response:
        """Send a request through the mesh; the session calls this.

        Raises:
            requests.RequestException: as without the mesh, except that the failure of a mesh
                destination before its response headers is a response of the mesh's own.
        """
        for manager in self._services.surplus():
            close_pools(manager)
        options = Options(stream, timeout, verify, cert, proxies)
        call = Call(
            self, request, options, self._services.take, super().send, mirrors=self._mirrors
        )
        return call.run(mesh_or_current(self._mesh))

    def close(self) -> None:
        """Close every idle connection; those in use are closed when their responses end."""
        for manager in self._services.take_out_all():
            close_pools(manager)
        super().close()
