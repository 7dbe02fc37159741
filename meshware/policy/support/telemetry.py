"""The fields of Telemetry, and what MeshConfig says of metrics, spans and access logs."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from meshware.policy.support.status import Support, differs, done, later, never

__all__ = ["PROVIDERS", "TELEMETRY"]

_NO_GATEWAY = "a policy with a target is for gateways and waypoints; write `selector`"
_CEL = (
    "a subset of CEL, see [telemetry](telemetry.md#expressions); what is outside of it is refused "
    "at load, with line and column"
)
_METRICS = "Telemetry.spec.metrics[]"
_TRACING = "Telemetry.spec.tracing[]"
_LOGS = "Telemetry.spec.accessLogging[]"

TELEMETRY: Mapping[str, Support] = MappingProxyType(
    {
        "Telemetry.spec": done(),
        "Telemetry.spec.selector": done(
            "in the root namespace for workloads of that namespace alone; of several that select a "
            "workload the oldest counts"
        ),
        "Telemetry.spec.targetRef": never(_NO_GATEWAY),
        "Telemetry.spec.targetRefs": never(_NO_GATEWAY),
        f"{_METRICS}.providers": done(
            "`prometheus` is built in; of several the first that there is counts"
        ),
        f"{_METRICS}.reportingInterval": differs(
            "in Istio of TCP and of gRPC streams, which are not counted here: it changes nothing, "
            "and `meshware check` warns of it"
        ),
        f"{_METRICS}.overrides[].match.metric": differs(
            "`REQUEST_COUNT`, `REQUEST_DURATION`, `REQUEST_SIZE`, `RESPONSE_SIZE`, `ALL_METRICS`; "
            "those of TCP and gRPC messages are not kept, and `meshware check` warns of them"
        ),
        f"{_METRICS}.overrides[].match.customMetric": differs(
            "one of the four metrics by its name in Prometheus, as in `requests_total`; others are "
            "refused"
        ),
        f"{_METRICS}.overrides[].tagOverrides{{}}.value": differs(_CEL),
        f"{_TRACING}.providers": done(
            "the first counts; `meshware`, spans for the dashboard alone, and `opentelemetry`, "
            "those that the app's own provider exports, are built in"
        ),
        f"{_TRACING}.customTags{{}}.formatter": done(
            "with the operators of [access logs](access-logs.md)"
        ),
        f"{_TRACING}.useRequestIdForTraceSampling": differs(
            "an x-request-id is read, and never changed: decisions travel in trace context"
        ),
        f"{_LOGS}.providers": done(
            "`envoy`, standard output, and `logging`, the standard library's logging alone, are "
            "built in"
        ),
        f"{_LOGS}.filter.expression": differs(_CEL),
    }
)
"""Field path -> status."""

_PROVIDER = "MeshConfig.spec.extensionProviders[]"
_OTEL = f"{_PROVIDER}.opentelemetry"
_OTHER_TRACERS = (
    "spans leave by OTLP; write `opentelemetry`, whose collector passes them on to any other"
)
_OTHER_LOGS = "access logs go to files and to the standard library's logging"

PROVIDERS: Mapping[str, Support] = MappingProxyType(
    {
        f"{_PROVIDER}.prometheus": done("it has no fields"),
        f"{_PROVIDER}.envoyFileAccessLog": done(),
        f"{_PROVIDER}.envoyFileAccessLog.path": done("/dev/stdout where nothing is said"),
        f"{_PROVIDER}.envoyFileAccessLog.logFormat": done("see [access logs](access-logs.md)"),
        _OTEL: done(),
        f"{_OTEL}.service": differs(
            "the address of its first endpoint where the mesh has a service of that name, else the "
            "name itself, by DNS; in plain text"
        ),
        f"{_OTEL}.http": done("OTLP over HTTP; without it over gRPC"),
        f"{_OTEL}.http.path": done(),
        f"{_OTEL}.http.timeout": done("10 s where nothing is said"),
        f"{_OTEL}.http.headers": done("`envName` is a variable of the app's process"),
        f"{_OTEL}.maxTagLength": done("of the path in `http.url`; 256 where nothing is said"),
        f"{_OTEL}.grpc": later("OTLP over gRPC needs none of its settings"),
        f"{_OTEL}.resourceDetectors": never(
            "the resource is made from policy and `OTEL_RESOURCE_ATTRIBUTES`"
        ),
        f"{_OTEL}.dynatraceSampler": never("chance is `randomSamplingPercentage`"),
        f"{_PROVIDER}.envoyHttpAls": never(_OTHER_LOGS),
        f"{_PROVIDER}.envoyTcpAls": never(_OTHER_LOGS),
        f"{_PROVIDER}.envoyOtelAls": never(_OTHER_LOGS),
        f"{_PROVIDER}.zipkin": never(_OTHER_TRACERS),
        f"{_PROVIDER}.lightstep": never(_OTHER_TRACERS),
        f"{_PROVIDER}.datadog": never(_OTHER_TRACERS),
        f"{_PROVIDER}.skywalking": never(_OTHER_TRACERS),
        f"{_PROVIDER}.opencensus": never(_OTHER_TRACERS),
        f"{_PROVIDER}.stackdriver": never(_OTHER_TRACERS),
        f"{_PROVIDER}.sds": never("certificates come from `identity.provider`"),
        "MeshConfig.spec.defaultProviders": done(),
        "MeshConfig.spec.defaultProviders.metrics": differs(
            "`prometheus` where nothing is said, as in Istio's installations; `[]` keeps none"
        ),
        "MeshConfig.spec.defaultProviders.tracing": done("the first counts"),
        "MeshConfig.spec.accessLogFile": done(
            "where neither Telemetry nor defaultProviders say anything of access logs"
        ),
        "MeshConfig.spec.accessLogFormat": done(
            "of accessLogFile, and of the provider `envoy`; of JSON an object, as text"
        ),
        "MeshConfig.spec.accessLogEncoding": done("likewise"),
        "MeshConfig.spec.enableTracing": differs(
            "without a provider of tracing, spans are kept for the dashboard alone; where one is "
            "named it says nothing more"
        ),
        "MeshConfig.spec.defaultConfig.tracing.sampling": done(
            "1 % where nothing is said, as in Istio"
        ),
    }
)
"""Field path -> status."""
