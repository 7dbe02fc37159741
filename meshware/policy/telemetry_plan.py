"""What is measured, traced and logged at one workload: Telemetry and MeshConfig, merged.

The types are what `meshware.telemetry` reads at call time; whatever has a default has it here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal

__all__ = [
    "DEFAULT_PLAN",
    "METRICS",
    "Expression",
    "LogPlan",
    "LookUp",
    "MetricPlan",
    "MetricsPlan",
    "SidePlan",
    "Tag",
    "TelemetryPlan",
    "TracingPlan",
]

LookUp = Callable[[tuple[str, ...]], object]
"""Return an Envoy attribute by its path, as `("request", "headers", "x-user")`.

Raises `KeyError` where there is none.
"""

Expression = Callable[[LookUp], object]
"""A compiled CEL expression. Raises `KeyError`, `TypeError` or `ValueError` where it fails."""

METRICS = MappingProxyType(
    {
        "REQUEST_COUNT": "istio_requests_total",
        "REQUEST_DURATION": "istio_request_duration_milliseconds",
        "REQUEST_SIZE": "istio_request_bytes",
        "RESPONSE_SIZE": "istio_response_bytes",
    }
)
"""The metrics of HTTP calls, by Istio's names for them in policy. Source: Istio Telemetry."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricPlan:
    """How one metric differs from its standard."""

    is_on: bool = True
    tags: Mapping[str, Expression] = field(default_factory=dict)  # replaced, or added
    removed: frozenset[str] = frozenset()  # labels


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricsPlan:
    """What is counted, by the names of metrics as Prometheus has them."""

    is_on: bool = True  # False: no provider of metrics is named
    changed: Mapping[str, MetricPlan] = field(default_factory=dict)  # others are as Istio has them


@dataclass(frozen=True, slots=True, kw_only=True)
class Tag:
    """A tag of spans; exactly one of the sources is set."""

    name: str
    literal: str | None = None
    environment: str | None = None  # of a variable
    header: str | None = None  # of a request's header, lower case
    formatter: str | None = None  # an access log format string
    default: str | None = None  # where variable or header is absent; None: then there is no tag


@dataclass(frozen=True, slots=True, kw_only=True)
class TracingPlan:
    """Which calls are traced, and how."""

    provider: str  # its name
    kind: Literal["opentelemetry", "meshware"]  # "meshware": kept for the dashboard alone
    host: str = ""  # of an OTLP receiver; "": the app's own TracerProvider exports
    port: int = 0
    path: str | None = None  # of OTLP over HTTP; None: OTLP over gRPC
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    header_variables: tuple[tuple[str, str], ...] = ()  # header, and variable with its value
    timeout_s: float = 10.0
    longest_url: int = 256  # characters of the path in `http.url`; Envoy's max_path_tag_length
    sampling_ratio: float = 0.01  # Istio's PILOT_TRACE_SAMPLING, 1 %
    is_reported: bool = True
    propagates: bool = True
    has_istio_tags: bool = True
    uses_request_id: bool = True
    tags: tuple[Tag, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class LogPlan:
    """One access log."""

    provider: str  # its name
    path: str | None = "/dev/stdout"  # None: through the standard library's logging alone
    text: str | None = None  # a format string; None: Envoy's default, unless `labels` says JSON
    labels: Mapping[str, object] | None = None  # members of a JSON object, each a format string
    omits_empty: bool = False  # what has no value is left out, in place of `-` or null
    filter: Expression | None = None  # None: every call is logged


@dataclass(frozen=True, slots=True, kw_only=True)
class SidePlan:
    """One side: of calls that come in, or of those that go out."""

    metrics: MetricsPlan = MetricsPlan()
    tracing: TracingPlan | None = None  # None: no trace is begun; those of callers are carried
    logs: tuple[LogPlan, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class TelemetryPlan:
    """What is measured, traced and logged at one workload."""

    inbound: SidePlan = SidePlan()
    outbound: SidePlan = SidePlan()


DEFAULT_PLAN = TelemetryPlan()
"""Without any Telemetry and without settings: metrics, and nothing else."""
