"""Telemetries by table: which of them count, and what they come to, level by level."""

from __future__ import annotations

import pytest
from policy_check import resource

from meshware.policy.file import MemoryRecords
from meshware.policy.parse import parse_text
from meshware.policy.records import build_records
from meshware.policy.snapshot import build_snapshot
from meshware.policy.telemetry_plan import DEFAULT_PLAN, METRICS
from meshware.policy.view import Client
from meshware.testing import TestMesh

TELEMETRY = "telemetry.istio.io/v1"
COUNT, DURATION = METRICS["REQUEST_COUNT"], METRICS["REQUEST_DURATION"]
SIZE, RESPONSE = METRICS["REQUEST_SIZE"], METRICS["RESPONSE_SIZE"]
ROOT, OWN = "istio-system", "shop"
WEB, FRONT = {"matchLabels": {"app": "web"}}, {"matchLabels": {"tier": "front"}}
DB = {"matchLabels": {"app": "db"}}
OLD, OLDER = "2026-01-02T00:00:00Z", "2026-01-01T00:00:00Z"
APP = resource(
    "WorkloadEntry",
    {"address": "10.0.0.1", "serviceAccount": "app", "labels": {"app": "web", "tier": "front"}},
    "app",
    OWN,
)


def telemetry(spec, name="it", namespace=OWN, **metadata):
    """One Telemetry."""
    return resource("Telemetry", spec, name, namespace, TELEMETRY, **metadata)


def mesh_config(**spec):
    """The MeshConfig."""
    return resource("MeshConfig", spec, "mesh", ROOT, "meshware.dev/v1alpha1")


def plan_of(*documents):
    """What holds for the workload shop/app."""
    mesh = TestMesh("".join((APP, *documents)), f"{OWN}/app")
    return mesh.cell.current.telemetry


def metrics(*overrides, providers=None, **more):
    """A spec with one entry of metrics."""
    entry = {"overrides": list(overrides), **more}
    if providers is not None:
        entry["providers"] = [{"name": name} for name in providers]
    return {"metrics": [entry]}


def override(metric=None, mode=None, disabled=None, **tags):
    """One override; of tags a value, or None for removal."""
    found = {}
    match = {"metric": metric, "mode": mode}
    match = {name: value for name, value in match.items() if value is not None}
    if match:
        found["match"] = match
    if disabled is not None:
        found["disabled"] = disabled
    if tags:
        found["tagOverrides"] = {
            name: {"operation": "REMOVE"} if value is None else {"value": value}
            for name, value in tags.items()
        }
    return found


def shown(plan):
    """What is changed, in a form that can be compared."""
    if not plan.is_on:
        return "off"
    return {
        metric: {
            **({} if one.is_on else {"off": True}),
            **{name: expression(None) for name, expression in one.tags.items()},
            **dict.fromkeys(one.removed),
        }
        for metric, one in plan.changed.items()
    }


ALL = dict.fromkeys(METRICS.values())


def all_with(**said):
    """All metrics with the same."""
    return dict.fromkeys(METRICS.values(), said)


# --- which apply ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("documents", "value"),
    [
        ([], {}),
        ([telemetry(metrics(override(t="'root'")), namespace=ROOT)], "root"),
        (
            [
                telemetry(metrics(override(t="'root'")), namespace=ROOT),
                telemetry(metrics(override(t="'own'"))),
            ],
            "own",
        ),
        (
            [
                telemetry({"selector": WEB, **metrics(override(t="'mine'"))}),
                telemetry(metrics(override(t="'own'")), "wide"),
                telemetry(metrics(override(t="'root'")), namespace=ROOT),
            ],
            "mine",
        ),
        (
            [
                telemetry({"selector": DB, **metrics(override(t="'db'"))}),
                telemetry(metrics(override(t="'own'")), "wide"),
            ],
            "own",
        ),
        # A selector in the root namespace is for the workloads of that one.
        (
            [
                telemetry(
                    {"selector": WEB, **metrics(override(t="'root'"))},
                    namespace=ROOT,
                )
            ],
            {},
        ),
        ([telemetry(metrics(override(t="'other'")), namespace="other")], {}),
        # Of several the first by creation, then by name.
        (
            [
                telemetry(metrics(override(t="'a'")), "a", creationTimestamp=OLD),
                telemetry(metrics(override(t="'b'")), "b", creationTimestamp=OLDER),
                telemetry(metrics(override(t="'c'")), "c"),
            ],
            "b",
        ),
        (
            [
                telemetry(metrics(override(t="'b'")), "b"),
                telemetry(metrics(override(t="'a'")), "a"),
            ],
            "a",
        ),
        (
            [
                telemetry({"selector": FRONT, **metrics(override(t="'b'"))}, "b"),
                telemetry({"selector": WEB, **metrics(override(t="'a'"))}, "a"),
            ],
            "a",
        ),
        # An empty selector is none.
        ([telemetry({"selector": {}, **metrics(override(t="'own'"))})], "own"),
    ],
)
def test_of_each_level_one_telemetry_counts(documents, value):
    """Root namespace, namespace, selector: the narrower one over the wider."""
    found = shown(plan_of(*documents).inbound.metrics)
    assert found == (value if value == {} else all_with(t=value))


def test_without_any_word_the_plan_is_the_default():
    """Metrics, and nothing else."""
    assert plan_of() is DEFAULT_PLAN


# --- metrics ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("levels", "inbound", "outbound"),
    [
        ([metrics(override("REQUEST_COUNT", t="'v'"))], {COUNT: {"t": "v"}}, {COUNT: {"t": "v"}}),
        ([metrics(override("REQUEST_COUNT", "SERVER", t=None))], {COUNT: {"t": None}}, {}),
        ([metrics(override("REQUEST_COUNT", "CLIENT", t=None))], {}, {COUNT: {"t": None}}),
        (
            [metrics(override("REQUEST_SIZE", "CLIENT_AND_SERVER", disabled=True))],
            {SIZE: {"off": True}},
            {SIZE: {"off": True}},
        ),
        ([metrics(override("ALL_METRICS", t="'v'"))], all_with(t="v"), all_with(t="v")),
        ([metrics(override(t="'v'"))], all_with(t="v"), all_with(t="v")),
        # Later over earlier, by metric and tag.
        (
            [metrics(override(a="'1'", b="'1'"), override("REQUEST_COUNT", b=None, c="'2'"))],
            {**all_with(a="1", b="1"), COUNT: {"a": "1", "b": None, "c": "2"}},
            {**all_with(a="1", b="1"), COUNT: {"a": "1", "b": None, "c": "2"}},
        ),
        (
            [
                metrics(override("REQUEST_COUNT", a="'root'", b="'root'", disabled=True)),
                metrics(override("REQUEST_COUNT", b="'own'", c=None)),
                metrics(override("REQUEST_COUNT", c="'mine'", disabled=False)),
            ],
            {COUNT: {"a": "root", "b": "own", "c": "mine"}},
            {COUNT: {"a": "root", "b": "own", "c": "mine"}},
        ),
        # All metrics off, of both sides or one; whatever is said later puts them on again.
        ([metrics(override("ALL_METRICS", disabled=True))], "off", "off"),
        ([metrics(override("ALL_METRICS", "CLIENT", disabled=True))], {}, "off"),
        (
            [
                metrics(override("ALL_METRICS", disabled=True)),
                metrics(override("REQUEST_COUNT", "SERVER", disabled=False)),
            ],
            {COUNT: {}},
            "off",
        ),
        (
            [metrics(override("REQUEST_COUNT", t="'v'"), override("ALL_METRICS", disabled=True))],
            "off",
            "off",
        ),
        (
            [
                metrics(override("ALL_METRICS", disabled=True)),
                metrics(override("ALL_METRICS", disabled=False)),
            ],
            all_with(),
            all_with(),
        ),
        # Each of them off is not all of them off: each has to be put on.
        (
            [metrics(override(disabled=True)), metrics(override("REQUEST_COUNT", disabled=False))],
            {**all_with(off=True), COUNT: {}},
            {**all_with(off=True), COUNT: {}},
        ),
        # Metrics that there are not here.
        ([metrics(override("TCP_OPENED_CONNECTIONS", t="'v'"))], {}, {}),
        (
            [metrics({"match": {"customMetric": "requests_total"}, "disabled": True})],
            {COUNT: {"off": True}},
            {COUNT: {"off": True}},
        ),
    ],
)
def test_overrides_are_merged_by_side_metric_and_tag(levels, inbound, outbound):
    """Levels are root namespace, namespace and workload."""
    places = (
        (ROOT, {}),
        (OWN, {}),
        (OWN, {"selector": WEB}),
    )
    documents = [
        telemetry({**more, **spec}, f"t{at}", namespace)
        for at, (spec, (namespace, more)) in enumerate(zip(levels, places, strict=False))
    ]
    plan = plan_of(*documents)
    assert shown(plan.inbound.metrics) == inbound
    assert shown(plan.outbound.metrics) == outbound


OTHER = {"name": "Other", "prometheus": {}}


@pytest.mark.parametrize(
    ("config", "levels", "then"),
    [
        ({"defaultProviders": {"metrics": []}}, [], "off"),
        ({"defaultProviders": {"metrics": ["prometheus"]}}, [], {}),
        ({"defaultProviders": {"metrics": ["none"]}}, [], "off"),
        ({"defaultProviders": {"metrics": ["none", "prometheus"]}}, [], {}),
        ({"defaultProviders": {"metrics": []}}, [metrics(providers=["Prometheus"])], {}),
        ({}, [metrics(providers=["unknown"])], "off"),
        ({}, [metrics(providers=["envoy"])], "off"),  # takes access logs
        # A lower level's providers stand in the place of those above.
        (
            {"extensionProviders": [OTHER]},
            [metrics(override(t="'v'")), metrics(providers=["other"])],
            {},
        ),
        (
            {"extensionProviders": [OTHER]},
            [metrics(override(t="'v'"), providers=["OTHER"]), metrics(override(u="'w'"))],
            all_with(t="v", u="w"),
        ),
        (
            {"extensionProviders": [OTHER]},
            [metrics(override(t="'v'"), providers=["other"]), metrics(providers=["prometheus"])],
            {},
        ),
    ],
)
def test_providers_of_a_level_stand_in_the_place_of_those_above(config, levels, then):
    """Names compare without case; those that there are not are left out."""
    documents = [
        telemetry(spec, namespace=namespace)
        for spec, namespace in zip(levels, (ROOT, OWN), strict=False)
    ]
    plan = plan_of(mesh_config(**config), *documents)
    assert shown(plan.inbound.metrics) == then


# --- tracing ----------------------------------------------------------------------------------

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


# --- access logs ------------------------------------------------------------------------------

FILES = {
    "extensionProviders": [
        {
            "name": "json",
            "envoyFileAccessLog": {
                "path": "/var/log/json",
                "logFormat": {"labels": {"status": "%RESPONSE_CODE%", "more": {"n": 1}}},
                "omitEmptyValues": True,
            },
        },
        {
            "name": "text",
            "envoyFileAccessLog": {
                "path": "/var/log/text",
                "logFormat": {"text": "%RESPONSE_CODE%"},
            },
        },
    ]
}
DEFAULT_JSON = {**FILES, "defaultProviders": {"accessLogging": ["json"]}}


def logging(*entries):
    """A spec with entries of access logging."""
    return {"accessLogging": list(entries)}


def entry(*providers, mode=None, disabled=None, expression=None):
    """One entry."""
    found = {}
    if providers:
        found["providers"] = [{"name": name} for name in providers]
    if mode:
        found["match"] = {"mode": mode}
    if disabled is not None:
        found["disabled"] = disabled
    if expression is not None:
        found["filter"] = {"expression": expression}
    return found


YES, NO = "1 == 1", "1 == 2"


@pytest.mark.parametrize(
    ("config", "levels", "inbound", "outbound"),
    [
        ({}, [], {}, {}),
        ({}, [logging(entry("envoy"))], {"envoy": None}, "same"),
        ({}, [logging(entry("ENVOY"))], {"envoy": None}, "same"),
        ({}, [logging(entry("Logging", "unknown"))], {"logging": None}, "same"),
        ({}, [logging(entry("unknown"))], {}, "same"),
        ({}, [logging(entry())], {}, "same"),  # nobody is named anywhere
        (DEFAULT_JSON, [], {"json": None}, "same"),
        (DEFAULT_JSON, [logging(entry())], {"json": None}, "same"),
        (DEFAULT_JSON, [logging(entry(disabled=True))], {}, "same"),
        # Where anything is said, a side of which nothing is said has no log. Source: `mergeLogs`.
        (DEFAULT_JSON, [logging(entry(mode="SERVER", disabled=True))], {}, {}),
        (
            DEFAULT_JSON,
            [logging(entry(), entry(mode="SERVER", disabled=True))],
            {},
            {"json": None},
        ),
        (DEFAULT_JSON, [logging(entry("text"))], {"text": None}, "same"),
        (DEFAULT_JSON, [logging(entry(expression=YES))], {"json": True}, "same"),
        (FILES, [logging(entry("json"), entry("text"))], {"json": None, "text": None}, "same"),
        (
            FILES,
            [logging(entry("json", mode="CLIENT"), entry("text", mode="SERVER"))],
            {"text": None},
            {"json": None},
        ),
        # A lower level replaces the providers, or goes on with them.
        (FILES, [logging(entry("json")), logging(entry("text"))], {"text": None}, "same"),
        (FILES, [logging(entry("json")), logging(entry(disabled=True))], {}, "same"),
        (
            FILES,
            [logging(entry("json", disabled=True)), logging(entry(disabled=False))],
            {"json": None},
            "same",
        ),
        (
            FILES,
            [logging(entry("json", expression=YES)), logging(entry())],
            {"json": True},
            "same",
        ),
        (
            FILES,
            [logging(entry("json", expression=YES)), logging(entry(expression=NO))],
            {"json": False},
            "same",
        ),
        (
            FILES,
            [logging(entry("json", expression=YES)), logging(entry("json"))],
            {"json": None},
            "same",
        ),
        (
            FILES,
            [logging(entry("json", mode="CLIENT", expression=YES), entry("json", mode="SERVER"))],
            {"json": None},
            {"json": True},
        ),
    ],
)
def test_access_logs_are_merged_by_provider_and_side(config, levels, inbound, outbound):
    """By name, with what the filter says of every call; None: there is no filter."""
    documents = [
        telemetry(spec, namespace=namespace)
        for spec, namespace in zip(levels, (ROOT, OWN), strict=False)
    ]
    plan = plan_of(mesh_config(**config), *documents)

    def said(side):
        return {log.provider: None if log.filter is None else log.filter(None) for log in side.logs}

    assert said(plan.inbound) == inbound
    assert said(plan.outbound) == (inbound if outbound == "same" else outbound)


def test_a_log_is_as_its_provider_says():
    """Path, format, and what is left out."""
    [json] = plan_of(mesh_config(**DEFAULT_JSON)).inbound.logs
    assert (json.path, json.text, json.omits_empty) == ("/var/log/json", None, True)
    assert json.labels == {"status": "%RESPONSE_CODE%", "more": {"n": 1}}
    [text] = plan_of(mesh_config(**FILES), telemetry(logging(entry("text")))).inbound.logs
    assert (text.path, text.text, text.labels) == ("/var/log/text", "%RESPONSE_CODE%", None)


@pytest.mark.parametrize(
    ("config", "path", "text", "labels"),
    [
        ({"accessLogFile": "/dev/stdout"}, "/dev/stdout", None, None),
        ({"accessLogFile": "/x", "accessLogFormat": "%PROTOCOL%"}, "/x", "%PROTOCOL%", None),
        ({"accessLogFile": "/x", "accessLogEncoding": "JSON"}, "/x", None, {}),
        (
            {
                "accessLogFile": "/x",
                "accessLogEncoding": "JSON",
                "accessLogFormat": '{"a": "%PROTOCOL%"}',
            },
            "/x",
            None,
            {"a": "%PROTOCOL%"},
        ),
        # The built-in provider is written as MeshConfig says.
        (
            {"defaultProviders": {"accessLogging": ["envoy"]}, "accessLogFormat": "%PROTOCOL%"},
            "/dev/stdout",
            "%PROTOCOL%",
            None,
        ),
    ],
)
def test_meshconfig_alone_may_say_it(config, path, text, labels):
    """`accessLogFile` and its like, where nothing names a provider."""
    [log] = plan_of(mesh_config(**config)).outbound.logs
    assert (log.path, log.text, log.labels) == (path, text, labels)


def test_a_log_may_go_by_the_standard_librarys_logging_alone():
    """The built-in provider `logging` has no file."""
    [log] = plan_of(telemetry(logging(entry("logging")))).inbound.logs
    assert (log.provider, log.path, log.text, log.labels) == ("logging", None, None, None)


def test_access_logs_of_a_telemetry_come_before_accesslogfile():
    """Also where they are off."""
    said = mesh_config(accessLogFile="/dev/stdout")
    assert plan_of(said, telemetry(logging(entry("envoy", disabled=True)))).inbound.logs == ()
    [log] = plan_of(said, telemetry(logging(entry("envoy")))).inbound.logs
    assert log.provider == "envoy"


# --- in force ---------------------------------------------------------------------------------


def test_expressions_know_their_workload():
    """`xds.node` is of the workload that policy is compiled for."""
    expression = "xds.node.metadata['NAMESPACE'] + '/' + xds.node.metadata['LABELS']['app']"
    plan = plan_of(telemetry(metrics(override(t=expression))))
    assert shown(plan.inbound.metrics)[COUNT] == {"t": "shop/web"}


def test_a_change_of_other_policy_leaves_the_plan_as_it_is():
    """What is made of a plan is kept by it."""
    documents = APP + telemetry(metrics(override(t="'v'")))
    mesh = TestMesh(documents, f"{OWN}/app")
    before = mesh.cell.current.telemetry
    other = resource("ServiceEntry", {"hosts": ["a.example"], "resolution": "NONE",
                     "ports": [{"number": 80, "name": "http", "protocol": "HTTP"}]})  # fmt: skip
    mesh.apply(documents + other)
    assert mesh.cell.current.telemetry is before
    mesh.apply(APP + telemetry(metrics(override(t="'w'"))))
    assert shown(mesh.cell.current.telemetry.inbound.metrics)[COUNT] == {"t": "w"}
    mesh.apply(APP)
    assert mesh.cell.current.telemetry is DEFAULT_PLAN


def test_a_workload_that_policy_does_not_know_has_its_namespaces_telemetry():
    """And is selected by no label."""
    mesh = TestMesh(telemetry(metrics(override(t="'v'")), namespace="default"), "default/app")
    assert shown(mesh.cell.current.telemetry.inbound.metrics) == all_with(t="v")


def test_what_cannot_be_compiled_leaves_the_plan_as_it_is():
    """Records of a newer daemon's, say. Telemetry fails open: no call goes wrong for it."""
    resources, _ = parse_text(APP + telemetry(metrics(override(t="'v'"))), "mesh.yaml")
    records = build_records(resources)
    told = []

    def built(records, previous=None):
        return build_snapshot(
            MemoryRecords(records),
            Client(namespace=OWN, name="app"),
            generation=1,
            on_refusal=lambda subject, error: told.append((subject, str(error))),
            previous=previous,
        )

    good = built(records)
    bad = b'{"metrics":[{"overrides":[{"tagOverrides":{"t":{"value":"??"}}}]}]}'
    broken = {**records, f"telemetry/{OWN}/it": bad}
    assert built(broken, good).telemetry is good.telemetry
    assert built(broken).telemetry is DEFAULT_PLAN
    assert built(broken).inbound is not None
    assert [subject for subject, _ in told] == ["telemetry"] * 3
    assert "at line 1, column 1" in told[0][1]
    again = built(records, built(broken, good))
    assert shown(again.telemetry.inbound.metrics) == all_with(t="v")
