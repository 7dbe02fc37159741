"""Write metrics as Prometheus reads them: its text format and OpenMetrics.

prometheus_client writes the daemon's own few metrics; a mesh has a hundred thousand samples, each
with two dozen labels, so here the text of labels is kept from one scrape to the next.
Sources: Prometheus, "Exposition formats"; OpenMetrics 1.0.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache
from itertools import accumulate

from meshware.policy.telemetry_plan import METRICS
from meshware.telemetry.series import (
    BUCKETS,
    COUNT,
    ENDPOINT_ATTEMPTS,
    ENDPOINT_EJECTIONS,
    Exemplar,
    Histogram,
    Labels,
    Series,
    of_metric,
)

__all__ = ["BOUNDS", "HELP", "HISTOGRAMS", "exposition"]

HELP = {
    COUNT: "Calls. Source: Istio, requests_total.",
    METRICS["REQUEST_DURATION"]: "How long calls took, in milliseconds.",
    METRICS["REQUEST_SIZE"]: "Bytes of the bodies of requests.",
    METRICS["RESPONSE_SIZE"]: "Bytes of the bodies of responses.",
    "meshware_attempts_total": "Attempts of calls, the first ones too.",
    "meshware_retries_total": "Attempts behind the first one of a call.",
    "meshware_overflows_total": "Calls that met a limit of policy: of requests, or of retries.",
    "meshware_route_requests_total": "Calls by the framework's route template.",
    "meshware_exceptions_total": "Exceptions that apps raised, by type.",
    "meshware_decisions_total": "Calls that the mesh has decided on.",
    "meshware_decision_seconds_total": "Time that the mesh took to decide, without waits.",
    "meshware_telemetry_left_out_total": "Calls that were not counted, for want of room.",
    "meshware_telemetry_failures_total": "Times telemetry failed; the calls went on.",
    "meshware_policy_generation": "The policy in force in a workload's oldest worker.",
    "meshware_policy_applied_timestamp_seconds": "When it was applied, unix time.",
    "meshware_certificate_expiry_timestamp_seconds": "When a workload's certificate ends.",
    ENDPOINT_ATTEMPTS: "Attempts by endpoint, and whether they were answered below 500.",
    ENDPOINT_EJECTIONS: "Workers that have an endpoint ejected now.",
    "meshware_ejected_endpoints": "Endpoints that are ejected now, summed over workers.",
}
"""What metrics mean, by their names."""

HISTOGRAMS = (
    (METRICS["REQUEST_DURATION"], "duration"),
    (METRICS["REQUEST_SIZE"], "received"),
    (METRICS["RESPONSE_SIZE"], "sent"),
)
BOUNDS = (*(str(float(bound)) for bound in BUCKETS), "+Inf")
"""Upper bounds of buckets, as `le` has them."""

_LE = tuple(f'le="{bound}"' for bound in BOUNDS)

# All buckets of a histogram at once, "\0" in the place of what each line begins with: most of a
# mesh's metrics are these lines.
_BUCKETS = "\n".join(f"\0{le}}} %d" for le in _LE)

Samples = Mapping[tuple[str, Labels], float]


def exposition(
    series: Iterable[Series], counters: Samples, gauges: Samples, *, is_open: bool
) -> str:
    """Return the text of all metrics, without the end that OpenMetrics asks for.

    Args:
        series: Istio's metrics.
        counters: ours, by name and labels.
        gauges: likewise.
        is_open: as OpenMetrics, with exemplars.
    """
    all_series = list(series)
    lines: list[str] = []
    counted = of_metric(all_series, COUNT)
    if counted:
        _head(lines, COUNT, "counter", is_open=is_open)
        lines += [f"{COUNT}{{{_text(one.labels)}}} {one.count}" for one in counted]
    for name, attribute in HISTOGRAMS:
        kept = of_metric(all_series, name)
        if kept:
            _head(lines, name, "histogram", is_open=is_open)
            for one in kept:
                _histogram(lines, name, _text(one.labels), getattr(one, attribute), is_open=is_open)
    for kind, samples in (("counter", counters), ("gauge", gauges)):
        last = ""
        for (name, labels), value in sorted(samples.items()):
            if name != last:
                last = name
                _head(lines, name, kind, is_open=is_open)
            written = _text(labels)
            lines.append(f"{name}{{{written}}} {_number(value)}")
    if lines:
        lines.append("")  # the last line ends as well; the text, which may be long, is made once
    return "\n".join(lines)


def _head(lines: list[str], name: str, kind: str, *, is_open: bool) -> None:
    # OpenMetrics: the family of a counter has no suffix.
    family = name.removesuffix("_total") if is_open and kind == "counter" else name
    text = HELP.get(name, "Counted by workers.")
    lines.append(f"# HELP {family} {text}")
    lines.append(f"# TYPE {family} {kind}")


def _histogram(
    lines: list[str], name: str, labels: str, histogram: Histogram, *, is_open: bool
) -> None:
    upto = tuple(accumulate(histogram.counts))
    prefix = f"{name}_bucket{{{labels},"
    buckets = (_BUCKETS % upto).replace("\0", prefix)
    if is_open and histogram.exemplars:
        of_bucket = buckets.split("\n")
        for at, exemplar in histogram.exemplars.items():
            of_bucket[at] += _exemplar(exemplar)
        lines += of_bucket
    else:
        lines.append(buckets)
    lines.append(f"{name}_count{{{labels}}} {upto[-1]}")
    lines.append(f"{name}_sum{{{labels}}} {_number(histogram.total)}")


def _exemplar(exemplar: Exemplar) -> str:
    trace = _escaped(exemplar.trace_id[:64])
    return f' # {{trace_id="{trace}"}} {_number(exemplar.value)} {exemplar.at:.3f}'


@lru_cache(maxsize=65536)
def _text(labels: Labels) -> str:
    return ",".join(f'{name}="{_escaped(value)}"' for name, value in labels)


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else repr(value)
