"""Bring the mesh into an unchanged app under `opentelemetry-instrument`.

Published as an entry point `opentelemetry_instrumentor`, so it is enough that meshware is installed
beside `opentelemetry-instrumentation` (extra `otel`) and that MESH_CONFIG is set. What it does is
what `meshware run` does, with the same hooks, and the client libraries besides.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Collection
from typing import Any

from opentelemetry.instrumentation.instrumentor import (  # type: ignore[attr-defined]
    BaseInstrumentor,
)

from meshware.run.client_libraries import CLIENTS
from meshware.run.hooks import HOOKS, watch

__all__ = ["MeshInstrumentor"]

_log = logging.getLogger("meshware")


class MeshInstrumentor(BaseInstrumentor):  # type: ignore[misc]
    """Puts the middlewares around apps, and the transports into HTTP clients.

    FastAPI, Starlette and Flask, under the servers that `meshware run` knows and any other;
    requests, httpx, httpx2 and aiohttp. Idempotent with `MeshMiddleware` in the app, and with
    `meshware run`: the outermost decides, and the others do nothing.

    Installing a package must not refuse anybody's calls, so without MESH_CONFIG nothing is done.
    """

    def instrumentation_dependencies(self) -> Collection[str]:
        """Return nothing: what is not installed is never imported, and so never hooked."""
        return ()

    def _instrument(self, **_: Any) -> None:
        if not os.environ.get("MESH_CONFIG"):
            _log.warning("MESH_CONFIG is not set, so meshware does nothing in this process")
            return
        watch({**HOOKS, **CLIENTS})

    def _uninstrument(self, **_: Any) -> None:
        # An app that serves must not become open by a call; what is hooked stays so.
        _log.warning("meshware stays in this process: end it, and start it without")
