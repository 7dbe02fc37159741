"""Telemetries, and MeshConfig's providers of metrics, spans and logs: what is refused or told."""

from __future__ import annotations

import pytest
from policy_check import brief, problems, resource, workload

from meshware.policy.parse import parse_text

TELEMETRY = "telemetry.istio.io/v1"


def telemetry(spec, name="it", namespace="default", **metadata):
    """One Telemetry."""
    return resource("Telemetry", spec, name, namespace, TELEMETRY, **metadata)


def mesh_config(**spec):
    """The MeshConfig."""
    return resource("MeshConfig", spec, "mesh", "istio-system", "meshware.dev/v1alpha1")


def tag(**fields):
    """Metrics with one override of the tag `t`."""
    return {"metrics": [{"overrides": [{"tagOverrides": {"t": fields}}]}]}


def custom(**fields):
    """Tracing with the custom tag `t`."""
    return {"tracing": [{"customTags": {"t": fields}}]}


TAG = "spec.metrics[0].overrides[0].tagOverrides[t]"
MATCH = "spec.metrics[0].overrides[0].match"
CUSTOM = "spec.tracing[0].customTags[t]"
FILTER = "spec.accessLogging[0].filter.expression"


def matching(**match):
    """Metrics with one override of what matches."""
    return {"metrics": [{"overrides": [{"match": match}]}]}


@pytest.mark.parametrize(
    ("spec", "severity", "field", "message"),
    [
        (tag(), "error", f"{TAG}.value", "value is missing"),
        (tag(operation="UPSERT", value=""), "error", f"{TAG}.value", "value is missing"),
        (tag(operation="REMOVE", value="1"), "error", f"{TAG}.value", "has no value"),
        (
            tag(value="request.hst"),
            "error",
            f"{TAG}.value",
            "at line 1, column 9: there is no attribute request.hst; did you mean request.host?",
        ),
        (tag(value="request."), "error", f"{TAG}.value", "line 1, column 9"),
        (
            {"metrics": [{"overrides": [{"tagOverrides": {"t" * 257: {"operation": "REMOVE"}}}]}]},
            "error",
            f"spec.metrics[0].overrides[0].tagOverrides[{'t' * 257}]",
            "1 to 256 characters",
        ),
        (
            matching(metric="REQUEST_COUNT", customMetric="requests_total"),
            "error",
            MATCH,
            "keep one",
        ),
        (
            matching(customMetric="request_total"),
            "error",
            f"{MATCH}.customMetric",
            "requests_total?",
        ),
        (matching(customMetric="mine"), "error", f"{MATCH}.customMetric", "write one of"),
        (matching(metric="TCP_SENT_BYTES"), "warning", f"{MATCH}.metric", "changes nothing"),
        (
            {"metrics": [{"reportingInterval": "0s"}]},
            "error",
            "spec.metrics[0].reportingInterval",
            "at least 1ms",
        ),
        (
            {"metrics": [{"reportingInterval": "5s"}]},
            "warning",
            "spec.metrics[0].reportingInterval",
            "changes nothing here",
        ),
        (
            {"metrics": [{"providers": [{"name": ""}]}]},
            "error",
            "spec.metrics[0].providers[0].name",
            "name is empty",
        ),
        (
            {"metrics": [{"providers": [{"name": "prometheus"}, {"name": "Prometheus"}]}]},
            "error",
            "spec.metrics[0].providers[1].name",
            "there already",
        ),
        (
            {"metrics": [{"providers": [{"name": "promethus"}]}]},
            "warning",
            "spec.metrics[0].providers[0].name",
            "did you mean prometheus?",
        ),
        (
            {"metrics": [{"providers": [{"name": "envoy"}]}]},
            "warning",
            "spec.metrics[0].providers[0].name",
            "no provider of metrics",
        ),
        (
            {"tracing": [{"providers": [{"name": "zipkin"}]}]},
            "warning",
            "spec.tracing[0].providers[0].name",
            "there are meshware, opentelemetry",
        ),
        (
            {"tracing": [{"providers": [{"name": "meshware"}, {"name": "opentelemetry"}]}]},
            "warning",
            "spec.tracing[0].providers",
            "the first counts",
        ),
        (
            {"accessLogging": [{"providers": [{"name": "splunk"}]}]},
            "warning",
            "spec.accessLogging[0].providers[0].name",
            "there are envoy, logging",
        ),
        (custom(), "error", CUSTOM, "write one of literal"),
        (
            custom(literal={"value": "a"}, header={"name": "b"}),
            "error",
            CUSTOM,
            "has literal and header",
        ),
        (custom(literal={"value": ""}), "error", f"{CUSTOM}.literal.value", "value is empty"),
        (custom(environment={"name": ""}), "error", f"{CUSTOM}.environment.name", "the variable's"),
        (custom(header={"name": "a b"}), "error", f"{CUSTOM}.header.name", "of a header"),
        (custom(formatter={"value": ""}), "error", f"{CUSTOM}.formatter.value", "value is empty"),
        (
            custom(formatter={"value": "%REQ(A%"}),
            "error",
            f"{CUSTOM}.formatter.value",
            "at character 1",
        ),
        ({"accessLogging": [{"filter": {}}]}, "error", FILTER, "expression is missing"),
        (
            {"accessLogging": [{"filter": {"expression": "response.code"}}]},
            "error",
            FILTER,
            "never true or false",
        ),
        (
            {"accessLogging": [{"filter": {"expression": "response.code >\n= 400"}}]},
            "error",
            FILTER,
            "at line 2, column 1",
        ),
    ],
)
def test_a_wrong_value_is_told_once(spec, severity, field, message):
    """With its field, and what to write."""
    found = problems(telemetry(spec))
    assert [(str(p.severity), p.field) for p in found] == [(severity, field)]
    assert message in found[0].message
    assert found[0].file == "mesh.yaml"
    assert found[0].line


@pytest.mark.parametrize(
    ("spec", "field", "message"),
    [
        ({"metric": []}, "spec.metric", "did you mean 'metrics'?"),
        ({"targetRef": {"kind": "Gateway", "name": "a"}}, "spec.targetRef", "write `selector`"),
        ({"targetRefs": []}, "spec.targetRefs", "write `selector`"),
        (
            {"tracing": [{"randomSamplingPercentage": 101}]},
            "spec.tracing[0].randomSamplingPercentage",
            "from 0 to 100",
        ),
        (
            matching(metric="REQUESTS"),
            f"{MATCH}.metric",
            "write one of ALL_METRICS",
        ),
        (matching(mode="BOTH"), f"{MATCH}.mode", "CLIENT_AND_SERVER"),
        ({"metrics": [{"providers": [{}]}]}, "spec.metrics[0].providers[0].name", "missing"),
        (custom(environment={}), f"{CUSTOM}.environment.name", "missing"),
    ],
)
def test_what_is_not_of_the_kind_is_refused(spec, field, message):
    """Unknown fields, words and numbers out of range, and targets."""
    _, found = parse_text(telemetry(spec), "mesh.yaml")
    assert [problem.field for problem in found] == [field]
    assert message in found[0].message


@pytest.mark.parametrize("version", ["v1", "v1alpha1"])
def test_every_field_is_taken(version):
    """In both versions, without a word."""
    spec = {
        "selector": {"matchLabels": {"app": "web"}},
        "metrics": [
            {
                "providers": [{"name": "Prometheus"}],
                "overrides": [
                    {
                        "match": {"metric": "REQUEST_COUNT", "mode": "CLIENT"},
                        "disabled": False,
                        "tagOverrides": {
                            "a": {"operation": "UPSERT", "value": "request.host"},
                            "b": {"operation": "REMOVE"},
                        },
                    },
                    {"match": {"customMetric": "istio_requests_total"}},
                ],
            }
        ],
        "tracing": [
            {
                "match": {"mode": "SERVER"},
                "providers": [{"name": "otlp"}],
                "randomSamplingPercentage": 12.5,
                "disableSpanReporting": False,
                "disableContextPropagation": False,
                "enableIstioTags": True,
                "useRequestIdForTraceSampling": True,
                "customTags": {
                    "a": {"literal": {"value": "x"}},
                    "b": {"environment": {"name": "ZONE", "defaultValue": "none"}},
                    "c": {"header": {"name": "x-user", "defaultValue": "none"}},
                    "d": {"formatter": {"value": "%REQ(X-USER)%"}},
                },
            }
        ],
        "accessLogging": [
            {
                "match": {"mode": "CLIENT_AND_SERVER"},
                "providers": [{"name": "file"}],
                "disabled": False,
                "filter": {"expression": "response.code >= 400"},
            }
        ],
    }
    config = mesh_config(
        extensionProviders=[
            {"name": "prom", "prometheus": {}},
            {
                "name": "otlp",
                "opentelemetry": {
                    "service": "otel/collector.example.com",
                    "port": 4318,
                    "maxTagLength": 100,
                    "http": {
                        "path": "/v1/traces",
                        "timeout": "5s",
                        "headers": [
                            {"name": "a", "value": "b"},
                            {"name": "c", "envName": "TOKEN"},
                        ],
                    },
                },
            },
            {
                "name": "file",
                "envoyFileAccessLog": {
                    "path": "/var/log/access",
                    "logFormat": {
                        "labels": {"s": "%RESPONSE_CODE%", "n": [1, None, {"a": True, "b": 1.5}]}
                    },
                    "omitEmptyValues": True,
                },
            },
        ],
        defaultProviders={"metrics": ["PROM"], "tracing": ["otlp"], "accessLogging": ["File"]},
        accessLogFile="/dev/stdout",
        accessLogFormat="%PROTOCOL%\n",
        accessLogEncoding="TEXT",
        enableTracing=True,
        defaultConfig={"tracing": {"sampling": 5}},
    )
    made = resource("Telemetry", spec, api=f"telemetry.istio.io/{version}")
    assert problems(made, config, workload("web")) == []


# --- several ----------------------------------------------------------------------------------


def test_of_several_without_a_selector_the_first_counts():
    """The others are warned of, with the place of the one that does."""
    first = telemetry({}, "old", creationTimestamp="2026-01-01T00:00:00Z")
    found = problems(telemetry({}, "a"), first, telemetry({"selector": {}}, "b"))
    rivals = [problem for problem in found if problem.code == "IST0160"]
    assert [(str(p.severity), p.name, p.field) for p in rivals] == [
        ("warning", "a", "spec"),
        ("warning", "b", "spec"),
    ]
    assert "old (mesh.yaml:7)" in rivals[0].message or "old (mesh.yaml:6)" in rivals[0].message
    assert problems(telemetry({}, "a"), telemetry({}, "b", "other")) == []


def test_of_several_that_select_a_workload_the_first_counts():
    """Also where their selectors differ."""
    by_app = telemetry({"selector": {"matchLabels": {"app": "web"}}}, "a")
    by_tier = telemetry({"selector": {"matchLabels": {"tier": "front"}}}, "b")
    web = workload("web", labels={"app": "web", "tier": "front"})
    assert brief(problems(by_app, by_tier, web)) == [("warning", "IST0159", "spec.selector")]
    assert problems(by_app, by_tier, workload("web"), workload("x", labels={"tier": "front"})) == []


def test_a_selector_that_selects_nobody_is_told():
    """In the root namespace it is for that namespace's workloads."""
    there = {"selector": {"matchLabels": {"app": "web"}}}
    web = workload("web")
    assert problems(telemetry(there), web) == []
    for at in ("other", "istio-system"):
        [problem] = problems(telemetry(there, namespace=at), web)
        assert problem.code == "IST0127"
        assert f"no workload in namespace {at} has" in problem.message


# --- MeshConfig -------------------------------------------------------------------------------


def file(**fields):
    """A MeshConfig with one file."""
    return {"extensionProviders": [{"name": "f", "envoyFileAccessLog": fields}]}


def otlp(**fields):
    """A MeshConfig with one receiver."""
    full = {"service": "collector.example.com", "port": 4317, **fields}
    return {"extensionProviders": [{"name": "o", "opentelemetry": full}]}


FILE = "spec.extensionProviders[0].envoyFileAccessLog"
OTLP = "spec.extensionProviders[0].opentelemetry"


@pytest.mark.parametrize(
    ("spec", "severity", "field", "message"),
    [
        (
            {"extensionProviders": [{"name": "a"}]},
            "error",
            "spec.extensionProviders[0]",
            "this has nothing",
        ),
        (
            {
                "extensionProviders": [
                    {"name": "a", "prometheus": {}, "envoyFileAccessLog": {"path": "/a"}}
                ]
            },
            "error",
            "spec.extensionProviders[0]",
            "this has prometheus and envoyFileAccessLog",
        ),
        (
            {
                "extensionProviders": [
                    {"name": "A", "prometheus": {}},
                    {"name": "a", "prometheus": {}},
                ]
            },
            "error",
            "spec.extensionProviders[1].name",
            "rename one",
        ),
        (file(path="log"), "error", f"{FILE}.path", "absolute path"),
        (file(path=""), "error", f"{FILE}.path", "absolute path"),
        (file(path="/a", logFormat={}), "error", f"{FILE}.logFormat", "neither text nor labels"),
        (
            file(path="/a", logFormat={"text": "a", "labels": {}}),
            "error",
            f"{FILE}.logFormat",
            "both text and labels",
        ),
        (
            file(path="/a", logFormat={"text": "%NO_SUCH%"}),
            "error",
            f"{FILE}.logFormat.text",
            "no operator",
        ),
        (
            file(path="/a", logFormat={"labels": {"a": {"b": "%NO_SUCH%"}}}),
            "error",
            f"{FILE}.logFormat.labels.a.b",
            "no operator",
        ),
        (otlp(service="a b"), "error", f"{OTLP}.service", "write a host"),
        (otlp(service="*.example.com"), "error", f"{OTLP}.service", "cannot be called"),
        (otlp(port=0), "error", f"{OTLP}.port", "1 to 65535"),
        (otlp(maxTagLength=0), "error", f"{OTLP}.maxTagLength", "write 1 to"),
        (otlp(http={}), "error", f"{OTLP}.http.path", "/v1/traces"),
        (otlp(http={"path": "v1"}), "error", f"{OTLP}.http.path", "/v1/traces"),
        (
            otlp(http={"path": "/", "timeout": "0s"}),
            "error",
            f"{OTLP}.http.timeout",
            "at least 1ms",
        ),
        (
            otlp(http={"path": "/", "headers": [{"name": "a"}]}),
            "error",
            f"{OTLP}.http.headers[0]",
            "value or envName",
        ),
        (
            otlp(http={"path": "/", "headers": [{"name": "a b", "value": "c"}]}),
            "error",
            f"{OTLP}.http.headers[0].name",
            "of a header",
        ),
        (
            otlp(http={"path": "/", "headers": [{"name": "a", "value": "\n"}]}),
            "error",
            f"{OTLP}.http.headers[0].value",
            "visible ASCII",
        ),
        (
            otlp(http={"path": "/", "headers": [{"name": "a", "envName": "1"}]}),
            "error",
            f"{OTLP}.http.headers[0].envName",
            "of a variable",
        ),
        (
            {"defaultProviders": {"tracing": ["jaeger"]}},
            "warning",
            "spec.defaultProviders.tracing[0]",
            "no extensionProvider 'jaeger'",
        ),
        ({"accessLogFile": "out"}, "error", "spec.accessLogFile", "absolute path"),
        ({"accessLogFormat": "%X"}, "error", "spec.accessLogFormat", "at character 1"),
        (
            {"accessLogFormat": "%PROTOCOL%", "accessLogEncoding": "JSON"},
            "error",
            "spec.accessLogFormat",
            "this is none",
        ),
        (
            {"accessLogFormat": "[1]", "accessLogEncoding": "JSON"},
            "error",
            "spec.accessLogFormat",
            "no object",
        ),
        (
            {"accessLogFormat": '{"a": "%NO_SUCH%"}', "accessLogEncoding": "JSON"},
            "error",
            "spec.accessLogFormat",
            "no operator",
        ),
    ],
)
def test_a_wrong_setting_is_told_once(spec, severity, field, message):
    """With its field, and what to write."""
    found = problems(mesh_config(**spec))
    assert [(str(p.severity), p.field) for p in found] == [(severity, field)]
    assert message in found[0].message


@pytest.mark.parametrize(
    ("provider", "why"),
    [
        ("zipkin", "write `opentelemetry`"),
        ("datadog", "write `opentelemetry`"),
        ("stackdriver", "write `opentelemetry`"),
        ("envoyOtelAls", "access logs go to files"),
        ("envoyExtAuthzGrpc", "write envoyExtAuthzHttp"),
    ],
)
def test_providers_of_istio_that_are_not_carried_are_refused(provider, why):
    """None is ignored in silence."""
    text = mesh_config(extensionProviders=[{"name": "a", provider: {"service": "b", "port": 1}}])
    _, found = parse_text(text, "mesh.yaml")
    assert [problem.field for problem in found] == [f"spec.extensionProviders[0].{provider}"]
    assert why in found[0].message
