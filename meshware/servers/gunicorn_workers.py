"""What gunicorn's blocking workers do with a connection before they serve it.

1. sync: one connection at a time, so that a silent caller costs the others its few seconds.
2. gthread: a new connection waits in the worker's poller until its first byte is there, and again
   there between its handshake and its first request; a thread has it only for the handshake and
   for requests.
3. gevent: a greenlet for each; gevent's own server never wraps a socket, `handle` here does.

Changed are objects, in the worker's process and before it serves; no class of gunicorn.
A connection's own configuration says whether it is TLS: one port has connections of both kinds.
"""

from __future__ import annotations

import errno
import select
import selectors
import ssl
import sys
import time
from functools import partial
from typing import Any

from meshware.runtime.mesh import Mesh
from meshware.servers.accepted import FIRST_BYTE_S, HANDSHAKE_S, Unwanted, is_tls, settle
from meshware.servers.modes import port_of, spoken

__all__ = ["adapt", "seen_as"]

_FIRST_REQUEST_S = 0.02
"""So long a thread waits for the request behind a handshake, before it leaves that to the poller.
A client on the same network has sent it by then."""

_GONE_ALREADY = (errno.EAGAIN, errno.EWOULDBLOCK, errno.ECONNABORTED)

_views: dict[tuple[type, bool], type] = {}


def seen_as(cfg: Any, is_ssl: bool) -> Any:
    """Return a configuration as a connection sees it that speaks TLS, or does not."""
    if bool(cfg.is_ssl) == is_ssl:
        return cfg
    key = (type(cfg), is_ssl)
    kind = _views.get(key)
    if kind is None:
        names = {"is_ssl": is_ssl, "do_handshake_on_connect": True}
        kind = _views[key] = type("ConfigOfConnection", (type(cfg),), names)
    view: Any = object.__new__(kind)
    object.__setattr__(view, "__dict__", cfg.__dict__)  # the very same settings
    return view


def adapt(worker: Any) -> None:
    """Make a worker obey policy, if it is of a kind that is known here.

    Args:
        worker: of gunicorn; in its own process, before it serves.
    """
    for name, kind, change in (
        ("gunicorn.workers.sync", "SyncWorker", _adapt_sync),
        ("gunicorn.workers.gthread", "ThreadWorker", _adapt_gthread),
        ("gunicorn.workers.ggevent", "GeventWorker", _adapt_gevent),
    ):
        module = sys.modules.get(name)
        if module is not None and isinstance(worker, getattr(module, kind)):
            change(worker)


def _as_set(cfg: Any) -> Any:
    """Return the configuration for where the mesh does not mind: without the mesh's own TLS."""
    from meshware.servers.gunicorn import certfile

    return seen_as(cfg, False) if cfg.certfile == certfile else cfg


def _refused(worker: Any, address: Any, error: BaseException) -> None:
    peer = address[0] if isinstance(address, tuple) else "a local caller"
    worker.log.info("Refused a connection from %s: %s", peer, error)


def _adapt_sync(worker: Any) -> None:
    serve, cfg = worker.handle, worker.cfg

    def handle(listener: Any, client: Any, address: Any) -> None:
        try:
            settled = settle(client, Mesh.current())
        except Unwanted as error:
            _refused(worker, address, error)
            return
        worker.cfg = _as_set(cfg) if settled is None else seen_as(cfg, is_tls(settled))
        try:
            serve(listener, client if settled is None else settled, address)
        finally:
            worker.cfg = cfg

    worker.handle = handle


def _adapt_gevent(worker: Any) -> None:
    import gevent  # type: ignore[import-untyped]
    from gunicorn.sock import ssl_wrap_socket  # type: ignore[import-untyped]

    serve, run, cfg = worker.handle, worker.run, worker.cfg

    def handle(listener: Any, client: Any, address: Any) -> None:
        try:
            with gevent.Timeout(FIRST_BYTE_S + HANDSHAKE_S):  # each wait has its own besides
                settled = settle(client, Mesh.current())
        except (Unwanted, gevent.Timeout) as error:
            client.close()
            _refused(worker, address, error)
            return
        if settled is None:
            settled = client
            if _as_set(cfg).is_ssl:
                try:
                    settled = ssl_wrap_socket(client, cfg)
                except OSError as error:
                    _refused(worker, address, error)
                    return
        serve(listener, settled, address)

    def run_plain() -> None:
        worker.cfg = seen_as(cfg, False)  # so that gevent's server leaves TLS to `handle`
        run()

    worker.handle = handle
    if worker.server_class is None:
        worker.run = run_plain


def _adapt_gthread(worker: Any) -> None:
    from gunicorn.workers import gthread  # type: ignore[import-untyped]

    accept, serve, murder = worker.accept, worker.handle, worker.murder_pending
    silent: dict[Any, None] = {}  # connections without a first byte, the oldest first

    def accept_quietly(listener: Any) -> None:
        mesh = Mesh.current()
        mesh.start()
        if spoken(mesh, port_of(listener)) == "DISABLE":
            accept(listener)
            return
        try:
            client, address = listener.accept()
        except OSError as error:
            if error.errno in _GONE_ALREADY:
                return
            raise
        worker.nr_conns += 1
        conn = gthread.TConn(worker.cfg, client, address, listener.getsockname())
        conn.timeout = time.monotonic() + FIRST_BYTE_S
        silent[conn] = None
        worker.poller.register(client, selectors.EVENT_READ, partial(speaks, conn))

    def speaks(conn: Any, client: Any) -> None:
        worker.poller.unregister(client)
        del silent[conn]
        conn.data_ready = True
        worker.enqueue_req(conn)

    def end_silent() -> None:
        now = time.monotonic()
        while silent:
            conn = next(iter(silent))
            if conn.timeout > now:
                break
            del silent[conn]
            worker.poller.unregister(conn.sock)
            worker.nr_conns -= 1
            conn.close()
        murder()

    def handle(conn: Any) -> Any:
        if conn.initialized or hasattr(conn, "meshware_is_settled"):
            return serve(conn)
        conn.meshware_is_settled = True
        try:
            settled = settle(conn.sock, Mesh.current())
        except Unwanted as error:
            _refused(worker, conn.client, error)
            conn.close = lambda graceful=False: None  # it is closed
            return False
        conn.cfg = _as_set(conn.cfg) if settled is None else seen_as(conn.cfg, is_tls(settled))
        if settled is None:
            return serve(conn)
        conn.sock = settled
        if is_tls(settled) and not _has_more(settled):
            conn.data_ready = False
            return gthread._DEFER
        return serve(conn)

    worker.accept, worker.handle, worker.murder_pending = accept_quietly, handle, end_silent


def _has_more(connection: Any) -> bool:
    """Say whether something more has come, or comes presently."""
    if isinstance(connection, ssl.SSLSocket) and connection.pending():
        return True
    return bool(select.select([connection], [], [], _FIRST_REQUEST_S)[0])
