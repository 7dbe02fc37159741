"""One inbound request as a driver hands it to the gate; its body stays with the driver."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from meshware.call import HeaderLookup
from meshware.policy.inbound_facts import HandlersOf, no_handlers_known

__all__ = ["InboundHead", "RouteOf"]


class RouteOf:
    """The framework's route template of a call: None until it has routed.

    A framework keeps it in the server's own scope or environ, where the call is found too. So the
    two refer to each other, and only until the call is over: thousands of calls a second must not
    wait for the collector of cycles.
    """

    __slots__ = ("_find", "_found")

    def __init__(self, find: Callable[[], str | None] | None = None) -> None:
        self._find = find
        self._found: str | None = None

    def __call__(self) -> str | None:
        """Return the route, if there is one by now; it is remembered."""
        if self._find is not None:
            found = self._find()
            if found is not None:
                self._found = found
        return self._found

    def settle(self) -> None:
        """Look a last time, and let go of what was looked into."""
        self()
        self._find = None


@dataclass(slots=True, kw_only=True)
class InboundHead:
    """What a server says about a request before the app is called."""

    method: str  # as received; a WebSocket handshake is "GET"
    scheme: str  # "http", "https", "ws" or "wss"
    version: str  # of HTTP: "1.0", "1.1", "2", ...
    target: str | None  # as received, query included; None: the server does not say
    paths: tuple[str, ...]  # decoded, as the app may see it: the whole path first
    partial_paths: tuple[str, ...] = ()  # decoded, without a prefix; they count for DENY alone
    headers: HeaderLookup  # by lower-case name, in the order received
    names: Sequence[str]  # of the headers, lower case
    source_ip: str | None  # the transport's peer; None: not known
    destination_ip: str | None  # the listening socket's; None: not known
    port: int | None  # likewise
    # What the caller has shown in TLS, DER, its leaf first; None: there was no TLS, or the server
    # keeps it to itself. It is verified anew, whatever the server did.
    chain: tuple[bytes, ...] | None = None
    sni: str | None = None  # the name that it asked for in TLS
    # Still encoded, without its question mark; None: only `target` may have it.
    query: str | None = None
    route_of: RouteOf = field(default_factory=RouteOf)
    # What the app would run for it, as its framework says.
    handlers_of: HandlersOf = no_handlers_known
