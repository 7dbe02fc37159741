"""werkzeug's development server (`flask run`, `run_simple`, `make_server`): mutual TLS by policy.

`install()` lets the port speak as policy says. Without it there is werkzeug's own parameter,
`ssl_context=front_context(mesh)`: mutual TLS whatever the mode, and one silent caller at a time
keeps all others waiting, for werkzeug shakes hands where it accepts.
"""

from __future__ import annotations

import socket
import ssl
from typing import Any

from meshware.runtime.mesh import Mesh
from meshware.servers.accepted import Unwanted, is_tls, settle
from meshware.servers.context import front_context
from meshware.servers.modes import port_of, spoken

__all__ = ["front_context", "install"]


def install() -> None:
    """Make every development server of this process, or of a child of it, obey policy.

    Idempotent. Hands are shaken where a request is served: in a thread or a process of its own
    where the server has such.
    """
    from werkzeug.serving import BaseWSGIServer, WSGIRequestHandler

    server_class: Any = BaseWSGIServer
    handler_class: Any = WSGIRequestHandler
    if getattr(server_class, "_meshware", False):
        return
    get_request, finish_request = server_class.get_request, server_class.finish_request
    make_environ = handler_class.make_environ

    def get_plain(server: Any) -> tuple[Any, Any]:
        mesh = Mesh.current()
        mesh.start()
        if spoken(mesh, port_of(server.socket)) == "DISABLE":
            found: tuple[Any, Any] = get_request(server)
            return found
        return socket.socket.accept(server.socket)  # past the TLS that it was set up with

    def finish_settled(server: Any, request: Any, address: Any) -> None:
        try:
            settled = request if is_tls(request) else settle(request, Mesh.current())
        except Unwanted as error:
            peer = address[0] if isinstance(address, tuple) else "a local caller"
            server.log("info", "Refused a connection from %s: %s", peer, error)
            return
        if settled is None or settled is request:
            finish_request(server, request, address)
            return
        try:
            finish_request(server, settled, address)
        except ssl.SSLError as error:
            server.log("info", "The TLS of a connection broke: %s", error)
        finally:
            server.shutdown_request(settled)

    def make_environ_of_connection(handler: Any) -> Any:
        environ = make_environ(handler)
        environ["wsgi.url_scheme"] = "https" if is_tls(handler.connection) else "http"
        return environ

    server_class.get_request = get_plain
    server_class.finish_request = finish_settled
    handler_class.make_environ = make_environ_of_connection
    server_class._meshware = True
