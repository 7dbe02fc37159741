"""Tracing as levels of Telemetry say it together."""

from __future__ import annotations

import pytest
from merge_world import OWN, ROOT, mesh_config, plan_of, telemetry
from policy_check import resource

OTLP = {
    "name": "otlp",
    "opentelemetry": {
        "service": "otel/collector.example.com",
        "port": 4318,
        "maxTagLength": 64,
        "http": {
            "path": "/v1/traces",
            "timeout": "3s",
            "headers": [{"name": "x-token", "value": "a"}, {"name": "x-env", "envName": "TOKEN"}],
        },
    },
}
GRPC = {"name": "grpc", "opentelemetry": {"service": "10.0.0.9", "port": 4317}}
TRACED = {"extensionProviders": [OTLP, GRPC], "defaultProviders": {"tracing": ["otlp"]}}


def tracing(*entries, **entry):
    """A spec with entries of tracing."""
    return {"tracing": list(entries) or [entry]}


def test_a_provider_says_where_spans_go():
    """Everything that MeshConfig can say of one."""
    plan = plan_of(mesh_config(**TRACED)).inbound.tracing
    assert (plan.provider, plan.kind, plan.host, plan.port, plan.path) == (
        "otlp", "opentelemetry", "collector.example.com", 4318, "/v1/traces",
    )  # fmt: skip
    assert plan.headers == (("x-token", "a"),)
    assert plan.header_variables == (("x-env", "TOKEN"),)
    assert (plan.timeout_s, plan.longest_url, plan.sampling_ratio) == (3.0, 64, 0.01)
    assert (plan.is_reported, plan.propagates, plan.has_istio_tags) == (True, True, True)
    grpc = plan_of(mesh_config(**TRACED), telemetry(tracing(providers=[{"name": "GRPC"}])))
    assert (grpc.inbound.tracing.host, grpc.inbound.tracing.path) == ("10.0.0.9", None)


def test_a_receiver_that_is_a_service_of_the_mesh_is_reached_at_its_endpoint():
    """Its name need not be in DNS."""
    collector = resource(
        "ServiceEntry",
        {
            "hosts": ["collector.example.com"],
            "resolution": "STATIC",
            "ports": [{"number": 4318, "name": "http", "protocol": "HTTP"}],
            "endpoints": [{"address": "127.0.0.1", "ports": {"http": 14318}}],
            "exportTo": ["*"],
        },
        "collector",
        "otel",
    )
    plan = plan_of(mesh_config(**TRACED), collector).inbound.tracing
    assert (plan.host, plan.port) == ("127.0.0.1", 14318)


FIELDS = ("provider", "sampling_ratio", "is_reported", "propagates", "has_istio_tags")


@pytest.mark.parametrize(
    ("config", "levels", "inbound", "outbound"),
    [
        ({}, [], None, None),
        ({}, [tracing(randomSamplingPercentage=50)], None, None),
        ({"enableTracing": True}, [], ("meshware", 0.01, True, True, True), "same"),
        (
            {"enableTracing": True, "defaultConfig": {"tracing": {"sampling": 20}}},
            [],
            ("meshware", 0.2, True, True, True),
            "same",
        ),
        (
            {"enableTracing": True, "defaultConfig": {"tracing": {"sampling": 20}}},
            [tracing(randomSamplingPercentage=0)],
            ("meshware", 0.0, True, True, True),
            "same",
        ),
        (
            {},
            [tracing(providers=[{"name": "meshware"}])],
            ("meshware", 0.01, True, True, True),
            "same",
        ),
        (
            {},
            [tracing(providers=[{"name": "OpenTelemetry"}])],
            ("opentelemetry", 0.01, True, True, True),
            "same",
        ),
        (TRACED, [tracing(providers=[{"name": "unknown"}])], None, None),
        (TRACED, [tracing(providers=[{"name": "prometheus"}])], None, None),
        # By side, and level by level.
        (
            TRACED,
            [tracing(match={"mode": "SERVER"}, randomSamplingPercentage=100)],
            ("otlp", 1.0, True, True, True),
            ("otlp", 0.01, True, True, True),
        ),
        (
            TRACED,
            [
                tracing(
                    randomSamplingPercentage=100, disableSpanReporting=True, enableIstioTags=False
                ),
                tracing(disableSpanReporting=False, disableContextPropagation=True),
            ],
            ("otlp", 1.0, True, False, False),
            "same",
        ),
        (
            TRACED,
            [
                tracing(
                    {"match": {"mode": "CLIENT"}, "providers": [{"name": "grpc"}]},
                    {"match": {"mode": "SERVER"}, "disableSpanReporting": True},
                )
            ],
            ("otlp", 0.01, False, True, True),
            ("grpc", 0.01, True, True, True),
        ),
        (
            TRACED,
            [
                tracing(providers=[{"name": "grpc"}, {"name": "otlp"}]),
                tracing(enableIstioTags=True),
            ],
            ("grpc", 0.01, True, True, True),
            "same",
        ),
    ],
)
def test_tracing_is_merged_field_by_field(config, levels, inbound, outbound):
    """What a level does not say it takes from above."""
    documents = [
        telemetry(spec, namespace=namespace)
        for spec, namespace in zip(levels, (ROOT, OWN), strict=False)
    ]
    plan = plan_of(mesh_config(**config), *documents)

    def said(one):
        return None if one is None else tuple(getattr(one, name) for name in FIELDS)

    assert said(plan.inbound.tracing) == inbound
    assert said(plan.outbound.tracing) == (inbound if outbound == "same" else outbound)


def test_custom_tags_of_a_level_replace_the_whole_map():
    """Tags of levels are not merged; of each kind there is one."""
    tags = {
        "a": {"literal": {"value": "x"}},
        "b": {"environment": {"name": "ZONE", "defaultValue": "none"}},
        "c": {"header": {"name": "X-User", "defaultValue": "-"}},
        "d": {"formatter": {"value": "%REQ(X-USER)%"}},
    }
    plan = plan_of(
        mesh_config(**TRACED),
        telemetry(tracing(customTags={"gone": {"literal": {"value": "x"}}}), namespace=ROOT),
        telemetry(tracing(customTags=tags)),
    ).inbound.tracing
    found = {
        tag.name: (tag.literal, tag.environment, tag.header, tag.formatter, tag.default)
        for tag in plan.tags
    }
    assert found == {
        "a": ("x", None, None, None, None),
        "b": (None, "ZONE", None, None, "none"),
        "c": (None, None, "x-user", None, "-"),
        "d": (None, None, None, "%REQ(X-USER)%", None),
    }
