"""Telemetry: what is measured, traced and logged. Source: telemetry.istio.io/v1."""

from __future__ import annotations

from typing import Literal

from meshware.policy.document.common import (
    Document,
    Duration,
    Percentage,
    PolicyTargetReference,
    WorkloadSelector,
)

__all__ = [
    "AccessLogging",
    "CustomTag",
    "EnvironmentTag",
    "Filter",
    "FormatterTag",
    "HeaderTag",
    "LiteralTag",
    "LogSelector",
    "MetricSelector",
    "Metrics",
    "MetricsOverride",
    "ProviderRef",
    "TagOverride",
    "TelemetrySpec",
    "Tracing",
]

Mode = Literal["CLIENT_AND_SERVER", "CLIENT", "SERVER"]


class ProviderRef(Document, frozen=True):
    """A provider by its name in MeshConfig."""

    name: str


class LogSelector(Document, frozen=True):
    """Which side a rule is for."""

    mode: Mode | None = None


class Filter(Document, frozen=True):
    """A CEL expression over Envoy's attributes."""

    expression: str | None = None


class AccessLogging(Document, frozen=True):
    """Which calls are logged, and where."""

    match: LogSelector | None = None
    providers: tuple[ProviderRef, ...] | None = None
    disabled: bool | None = None
    filter: Filter | None = None


class MetricSelector(Document, frozen=True):
    """Which metric and side an override is for."""

    metric: (
        Literal[
            "ALL_METRICS",
            "REQUEST_COUNT",
            "REQUEST_DURATION",
            "REQUEST_SIZE",
            "RESPONSE_SIZE",
            "TCP_OPENED_CONNECTIONS",
            "TCP_CLOSED_CONNECTIONS",
            "TCP_SENT_BYTES",
            "TCP_RECEIVED_BYTES",
            "GRPC_REQUEST_MESSAGES",
            "GRPC_RESPONSE_MESSAGES",
        ]
        | None
    ) = None
    custom_metric: str | None = None
    mode: Mode | None = None


class TagOverride(Document, frozen=True):
    """Change or remove one label."""

    operation: Literal["UPSERT", "REMOVE"] | None = None
    value: str | None = None


class MetricsOverride(Document, frozen=True):
    """Change or drop one metric."""

    match: MetricSelector | None = None
    disabled: bool | None = None
    tag_overrides: dict[str, TagOverride] | None = None


class Metrics(Document, frozen=True):
    """Which metrics are kept, and where."""

    providers: tuple[ProviderRef, ...] | None = None
    overrides: tuple[MetricsOverride, ...] | None = None
    reporting_interval: Duration | None = None


class LiteralTag(Document, frozen=True):
    """A tag with a fixed value."""

    value: str


class EnvironmentTag(Document, frozen=True):
    """A tag from an environment variable."""

    name: str
    default_value: str | None = None


class HeaderTag(Document, frozen=True):
    """A tag from a request header."""

    name: str
    default_value: str | None = None


class FormatterTag(Document, frozen=True):
    """A tag from an access log format string."""

    value: str


class CustomTag(Document, frozen=True):
    """Where a tag's value comes from; exactly one is set."""

    literal: LiteralTag | None = None
    environment: EnvironmentTag | None = None
    header: HeaderTag | None = None
    formatter: FormatterTag | None = None


class Tracing(Document, frozen=True):
    """Which calls are traced, and how."""

    match: LogSelector | None = None
    providers: tuple[ProviderRef, ...] | None = None
    random_sampling_percentage: Percentage | None = None
    disable_span_reporting: bool | None = None
    disable_context_propagation: bool | None = None
    custom_tags: dict[str, CustomTag] | None = None
    enable_istio_tags: bool | None = None
    use_request_id_for_trace_sampling: bool | None = None


class TelemetrySpec(Document, frozen=True):
    """What is measured, traced and logged at some workloads."""

    selector: WorkloadSelector | None = None
    target_ref: PolicyTargetReference | None = None
    target_refs: tuple[PolicyTargetReference, ...] | None = None
    tracing: tuple[Tracing, ...] | None = None
    metrics: tuple[Metrics, ...] | None = None
    access_logging: tuple[AccessLogging, ...] | None = None
