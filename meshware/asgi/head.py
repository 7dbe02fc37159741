"""Translate an ASGI scope into the head that the gate decides on."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, MutableMapping, Sequence
from functools import lru_cache
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
    table = _table(scope["headers"])
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
    query: bytes | None = scope.get("query_string")
    return InboundHead(
        scope.get("method", "GET"),
        scope.get("scheme", "http"),
        scope.get("http_version", "1.1"),
        raw_path.decode("latin-1") if raw_path else None,
        paths,
        table.__getitem__,  # policy says which names are asked for, so they are few
        tuple(table),
        source_ip,
        destination_ip,
        mesh_port if port is None else port,
        source_port,
        partial,
        prefixes,
        chain,
        sni,
        None if query is None else query.decode("latin-1"),
        route or RouteOf(),
        handlers_of,
    )


def _table(headers: Sequence[tuple[bytes, bytes]]) -> defaultdict[str, Sequence[str]]:
    """Return the values of headers by their names, in the order received."""
    table: defaultdict[str, Sequence[str]] = defaultdict(tuple)
    try:
        for raw, value in headers:
            table[_names[raw]] = (value.decode("latin-1"),)
        if len(table) == len(headers):
            return table  # as nearly always: names that are known, and none twice
    except KeyError:
        pass
    table.clear()
    for raw, value in headers:
        table[_names.get(raw) or _name(raw)] += (value.decode("latin-1"),)  # type: ignore[operator]
    return table


def _name(raw: bytes) -> str:
    """Return the name of a header in lower case, and remember it."""
    name = raw.decode("latin-1").lower()
    if len(_names) < _MOST_NAMES and len(raw) < 64:
        _names[raw] = name
    return name


def without(
    pairs: Iterable[tuple[bytes, bytes]], names: tuple[str, ...]
) -> list[tuple[bytes, bytes]]:
    """Return raw headers without some, by their names in lower case."""
    gone = _encoded(names)
    return [pair for pair in pairs if pair[0].lower() not in gone]


@lru_cache(maxsize=256)
def _encoded(names: tuple[str, ...]) -> frozenset[bytes]:
    return frozenset([name.encode("latin-1") for name in names])


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
    source_ip, source_port = _pair(source)
    destination_ip, port = _pair(here)
    return source_ip, source_port, None if port is None else destination_ip, port


def _pair(found: object) -> tuple[str | None, int | None]:
    """Return an address and its port.

    A Unix socket has a path or nothing where others have a pair: then nothing is known.
    """
    if type(found) is tuple and len(found) == 2 and type(found[1]) is int:
        return found
    if not isinstance(found, _PAIR) or not found:
        return None, None
    return found[0], found[1] if len(found) > 1 and isinstance(found[1], int) else None
