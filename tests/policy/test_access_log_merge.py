"""Access logs as levels of Telemetry and MeshConfig say them together."""

from __future__ import annotations

import pytest
from merge_world import OWN, ROOT, mesh_config, plan_of, telemetry

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
