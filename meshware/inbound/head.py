"""One inbound request as a driver hands it to the gate; its body stays with the driver."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import msgspec

from meshware.call import HeaderLookup
from meshware.policy.inbound_facts import HandlersOf, no_handlers_known

__all__ = ["InboundHead", "RouteOf", "declared_length", "is_below", "look_up"]


class RouteOf(msgspec.Struct, eq=False):  # made for each call
    """The framework's route template of a call: None until it has routed.

    A framework keeps it in the server's own scope or environ, where the call is found too. So the
    two refer to each other, and only until the call is over: thousands of calls a second must not
    wait for the collector of cycles.

    Attributes:
        find: looks into the scope or environ; None: there is nothing to look into (any more).
        request: that scope or environ.
        found: what was found by now.
        bound: the handler that was decided on; the driver's matter.
    """

    find: Callable[[Any], str | None] | None = None
    request: Any = None
    found: str | None = None
    bound: object = None

    def __call__(self) -> str | None:
        """Return the route, if there is one by now; it is remembered."""
        if self.find is not None:
            found = self.find(self.request)
            if found is not None:
                self.found = found
        return self.found

    def settle(self) -> None:
        """Look a last time, and let go of what was looked into."""
        self()
        self.find = self.request = self.bound = None


def look_up(pairs: Iterable[tuple[str, str]]) -> HeaderLookup:
    """Return what looks up headers by their names in lower case.

    Args:
        pairs: read when the first is looked up, and once.
    """
    table: dict[str, list[str]] = {}
    is_read = False

    def values_of(name: str) -> Sequence[str]:
        nonlocal is_read
        if not is_read:
            is_read = True
            for written, value in pairs:
                table.setdefault(written.lower(), []).append(value)
        return table.get(name, ())

    return values_of


def declared_length(lengths: Sequence[str]) -> int | None:
    """Return what a Content-Length says; None: there is none, or none that can be believed.

    Source: RFC 9110, 8.6: decimal digits, which are fewer in Unicode's eyes than in ASCII's.
    """
    if len(lengths) != 1 or len(lengths[0]) > 18:
        return None
    written = lengths[0]
    return int(written) if written.isascii() and written.isdigit() else None


def is_below(path: str, prefix: str) -> bool:
    """Say whether a path is a prefix or behind it, at a slash."""
    return path.startswith(prefix) and path[len(prefix) : len(prefix) + 1] in ("", "/")


class InboundHead(msgspec.Struct, eq=False):
    """What a server says about a request before the app is called.

    Made for each call, and by position: names of arguments take longer than all the rest of it.
    """

    method: str  # as received; a WebSocket handshake is "GET"
    scheme: str  # "http", "https", "ws" or "wss"
    version: str  # of HTTP: "1.0", "1.1", "2", ...
    target: str | None  # as received, query included; None: the server does not say
    paths: tuple[str, ...]  # decoded, as the app may see it: the whole path first
    headers: HeaderLookup  # by lower-case name, in the order received
    names: Sequence[str]  # of the headers, lower case
    source_ip: str | None  # the transport's peer; None: not known
    destination_ip: str | None  # the listening socket's; None: not known
    port: int | None  # likewise
    source_port: int | None = None  # the transport's peer's; None: not known
    partial_paths: tuple[str, ...] = ()  # decoded, without a prefix; they count for DENY alone
    # Decoded, where the app may be mounted: what the server says, then what else it may mean.
    prefixes: tuple[str, ...] = ("",)
    # What the caller has shown in TLS, DER, its leaf first; None: there was no TLS, or the server
    # keeps it to itself. It is verified anew, whatever the server did.
    chain: tuple[bytes, ...] | None = None
    sni: str | None = None  # the name that it asked for in TLS
    # Still encoded, without its question mark; None: only `target` may have it.
    query: str | None = None
    route_of: RouteOf = msgspec.field(default_factory=RouteOf)
    # What the app would run for it, as its framework says.
    handlers_of: HandlersOf = no_handlers_known
    unclear: str | None = None  # why it cannot be told what is asked for; None: it can
