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
_WSGI = ("sync", "base_async", "gthread", "ggevent", "geventlet", "gtornado")
_WSGI_MODULES = frozenset(f"gunicorn.workers.{name}" for name in _WSGI)
# These hand their app to uvicorn's configuration, which is hooked itself.
_UVICORN_MODULES = ("uvicorn.workers", "uvicorn_worker")


def hook_worker(base: ModuleType) -> None:
    """Any worker but gunicorn's own for ASGI."""

    def load_of(load: Any) -> Any:
        def load_with_mesh(self: Any) -> None:
            carry_calls()
            reached_by(self.sockets)
            load(self)
            modules = {kind.__module__ for kind in type(self).__mro__}
            if any(module.startswith(_UVICORN_MODULES) for module in modules):
                return
            if modules & _WSGI_MODULES:
                self.wsgi = around_wsgi(self.wsgi)
                return
            kind = f"{type(self).__module__}.{type(self).__qualname__}"
            fail(
                f"gunicorn's worker class {kind} is not known, so what it serves would be "
                "unprotected; use sync, gthread, gevent, asgi or a uvicorn worker"
            )

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
