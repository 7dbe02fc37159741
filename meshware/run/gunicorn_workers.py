"""Bring the mesh into gunicorn's workers, whose class says what kind of app they serve.

A worker loads its app when it is forked and, for gevent, patched: nothing of the mesh starts
before. With `--preload` the arbiter has loaded the app before, and each worker wraps it then.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any

from meshware.run.hooks import fail
from meshware.run.ports import reached_by
from meshware.run.wrapping import around_asgi, around_wsgi, carry_calls, replace

__all__ = ["hook_asgi_worker", "hook_worker"]

# Where workers are defined that call WSGI apps; third parties' build on one of these.
_WSGI = frozenset(
    f"gunicorn.workers.{name}"
    for name in ("sync", "base_async", "gthread", "ggevent", "geventlet", "gtornado")
)
# These hand their app to uvicorn's configuration, which is hooked itself.
_UVICORN = frozenset({"uvicorn.workers", "uvicorn_worker", "uvicorn_worker._workers"})

# The exit code of a worker for which gunicorn ends, rather than start it again and again.
_APP_LOAD_ERROR = 4


def hook_worker(base: ModuleType) -> None:
    """Any worker but gunicorn's own for ASGI."""

    def load_of(load: Any) -> Any:
        def load_with_mesh(self: Any) -> None:
            is_uvicorn = _is_from(self, _UVICORN)
            if not is_uvicorn and not _is_from(self, _WSGI):
                kind = f"{type(self).__module__}.{type(self).__qualname__}"
                fail(
                    f"gunicorn's worker class {kind} is not known, so what it serves would be "
                    "unprotected; use sync, gthread, gevent, asgi or a uvicorn worker",
                    _APP_LOAD_ERROR,
                )
            carry_calls()
            reached_by(self.sockets)
            load(self)
            if not is_uvicorn:
                self.wsgi = around_wsgi(self.wsgi)

        return load_with_mesh

    replace(base.Worker, "load_wsgi", load_of)


def hook_asgi_worker(gasgi: ModuleType) -> None:
    """gunicorn's own worker for ASGI."""

    def load_of(load: Any) -> Any:
        def load_with_mesh(self: Any) -> None:
            carry_calls()
            reached_by(self.sockets)
            load(self)
            self.asgi = around_asgi(self.asgi)

        return load_with_mesh

    replace(gasgi.ASGIWorker, "load_wsgi", load_of)


def _is_from(worker: Any, modules: frozenset[str]) -> bool:
    """Say whether one of a worker's classes is defined in one of these modules."""
    return any(kind.__module__ in modules for kind in type(worker).__mro__)
