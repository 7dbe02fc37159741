"""TLS for the ASGI workers of gunicorn: its own, and uvicorn's.

`install()` makes them speak as policy says. Who would rather hand gunicorn a setting names a
worker, `gunicorn -k meshware.servers.gunicorn_asgi.UvicornWorker app:app` (or `...ASGIWorker`), or
has its own `asgi` worker take `ssl_context` from here in `gunicorn.conf.py`.
"""

from __future__ import annotations

import importlib
import importlib.util
import ssl
import sys
from collections.abc import Callable
from typing import Any

from meshware.errors import SettingsError

__all__ = ["install", "ssl_context"]

_INSTALLED = "_meshware_installed"


def install() -> None:
    """Make the ASGI workers of this process speak as policy says. Idempotent.

    Raises:
        SettingsError: this version of gunicorn or uvicorn is not known.
    """
    if _is_there("uvicorn"):
        from meshware.servers import uvicorn

        uvicorn.install()
    if _is_there("gunicorn.workers.gasgi"):
        _install_own()


def ssl_context(conf: Any, default: Callable[[], ssl.SSLContext]) -> ssl.SSLContext:
    """Return the context for gunicorn's hook of this name: mutual TLS and no other."""
    from meshware.servers.context import front_of_this_process

    return front_of_this_process()


def _install_own() -> None:
    """Let gunicorn's own worker listen by us; it is the same worker otherwise."""
    worker_class = _class_of("gunicorn.workers.gasgi", "ASGIWorker")
    if getattr(worker_class, _INSTALLED, False):
        return
    serve = vars(worker_class).get("_serve")
    if serve is None:
        raise SettingsError(
            "gunicorn is of a version that meshware does not know; "
            "take one that docs/how-to/tls-on-asgi-servers.md names"
        )

    async def serve_as_policy_says(worker: Any) -> None:
        from meshware.runtime.mesh import Mesh
        from meshware.servers.accept import MeshLoop

        loop = worker.loop
        worker.loop = MeshLoop(loop, Mesh.current())
        try:
            await serve(worker)
        finally:
            worker.loop = loop  # whose tasks the worker ends next

    worker_class._serve = serve_as_policy_says
    setattr(worker_class, _INSTALLED, True)


def _is_there(module: str) -> bool:
    if module in sys.modules:
        return True
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        return False  # not even its package


def _class_of(module: str, name: str) -> Any:
    return getattr(importlib.import_module(module), name)


def _worker(name: str) -> type[Any]:
    """Return a worker class whose processes have `install()` called in them."""
    if name == "ASGIWorker":
        module = "gunicorn.workers.gasgi"
    else:  # uvicorn's own copy is on its way out
        module = "uvicorn_worker" if _is_there("uvicorn_worker") else "uvicorn.workers"
    base = _class_of(module, name)

    class Worker(base):  # type: ignore[misc,valid-type]
        def init_process(self) -> None:
            install()
            super().init_process()

    Worker.__name__ = Worker.__qualname__ = name
    return Worker


def __getattr__(name: str) -> Any:
    if name not in ("ASGIWorker", "UvicornWorker", "UvicornH11Worker"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    made = globals()[name] = _worker(name)
    return made
