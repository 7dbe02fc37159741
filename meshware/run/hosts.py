"""Bring the mesh into servers: around the app, at the outermost place that a server has.

There the connection is still at hand, and nothing of the app has run. Each hook also has the
server speak TLS as policy says (`meshware.servers`), and notes the port where it listens. Hooks
run when a server is imported: what needs more than the standard library is imported later, when
the server starts.
"""

from __future__ import annotations

import importlib
from types import ModuleType
from typing import Any

from meshware.run.ports import reached_at, reached_by
from meshware.run.wrapping import around_asgi, around_wsgi, carry_calls, replace, root_path

__all__ = [
    "hook_gunicorn",
    "hook_hypercorn",
    "hook_hypercorn_worker",
    "hook_uvicorn",
    "hook_werkzeug",
    "secure",
]


def secure(server: str) -> None:
    """Have a server speak TLS as policy says."""
    importlib.import_module(f"meshware.servers.{server}").install()


def hook_uvicorn(uvicorn: ModuleType) -> None:
    """uvicorn: around what its configuration loads, in whichever process that is."""
    secure("uvicorn")

    def load_of(load: Any) -> Any:
        def load_with_mesh(self: Any) -> None:
            carry_calls()
            load(self)
            self.loaded_app = around_asgi(self.loaded_app)

        return load_with_mesh

    def startup_of(startup: Any) -> Any:
        async def startup_with_port(self: Any, sockets: Any = None) -> None:
            config = self.config
            if sockets is not None:
                reached_by(sockets)
            elif config.fd is None and config.uds is None:
                reached_at(config.port)
            await startup(self, sockets=sockets)
            if not config.port:
                for server in getattr(self, "servers", ()):
                    reached_by(server.sockets)

        return startup_with_port

    replace(uvicorn.Config, "load", load_of)
    replace(uvicorn.Server, "startup", startup_of)


def hook_hypercorn(config: ModuleType) -> None:
    """hypercorn: its TLS, and the sockets that it opens; the app is wrapped in the worker."""
    secure("hypercorn")

    def sockets_of(create_sockets: Any) -> Any:
        def create_and_tell(self: Any) -> Any:
            sockets = create_sockets(self)
            reached_by([*sockets.secure_sockets, *sockets.insecure_sockets])
            return sockets

        return create_and_tell

    replace(config.Config, "create_sockets", sockets_of)


def hook_hypercorn_worker(run: ModuleType) -> None:
    """hypercorn, on asyncio or trio: around the app that a worker is given."""

    def serve_of(worker_serve: Any) -> Any:
        async def serve_with_mesh(
            app: Any, config: Any, *, sockets: Any = None, **options: Any
        ) -> None:
            carry_calls()
            if sockets is not None:
                reached_by([*sockets.secure_sockets, *sockets.insecure_sockets])
            await worker_serve(_HypercornApp(app), config, sockets=sockets, **options)

        return serve_with_mesh

    replace(run, "worker_serve", serve_of)


class _HypercornApp:
    """Around hypercorn's wrapper of an ASGI or WSGI app, which is called with two more values."""

    def __init__(self, wrapper: Any) -> None:
        self._wrapper = wrapper
        self._root = root_path(wrapper)

    async def __call__(self, scope: Any, receive: Any, send: Any, *spawners: Any) -> None:
        async def call(scope: Any, receive: Any, send: Any) -> None:
            await self._wrapper(scope, receive, send, *spawners)

        await around_asgi(call, self._root)(scope, receive, send)


def hook_gunicorn(_base: ModuleType) -> None:
    """gunicorn: its TLS; the app is wrapped in the worker."""
    secure("gunicorn")


def hook_werkzeug(serving: ModuleType) -> None:
    """werkzeug's development server: around the app of every server, `flask run` included."""
    secure("werkzeug")

    def init_of(init: Any) -> Any:
        def init_with_mesh(self: Any, *arguments: Any, **options: Any) -> None:
            carry_calls()
            init(self, *arguments, **options)
            self.app = around_wsgi(self.app)
            reached_by([self.socket])

        return init_with_mesh

    replace(serving.BaseWSGIServer, "__init__", init_of)
