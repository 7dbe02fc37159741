"""What rules may ask about one request, taken apart once for all of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from meshware.call import HeaderLookup
from meshware.identity.spiffe import SpiffeID

__all__ = [
    "EndUser",
    "Facts",
    "Handler",
    "HandlersOf",
    "Values",
    "count_values",
    "host_forms",
    "no_handlers_known",
]

# Fields whose value is one by definition, so that a comma in them joins nothing.
_SINGLE = frozenset(
    {
        "authorization",
        "content-disposition",
        "content-length",
        "content-location",
        "content-type",
        "cookie",
        "date",
        "from",
        "host",
        "if-modified-since",
        "if-range",
        "if-unmodified-since",
        "location",
        "origin",
        "proxy-authorization",
        "referer",
        "user-agent",
    }
)


@dataclass(frozen=True, slots=True)
class Values:
    """What a header says, in every way in which it may be read."""

    parts: tuple[str, ...]  # one by one
    joined: str  # in one line, as WSGI servers hand it over
    readings: frozenset[str]  # the parts, the lines, and all in one


@dataclass(frozen=True, slots=True, kw_only=True)
class EndUser:
    """Who is behind a call, by tokens that were verified. Source: Istio, `request.auth.*`."""

    principal: str | None = None  # "iss/sub"; None: the token lacks one of them
    audiences: tuple[str, ...] = ()
    presenter: str | None = None  # `azp`
    claims: Mapping[str, Any] = field(default_factory=dict, repr=False)
    until: float | None = None  # unix seconds at which the proof ends


@dataclass(frozen=True, slots=True, kw_only=True)
class Handler:
    """What an app runs for a request, by every name that policy may give it."""

    routes: tuple[str, ...] = ()  # templates: as the framework writes it, and with plain braces
    # Templates that rules may mean it by, too, as with part of what is in front: what refuses holds
    # for them as well, and what allows never does.
    besides: tuple[str, ...] = ()
    # Where the mounts in front are not known: the templates behind them, in place of `routes`.
    tails: tuple[str, ...] = ()
    functions: tuple[str, ...] = ()  # the bare name, and the one with its module
    operation_ids: tuple[str, ...] | None = ()  # of OpenAPI; None: it may have one that is not seen


HandlersOf = Callable[[str | None], tuple[Handler, ...] | None]
"""Return what may handle a request whose path the app sees as this (decoded; None: as received).

(): nothing does, and the app will say so. None: it is not known what will.
"""


def no_handlers_known(_: str | None) -> None:
    """Know nothing of handlers: the app is of no framework that can be asked."""


class Facts(msgspec.Struct, eq=False):
    """What rules may ask about one request. Made for each, and by position: that is fast."""

    method: str
    authority: str  # the Host header; "" when there is none
    headers: HeaderLookup
    source_ip: str | None  # None: not known
    destination_ip: str | None
    port: int | None
    names: Sequence[str] | None = None  # of the headers, lower case; None: not known
    peer: SpiffeID | None = None  # who calls, authenticated; None: nobody is
    user: EndUser | None = None  # None: no token came, or none was asked for
    sni: str | None = ""  # the name that the caller asked for in TLS; "": none; None: not known
    remote_ip: str | None = None  # who called first, as trusted proxies say; None: not known
    handlers_of: HandlersOf = no_handlers_known
    app_path: str | None = None  # decoded, that the app will see; None: as received
    # Made when a rule first asks.
    _values: dict[str, Values | None] | None = None
    _hosts: tuple[str, ...] | None = None

    def hosts(self) -> tuple[str, ...]:
        """Return every form of the Host header; none, where there is no such header."""
        if self._hosts is None:
            self._hosts = host_forms(self.authority) if self.authority else ()
        return self._hosts

    def values(self, name: str) -> Values | None:
        """Return what a header says, taken apart once for all rules; None: it is not there."""
        known = self._values
        if known is None:
            known = self._values = {}
        if name not in known:
            lines = [line.strip(" \t") for line in self.headers(name)]
            known[name] = _values(name, lines) if lines else None
        return known[name]


def count_values(name: str, lines: Sequence[str]) -> int:
    """Return how many values a header has, at the most."""
    if name in _SINGLE:
        return len(lines)
    return len(lines) + sum(line.count(",") for line in lines)


def _values(name: str, lines: Sequence[str]) -> Values:
    joined = ",".join(lines)
    if name in _SINGLE or "," not in joined:
        parts = tuple(lines)
    else:
        parts = tuple([part.strip(" \t") for part in joined.split(",")])
    return Values(parts, joined, frozenset((*parts, *lines, joined)))


def host_forms(authority: str) -> tuple[str, ...]:
    """Return how a Host header may be written: as it is, without trailing dot, without port."""
    written = authority.lower()
    host, colon, port = written.rpartition(":")
    if not colon or (port and not port.isdigit()):
        host, colon, port = written, "", ""
    bare = host.removesuffix(".")
    return tuple(dict.fromkeys((written, f"{bare}{colon}{port}", bare)))
