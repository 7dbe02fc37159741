"""What rules may ask about one request, taken apart once for all of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from meshware.call import HeaderLookup
from meshware.identity.spiffe import SpiffeID

__all__ = ["Facts", "Values", "count_values", "host_forms"]

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


@dataclass(slots=True, kw_only=True)
class Facts:
    """What rules may ask about one request."""

    method: str
    authority: str  # the Host header; "" when there is none
    headers: HeaderLookup
    source_ip: str | None  # None: not known
    destination_ip: str | None
    port: int | None
    peer: SpiffeID | None = None  # who calls, authenticated; None: nobody is
    sni: str | None = None  # the name that the caller asked for in TLS
    _values: dict[str, Values | None] | None = None  # made when a rule first asks

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
