"""gunicorn: mutual TLS for its sync, gthread and gevent workers, as policy says.

Two ways, and either is enough:

1. `install()`, in the process that gunicorn starts in or in each worker before it serves.
2. This module as the configuration, `gunicorn -c python:meshware.servers.gunicorn app:app`, or its
   names `certfile`, `ssl_context` and `post_fork` in a configuration of one's own. Without
   `post_fork` nothing of gunicorn is changed, and the port speaks mutual TLS whatever policy says:
   gunicorn wants a certificate's file before it asks `ssl_context`, so it is shown one that exists.

Names of this module that are names of gunicorn's settings are settings.
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from meshware.runtime.mesh import Mesh

if TYPE_CHECKING:
    import socket

__all__ = ["certfile", "install", "post_fork", "ssl_context"]

certfile = __file__
"""Makes gunicorn ask for a context. It has to exist, and nothing is read from it."""

_fronts: dict[int, tuple[Mesh, ssl.SSLContext]] = {}  # by process id: none is taken through a fork


def ssl_context(_config: Any, _default: Callable[[], ssl.SSLContext]) -> ssl.SSLContext:
    """Return the one context of this process (gunicorn asks for each connection anew)."""
    kept = _fronts.get(os.getpid())
    if kept is None or kept[0] is not Mesh.current():
        from meshware.servers.context import front_of_this_process

        _fronts.clear()
        kept = _fronts[os.getpid()] = (Mesh.current(), front_of_this_process())
    return kept[1]


def post_fork(_arbiter: Any, _worker: Any) -> None:
    """Make the worker that was just forked serve as policy says."""
    install()


def install() -> None:
    """Make every gunicorn worker that starts in this process, or in a child of it, obey policy.

    Idempotent. Without `post_fork` in its settings gunicorn says "http" when it tells where it
    listens; what it speaks there is policy's matter.
    """
    import gunicorn.http  # type: ignore[import-untyped]
    import gunicorn.http.wsgi  # type: ignore[import-untyped]
    import gunicorn.sock  # type: ignore[import-untyped]
    from gunicorn.workers.base import Worker  # type: ignore[import-untyped]

    if getattr(Worker, "_meshware", False):
        return
    from meshware.servers.accepted import is_tls
    from meshware.servers.gunicorn_workers import adapt, seen_as

    init_process = Worker.init_process
    get_parser = gunicorn.http.get_parser
    create = gunicorn.http.wsgi.create
    wrap = gunicorn.sock.ssl_wrap_socket

    def init_adapted(worker: Any) -> None:
        if _is_asgi(worker):
            from meshware.servers import gunicorn_asgi

            gunicorn_asgi.install()
        adapt(worker)
        init_process(worker)

    def get_parser_of(cfg: Any, source: Any, *rest: Any, **named: Any) -> Any:
        return get_parser(seen_as(cfg, is_tls(source)), source, *rest, **named)

    def create_of(
        req: Any, sock: Any, client: Any, server: Any, cfg: Any, *rest: Any, **named: Any
    ) -> Any:
        return create(req, sock, client, server, seen_as(cfg, is_tls(sock)), *rest, **named)

    def wrap_once(sock: socket.socket, conf: Any) -> Any:
        return sock if is_tls(sock) else wrap(sock, conf)

    Worker.init_process = init_adapted
    gunicorn.http.get_parser = get_parser_of
    gunicorn.http.wsgi.create = create_of
    gunicorn.sock.ssl_wrap_socket = wrap_once
    Worker._meshware = True


def _is_asgi(worker: Any) -> bool:
    """Say whether a worker is gunicorn's own for ASGI, or one of uvicorn's."""
    modules = {each.__module__ for each in type(worker).__mro__}
    packages = {module.partition(".")[0] for module in modules}
    return "gunicorn.workers.gasgi" in modules or not packages.isdisjoint(_OF_UVICORN)


_OF_UVICORN = ("uvicorn", "uvicorn_worker")
