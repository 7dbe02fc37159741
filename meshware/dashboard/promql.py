"""What to ask Prometheus of an edge or a node of the graph, in PromQL. Pure.

The same sides are believed as in the live graph: sources, for they also saw the calls that never
arrived, and destinations where no source tells. What comes from unknown is what destinations cannot
name less what sources have told of them.

Labels are what workers claim, and a hostile one claims what it likes: text is always a whole value,
escaped and compared for equality. Other kinds of matcher are constants of this file.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from meshware.dashboard.graph import UNKNOWN, Edge, Node
from meshware.telemetry.series import ATTEMPTS, COUNT, DURATION

__all__ = ["NOBODY", "POINTS", "Match", "Span", "of_edge", "of_node", "queries"]

POINTS = 240
"""Of one series: as many as a chart shows."""

_LEAST_STEP_S = 5
_LEAST_RATE_S = 60  # a rate needs two scrapes at least, and most scrape each 15 or 30 s


@dataclass(frozen=True, slots=True)
class Match:
    """Another way to compare than equality. Made of constants alone, never of what was told."""

    kind: Literal["=~", "!~"]
    pattern: str  # RE2, without quotes and backslashes


NOBODY = Match("=~", f"|{UNKNOWN}")
"""What nobody is known by: a label that is absent, empty or says so, as the graph reads it."""

_SOMEBODY = Match("!~", f"|{UNKNOWN}")
_FAILED = Match("=~", "0|5..")

Matchers = Mapping[str, str | Match]
"""Labels and what each must be: text is the value itself, and empty text an absent label."""


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of time, in unix seconds, and the distance of its points."""

    start: int
    end: int
    step_s: int

    @classmethod
    def between(cls, start: int, end: int) -> Span:
        """Return a span whose points lie on multiples of its step, so that they do not wander."""
        step_s = max(_LEAST_STEP_S, -(-(end - start) // POINTS))
        return cls(start - start % step_s, end - end % step_s, step_s)

    @property
    def instants(self) -> range:
        """The time of each point."""
        return range(self.start, self.end + 1, self.step_s)


@dataclass(frozen=True, slots=True)
class Selection:
    """Which calls are meant.

    Attributes:
        known: matchers of calls whose caller is known, or of all of a node's; None: none are meant.
        service: matchers of the service of which unknown callers are meant too, empty: of all
            services; None: none are.
    """

    known: Matchers | None
    service: Matchers | None = None


def of_edge(edge: Edge) -> Selection:
    """Return the calls of an edge."""
    target = _target(edge.target)
    if edge.source.id == UNKNOWN:
        return Selection(None, target)
    if edge.target.kind == "version":
        return Selection(target)  # of a service to one of its versions, whoever calls
    return Selection({**_source(edge.source), **target})


def of_node(node: Node, *, is_called: bool, has_unknown: bool) -> Selection:
    """Return the calls to a node; of one that nobody calls, its own.

    Args:
        node: a service, version or host; or whoever calls.
        is_called: there are edges into it.
        has_unknown: one of them is from unknown.
    """
    if not is_called:
        return Selection(None, {}) if node.id == UNKNOWN else Selection(_source(node))
    target = _target(node)
    return Selection(target, target if has_unknown else None)


def queries(selection: Selection, span: Span) -> dict[str, str]:
    """Return the expressions of `rate`, `errors`, `p50_ms`, `p95_ms`, `p99_ms` and `attempts`."""
    found = {
        "rate": _sum(selection, span, {}),
        "errors": _sum(selection, span, {"response_code": _FAILED}),
        "attempts": _attempts(selection, span),
    }
    buckets = _buckets(selection, span)
    for name, share in (("p50_ms", 0.5), ("p95_ms", 0.95), ("p99_ms", 0.99)):
        found[name] = buckets and f"histogram_quantile({share}, {buckets})"
    return {name: expression for name, expression in found.items() if expression}


def _source(node: Node) -> dict[str, str | Match]:
    return {"source_canonical_service": node.name, "source_workload_namespace": node.namespace}


def _target(node: Node) -> dict[str, str | Match]:
    if node.kind == "outside":
        return {"destination_service": node.name}
    if node.id == UNKNOWN:
        nameless = ("service", "service_name", "canonical_service")
        return {f"destination_{name}": NOBODY for name in nameless}
    found: dict[str, str | Match] = {
        "destination_service_name": node.name,
        "destination_service_namespace": node.namespace,
    }
    return found if node.version is None else {**found, "destination_version": node.version}


def _rate(metric: str, matchers: Matchers, span: Span, by: str = "") -> str:
    window_s = max(_LEAST_RATE_S, 2 * span.step_s)
    return f"sum{by}(rate({metric}{{{_written(matchers)}}}[{window_s}s]))"


def _sum(selection: Selection, span: Span, extra: Matchers) -> str:
    parts = []
    if selection.known is not None:
        parts.append(_either(COUNT, {**selection.known, **extra}, span))
    if selection.service is not None:
        parts.append(_strangers({**selection.service, **extra}, span))
    return parts[0] if len(parts) == 1 else " + ".join(f"({part} or vector(0))" for part in parts)


def _either(metric: str, matchers: Matchers, span: Span, by: str = "") -> str:
    source, destination = (
        _rate(metric, {"reporter": side, **matchers}, span, by)
        for side in ("source", "destination")
    )
    return f"({source} or {destination})"


def _strangers(matchers: Matchers, span: Span) -> str:
    """Return what comes from unknown, service by service: what is told of one is not another's."""
    by = " by (destination_service_name, destination_service_namespace) "
    seen = {"reporter": "destination", **matchers}
    unknown = _rate(COUNT, {**seen, "source_canonical_service": NOBODY}, span, by)
    named = _rate(COUNT, {**seen, "source_canonical_service": _SOMEBODY}, span, by)
    told = _rate(COUNT, {"reporter": "source", **matchers}, span, by)
    ours = f"clamp_min(({told} or 0 * {unknown}) - ({named} or 0 * {unknown}), 0)"
    return f"sum(clamp_min({unknown} - {ours}, 0))"


def _buckets(selection: Selection, span: Span) -> str:
    metric, by = f"{DURATION}_bucket", " by (le) "
    if selection.known is not None:
        return _either(metric, selection.known, span, by)
    if selection.service is None:
        return ""
    strangers: Matchers = {"reporter": "destination", "source_canonical_service": NOBODY}
    return _rate(metric, {**strangers, **selection.service}, span, by)


def _attempts(selection: Selection, span: Span) -> str:
    """Return the attempts of those who make the calls; strangers' are not counted.

    Nor are they counted by version: those of a whole service are no answer for one.
    """
    if selection.known is None or "destination_version" in selection.known:
        return ""
    window_s = max(_LEAST_RATE_S, 2 * span.step_s)
    pair = "source_workload, source_workload_namespace, destination_service"
    told = _written({"reporter": "source", **selection.known})
    return f"sum(rate({ATTEMPTS}[{window_s}s]) and on ({pair}) {COUNT}{{{told}}})"


def _written(matchers: Matchers) -> str:
    return ",".join(_matcher(name, value) for name, value in matchers.items())


def _matcher(name: str, value: str | Match) -> str:
    if isinstance(value, Match):
        return f'{name}{value.kind}"{value.pattern}"'
    written = value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'{name}="{written}"'
