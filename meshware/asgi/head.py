"""Translate an ASGI scope into the head that the gate decides on."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, MutableMapping, Sequence
from typing import Any

from meshware.asgi.peer import Shown, shown_in_extension, shown_on
from meshware.inbound.head import InboundHead, RouteOf, is_below
from meshware.policy.inbound_facts import HandlersOf, no_handlers_known

__all__ = ["Message", "Receive", "Scope", "Send", "header_values", "inbound_head", "without"]

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

About = Callable[[str], Any]

_PAIR = (tuple, list)
_MOST_NAMES = 1000
_names: dict[bytes, str] = {}  # of headers as servers spell them; callers may make up any number


def inbound_head(
    scope: Scope,
    receive: Receive,
    mesh_port: int | None,
    route: RouteOf | None = None,
    handlers_of: HandlersOf = no_handlers_known,
) -> InboundHead:
    """Return the head of an `http` or `websocket` scope.

    Args:
        scope: the server's.
        receive: the server's; it leads to the transport, which knows the true peer.
        mesh_port: where the process is reached, for a server that does not say where it listens.
        route: where the framework's route will be found.
        handlers_of: asks the framework what it would run.
    """
    table: defaultdict[str, Sequence[str]] = defaultdict(tuple)
    for raw_name, raw_value in scope["headers"]:
        name = _names.get(raw_name) or _name(raw_name)
        if name in table:
            table[name] = (*table[name], raw_value.decode("latin-1"))
        else:
            table[name] = (raw_value.decode("latin-1"),)
    raw_path: bytes | None = scope.get("raw_path")
    path: str = scope["path"]
    root: str = scope.get("root_path", "").rstrip("/")
    paths: tuple[str, ...] = (path,)
    partial: tuple[str, ...] = ()
    prefixes: tuple[str, ...] = (root,)
    if root:
        if is_below(path, root):
            partial = (path[len(root) :],)
            front = _put_in_front(receive)
            if front and is_below(root, front):
                # The caller did not write it: as with a server that keeps it apart.
                paths, prefixes = (path, path[len(front) :] or "/"), (root, root[len(front) :])
                if root == front:
                    partial = ()
        else:  # hypercorn keeps them apart, frameworks put them together
            paths, prefixes = (root + path, path), (root, "")
    about = _about_transport(receive)
    source_ip, source_port, destination_ip, port = _addresses(scope, about)
    chain, sni = _shown(scope, about)
    return InboundHead(
        method=scope.get("method", "GET"),
        scheme=scope.get("scheme", "http"),
        version=scope.get("http_version", "1.1"),
        target=raw_path.decode("latin-1") if raw_path else None,
        paths=paths,
        partial_paths=partial,
        prefixes=prefixes,
        headers=table.__getitem__,  # policy says which names are asked for, so they are few
        names=tuple(table),
        source_ip=source_ip,
        source_port=source_port,
        destination_ip=destination_ip,
        port=mesh_port if port is None else port,
        query=scope["query_string"].decode("latin-1") if "query_string" in scope else None,
        chain=chain,
        sni=sni,
        route_of=route or RouteOf(),
        handlers_of=handlers_of,
    )


def _name(raw: bytes) -> str:
    """Return the name of a header in lower case, and remember it."""
    name = raw.decode("latin-1").lower()
    if len(_names) < _MOST_NAMES and len(raw) < 64:
        _names[raw] = name
    return name


def without(
    pairs: Iterable[tuple[bytes, bytes]], names: Sequence[str]
) -> list[tuple[bytes, bytes]]:
    """Return raw headers without some, by their names in lower case."""
    kept = []
    for pair in pairs:
        if (_names.get(pair[0]) or _name(pair[0])) not in names:
            kept.append(pair)  # noqa: PERF401 - a comprehension is one more call
    return kept


def header_values(pairs: Iterable[tuple[bytes, bytes]], name: str) -> list[str]:
    """Return the values of a header among raw ones, by its name in lower case."""
    wanted = name.encode("latin-1")
    return [value.decode("latin-1") for raw, value in pairs if raw.lower() == wanted]


def _about_transport(receive: Receive) -> About | None:
    """Return what answers questions about the connection; None: it is out of reach."""
    # Of uvicorn's objects `receive` is a method, of gunicorn's one that knows such an object.
    owner = getattr(receive, "__self__", None)
    if owner is None:
        return None
    transport = getattr(owner, "transport", None)
    if transport is None:
        transport = getattr(getattr(owner, "protocol", None), "transport", None)
    about: About | None = getattr(transport, "get_extra_info", None)
    return about


def _put_in_front(receive: Receive) -> str:
    """Return the prefix that uvicorn puts in front of every path; "" where none is known."""
    owner = getattr(receive, "__self__", None)  # of a WebSocket the protocol itself
    if not hasattr(owner, "root_path"):
        find = getattr(getattr(owner, "transport", None), "get_protocol", None)
        owner = None if find is None else find()
    front = getattr(owner, "root_path", "")
    is_uvicorns = any(cls.__module__.startswith("uvicorn.") for cls in type(owner).__mro__)
    return front.rstrip("/") if is_uvicorns and isinstance(front, str) else ""


def _shown(scope: Scope, about: About | None) -> Shown:
    """Return what the caller has shown in TLS: what the server says of it, else what is found."""
    extensions = scope.get("extensions")
    extension = extensions.get("tls") if extensions else None
    if extension is not None:
        return shown_in_extension(extension)
    return (None, None) if about is None else shown_on(about)


def _addresses(
    scope: Scope, about: About | None
) -> tuple[str | None, int | None, str | None, int | None]:
    """Return the peer's address and port, and the address and port where the call came in.

    Behind its own proxy-header middleware uvicorn puts what `X-Forwarded-For` says into
    `scope["client"]`; the transport knows better.
    """
    if about is None:
        source, here = scope.get("client"), scope.get("server")
    else:
        source, here = about("peername"), about("sockname")
    # A Unix socket has a path or nothing where others have a pair: then nothing is known.
    source_ip, source_port = None, None
    if isinstance(source, _PAIR) and source:
        source_ip = source[0]
        if len(source) > 1 and isinstance(source[1], int):
            source_port = source[1]
    if not isinstance(here, _PAIR) or len(here) < 2 or not isinstance(here[1], int):
        return source_ip, source_port, None, None
    return source_ip, source_port, here[0], here[1]
