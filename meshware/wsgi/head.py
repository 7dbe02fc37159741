"""Translate a WSGI environ into the head that the gate decides on."""

from __future__ import annotations

import os
from typing import Any

from meshware.inbound.head import InboundHead, RouteOf
from meshware.policy.inbound_facts import HandlersOf, no_handlers_known
from meshware.wsgi.peer import chain_of, server_name_of

__all__ = ["Environ", "header_key", "inbound_head"]

Environ = dict[str, Any]

_PREFIX = "HTTP_"
_CGI = {"content-type": "CONTENT_TYPE", "content-length": "CONTENT_LENGTH"}

# Servers whose SERVER_PORT is where they listen. Others may take it from the Host header.
_HONEST_SERVERS = ("Werkzeug", "waitress", "WSGIServer")


def header_key(name: str) -> str:
    """Return the key of a header in an environ."""
    return _CGI.get(name) or _PREFIX + name.upper().replace("-", "_")


def inbound_head(
    environ: Environ, mesh_port: int | None, handlers_of: HandlersOf = no_handlers_known
) -> InboundHead:
    """Return the head of a WSGI call.

    Args:
        environ: the server's.
        mesh_port: where the process is reached, for a server that does not say where it listens.
        handlers_of: asks the framework what it would run.
    """

    def headers(name: str) -> tuple[str, ...]:
        value = environ.get(header_key(name))
        return (value,) if value else () if value is None or name in _CGI else ("",)

    prefix, rest = _text(environ.get("SCRIPT_NAME", "")), _text(environ.get("PATH_INFO", ""))
    paths: tuple[str, ...] = (prefix + rest,)
    partial: tuple[str, ...] = ()
    if prefix:
        if "HTTP_SCRIPT_NAME" in environ and prefix != os.environ.get("SCRIPT_NAME"):
            # gunicorn lets a caller on loopback say where the app is mounted: each may be meant.
            paths = (prefix + rest, rest)
        else:
            partial = (rest,)
    source_ip, destination_ip, port = _addresses(environ)
    target = environ.get("RAW_URI") or environ.get("REQUEST_URI")
    return InboundHead(
        method=environ["REQUEST_METHOD"],
        scheme=environ.get("wsgi.url_scheme", "http"),
        version=environ.get("SERVER_PROTOCOL", "HTTP/1.1").rpartition("/")[2],
        target=target or None,
        query=environ.get("QUERY_STRING", ""),
        paths=paths,
        partial_paths=partial,
        headers=headers,
        names=tuple(
            key[5:].lower().replace("_", "-") for key in environ if key.startswith(_PREFIX)
        ),
        source_ip=source_ip,
        destination_ip=destination_ip,
        port=mesh_port if port is None else port,
        chain=chain_of(environ),
        sni=server_name_of(environ),
        # Flask forgets it before the body is made; it is remembered from the response's start.
        route_of=RouteOf(lambda: _flask_route(environ)),
        handlers_of=handlers_of,
    )


def _flask_route(environ: Environ) -> str | None:
    """Return the URL rule that Flask (werkzeug) chose; None when there is none (yet, any more)."""
    rule = getattr(environ.get("werkzeug.request"), "url_rule", None)
    template = getattr(rule, "rule", None)
    return template if isinstance(template, str) else None


def _text(path: str) -> str:
    """Return the text behind WSGI's bytes-as-latin-1; bytes that are no UTF-8 stay as they are."""
    if path.isascii():
        return path
    return path.encode("latin-1", "replace").decode("utf-8", "surrogateescape")


def _addresses(environ: Environ) -> tuple[str | None, str | None, int | None]:
    """Return the peer's address, and the address and port where the call came in."""
    source_ip = environ.get("REMOTE_ADDR") or None
    socket = environ.get("gunicorn.socket") or environ.get("werkzeug.socket")
    if socket is not None:
        try:
            here, peer = socket.getsockname(), socket.getpeername()
        except OSError:
            return None, None, None  # the caller is gone already
        if not isinstance(here, tuple):
            return None, None, None  # a Unix socket
        return (peer[0] if isinstance(peer, tuple) else None), here[0], here[1]
    port = environ.get("SERVER_PORT", "")
    is_honest = environ.get("SERVER_SOFTWARE", "").startswith(_HONEST_SERVERS)
    return source_ip, None, int(port) if is_honest and port.isdecimal() else None
