"""Translate a WSGI environ into the head that the gate decides on."""

from __future__ import annotations

import os
from functools import lru_cache
from typing import Any

from meshware.handlers.template import template_of_environ
from meshware.inbound.head import InboundHead, RouteOf
from meshware.policy.inbound_facts import HandlersOf, no_handlers_known
from meshware.wsgi.peer import chain_of, server_name_of

__all__ = ["Environ", "header_key", "inbound_head"]

Environ = dict[str, Any]

_PREFIX = "HTTP_"
_CGI = {"content-type": "CONTENT_TYPE", "content-length": "CONTENT_LENGTH"}

# Servers whose SERVER_PORT is where they listen. Others may take it from the Host header.
_HONEST_SERVERS = ("Werkzeug", "waitress", "WSGIServer")


@lru_cache(maxsize=1024)  # policy asks for few; callers may make up any number of them
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

    prefix, rest = environ.get("SCRIPT_NAME", ""), environ.get("PATH_INFO", "")
    prefixes: tuple[str, ...] = (prefix,)
    unclear: str | None = None
    if "HTTP_SCRIPT_NAME" in environ:
        prefixes, unclear = _claimed(prefix, environ["HTTP_SCRIPT_NAME"])
    if len(prefixes) == 1:
        paths = _texts(prefix + rest)
        partial = _texts(rest) if prefix else ()
    else:
        paths, partial = _texts(*(one + rest or "/" for one in prefixes)), ()
    source_ip, source_port, destination_ip, port = _addresses(environ)
    target = environ.get("RAW_URI") or environ.get("REQUEST_URI")
    return InboundHead(
        environ["REQUEST_METHOD"],
        environ.get("wsgi.url_scheme", "http"),
        environ.get("SERVER_PROTOCOL", "HTTP/1.1").rpartition("/")[2],
        target or None,
        paths,
        headers,
        tuple([_name(key) for key in environ if key.startswith(_PREFIX)]),
        source_ip,
        destination_ip,
        mesh_port if port is None else port,
        source_port,
        partial,
        _texts(*prefixes),
        chain_of(environ),
        server_name_of(environ),
        environ.get("QUERY_STRING", ""),
        # Flask forgets it before the body is made; it is remembered from the response's start.
        RouteOf(template_of_environ, environ),
        handlers_of,
        unclear,
    )


@lru_cache(maxsize=1024)
def _name(key: str) -> str:
    """Return the name of a header, in lower case, by its key in an environ."""
    return key.removeprefix(_PREFIX).lower().replace("_", "-")


def _claimed(prefix: str, claim: str) -> tuple[tuple[str, ...], str | None]:
    """Return where the app may be mounted when a caller says so, and why that cannot be told.

    gunicorn believes a SCRIPT_NAME header of callers on loopback, in place of its environment's: a
    reverse proxy's, or anybody's there. So each of these may be meant.
    """
    ours = os.environ.get("SCRIPT_NAME", "")
    if claim == ours:
        return (prefix,), None
    if "," in claim:
        return (prefix,), "there are two SCRIPT_NAME headers"
    within = prefix.removeprefix(claim)  # what a framework has added
    return tuple(dict.fromkeys((prefix, ours + within, within, ""))), None


def _texts(*paths: str) -> tuple[str, ...]:
    """Return the texts behind WSGI's bytes-as-latin-1.

    Bytes that are no UTF-8 are what frameworks make of them, U+FFFD, and what they are.
    """
    if "".join(paths).isascii():
        return paths
    found: list[str] = []
    for path in paths:
        data = path.encode("latin-1", "replace")
        found += (data.decode("utf-8", "replace"), data.decode("utf-8", "surrogateescape"))
    return tuple(dict.fromkeys(found))


def _addresses(environ: Environ) -> tuple[str | None, int | None, str | None, int | None]:
    """Return the peer's address and port, and the address and port where the call came in."""
    source_ip = environ.get("REMOTE_ADDR") or None
    from_port = str(environ.get("REMOTE_PORT", ""))
    source_port = int(from_port) if from_port.isascii() and from_port.isdigit() else None
    socket = environ.get("gunicorn.socket") or environ.get("werkzeug.socket")
    if socket is not None:
        try:
            here, peer = socket.getsockname(), socket.getpeername()
        except OSError:
            return None, None, None, None  # the caller is gone already
        if not isinstance(here, tuple):
            return None, None, None, None  # a Unix socket
        if not isinstance(peer, tuple):
            return None, None, here[0], here[1]
        return peer[0], peer[1], here[0], here[1]
    port = environ.get("SERVER_PORT", "")
    is_honest = environ.get("SERVER_SOFTWARE", "").startswith(_HONEST_SERVERS)
    here_port = int(port) if is_honest and port.isdecimal() else None
    return source_ip, source_port, None, here_port
