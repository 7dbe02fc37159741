"""What is seen of a call on each side, and in which aspects the two differ."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from conformance.upstreams import CASE, Arrival

# Envoy's own headers between hops, and values that no two calls share.
IGNORED_REQUEST_HEADERS = frozenset(
    {
        CASE,
        "x-envoy-expected-rq-timeout-ms",  # what is left of the time-out, for the next proxy
        "x-forwarded-proto",  # of the hop to the proxy
        "x-envoy-internal",  # likewise
        "connection",  # of the hop, not of the request
    }
)
IGNORED_RESPONSE_HEADERS = frozenset(
    {
        "date",
        "server",
        "connection",
        "x-envoy-upstream-service-time",
        "transfer-encoding",
    }
)
VALUE_IGNORED = frozenset({"x-request-id"})  # that there is one is compared, not which


@dataclass(frozen=True)
class Seen:
    """One call as it went on one side."""

    status: int
    body: bytes
    headers: dict[str, list[str]]
    flags: str
    attempts: int
    route: str
    arrivals: tuple[Arrival, ...]
    broken: bool = False  # the response broke off behind its headers
    raised: str = ""  # there was no response: the client library's exception
    details: str = ""  # Envoy's, for the reader of a failure
    logged: Mapping[str, Any] = field(default_factory=dict)  # its entry in the access log


@dataclass(frozen=True)
class Played:
    """A case as it went on one side."""

    calls: Sequence[Seen]
    took_s: float


@dataclass
class Differences:
    """In which aspects a case differs, with what to show a reader."""

    found: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))

    def note(self, aspect: str, where: str, envoy: object, mesh: object) -> None:
        """Write one down when there is one."""
        if envoy == mesh:
            return
        if isinstance(envoy, dict) and isinstance(mesh, dict):
            names = {name for name in {**envoy, **mesh} if envoy.get(name) != mesh.get(name)}
            envoy, mesh = ({n: side[n] for n in names & set(side)} for side in (envoy, mesh))
        self.found[aspect].append(f"{where}: Envoy {envoy!r}, meshware {mesh!r}")

    def __str__(self) -> str:
        return "\n".join(
            f"{aspect}: {line}" for aspect, lines in sorted(self.found.items()) for line in lines
        )


# What is compared of a call. Flags are compared as a set: the mesh tells them in a fixed order.
_ASPECTS: dict[str, Callable[[Seen], object]] = {
    "raised": lambda seen: seen.raised,
    "status": lambda seen: seen.status,
    "broken": lambda seen: seen.broken,
    "body": lambda seen: b"" if seen.broken else seen.body,
    "response-headers": lambda seen: seen.headers,
    "flags": lambda seen: sorted(seen.flags.split(",")),
    "attempts": lambda seen: seen.attempts,
    "route": lambda seen: seen.route,
    "upstream": lambda seen: [arrival.upstream for arrival in seen.arrivals],
    "method": lambda seen: [arrival.method for arrival in seen.arrivals],
    "target": lambda seen: [arrival.target for arrival in seen.arrivals],
    "request-body": lambda seen: [arrival.body for arrival in seen.arrivals],
}


def compare(envoy: Played, mesh: Played, *, unordered: bool) -> Differences:
    """Compare two sides call by call, in each aspect of `_ASPECTS` and in `request-headers`.

    Args:
        envoy: one side.
        mesh: the other.
        unordered: chance has a hand in each call; their outcomes together are compared.
    """
    found = Differences()
    for aspect, of in _ASPECTS.items():
        sides = [[of(seen) for seen in side.calls] for side in (envoy, mesh)]
        if unordered:
            found.note(aspect, "all calls", *(_sorted(side) for side in sides))
            continue
        for number, (theirs, ours) in enumerate(zip(*sides, strict=True)):
            found.note(aspect, f"call {number}", theirs, ours)
    for number, (theirs, ours) in enumerate(zip(envoy.calls, mesh.calls, strict=True)):
        # Copies come in any order, before or behind what they are copies of.
        arrivals = [sorted(side.arrivals, key=_place) for side in (theirs, ours)]
        for one, other in zip(*arrivals, strict=False):
            headers = [by_name(a.headers, IGNORED_REQUEST_HEADERS) for a in (one, other)]
            found.note("request-headers", f"call {number}", *headers)
    return found


def _sorted(values: list[object]) -> list[object]:
    inner = [sorted(value) if isinstance(value, list) else value for value in values]
    return sorted(inner, key=repr)


def _place(arrival: Arrival) -> tuple[bool, float]:
    is_copy = any(name == "host" and "-shadow" in value for name, value in arrival.headers)
    return is_copy, arrival.at


def by_name(headers: Iterable[tuple[str, str]], ignored: frozenset[str]) -> dict[str, list[str]]:
    """Headers without those that are not compared, all values of a name together."""
    found: dict[str, list[str]] = {}
    for name, value in headers:
        lower = name.lower()
        is_framing = lower == "content-length" and value == "0"  # Envoy: for some methods
        if lower not in ignored and not is_framing:
            found.setdefault(lower, []).append("*" if lower in VALUE_IGNORED else value)
    return dict(sorted(found.items()))
