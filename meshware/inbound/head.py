"""One inbound request as a driver hands it to the gate; its body stays with the driver."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from meshware.call import HeaderLookup

__all__ = ["InboundHead"]


def _no_route() -> str | None:
    return None


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
    route_of: Callable[[], str | None] = _no_route  # the framework's route, once it has routed
