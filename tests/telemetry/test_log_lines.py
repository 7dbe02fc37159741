"""A line is one line, JSON is JSON, whatever callers write."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from log_world import Inbound

from meshware.policy.log_format import DEFAULT_LABELS
from meshware.policy.telemetry_plan import LogPlan
from meshware.telemetry.log_lines import readable

BY_DEFAULT = LogPlan(provider="envoy")
AS_JSON = LogPlan(provider="envoy", labels={})


def test_by_default_a_line_is_istios():
    """Source: Istio, EnvoyTextLogFormat."""
    world = Inbound()
    event = world.call(
        "/a?b=c",
        headers=(("host", "app"), ("user-agent", "curl/8.1"), ("x-request-id", "id-1")),
    )
    assert world.line(BY_DEFAULT, event) == (
        '[2026-01-31T23:59:58.250Z] "GET /a?b=c HTTP/1.1" 200 - via_upstream - "-" 0 5 40 30 '
        '"-" "curl/8.1" "id-1" "app" "192.0.2.9:8000" inbound|8000|| - 192.0.2.9:8000 '
        "192.0.2.1:40000 - -"
    )


def test_json_has_istios_members_sorted_and_typed():
    """Source: Istio, EnvoyJSONLogFormatIstio; Envoy: null for what is not there."""
    world = Inbound()
    event = world.call("/a", headers=(("host", "app"), ("x-request-id", "id-1")))
    line = world.line(AS_JSON, event)
    said = json.loads(line)
    assert list(said) == sorted(DEFAULT_LABELS)
    assert said["response_code"] == 200
    assert (said["duration"], said["bytes_sent"], said["bytes_received"]) == (40, 5, 0)
    assert said["upstream_service_time"] == "30"  # a header, and so a text
    assert said["user_agent"] is None
    assert said["response_flags"] == "-"
    assert " " not in line


LABELS = {
    "code": "%RESPONSE_CODE%",
    "text": "%RESPONSE_CODE% %REQ(X-NO)%",
    "none": "%REQ(X-NO)%",
    "nested": {"none": "%REQ(X-NO)%", "deeper": {"none": "%REQ(X-NO)%"}},
    "list": ["%REQ(X-NO)%", "%DURATION%", None, {"a": "%PROTOCOL%"}],
    "constant": 2.0,
    "null": None,
    "bool": True,
    "plain": "50%% of it",
}


def test_labels_keep_types_and_nest():
    """One operator alone keeps its type; anything more is a text."""
    world = Inbound()
    event = world.call()
    assert json.loads(world.line(LogPlan(provider="x", labels=LABELS), event)) == {
        "code": 200, "text": "200 -", "none": None, "nested": {"none": None, "deeper":
        {"none": None}}, "list": [None, 40, None, {"a": "HTTP/1.1"}], "constant": 2, "null": None,
        "bool": True, "plain": "50% of it",
    }  # fmt: skip


def test_empty_values_are_left_out_where_policy_says_so():
    """Envoy: members and elements go, and objects that are empty then, but no lists."""
    world = Inbound()
    event = world.call()
    plan = LogPlan(provider="x", labels=LABELS, omits_empty=True)
    assert json.loads(world.line(plan, event)) == {
        "code": 200, "text": "200 ", "list": [40, {"a": "HTTP/1.1"}], "constant": 2, "bool": True,
        "plain": "50% of it",
    }  # fmt: skip
    plan = LogPlan(
        provider="x", labels={"a": "%REQ(X-NO)%", "b": ["%REQ(X-NO)%"]}, omits_empty=True
    )
    assert json.loads(world.line(plan, event)) == {"b": []}
    plan = LogPlan(provider="x", labels={"a": "%REQ(X-NO)%"}, omits_empty=True)
    assert world.line(plan, event) == "{}"
    plan = LogPlan(provider="x", text="[%REQ(X-NO)%] %PROTOCOL%", omits_empty=True)
    assert world.line(plan, event) == "[] HTTP/1.1"


HOSTILE = {
    'a" 200 "b': ('a" 200 "b', 'a" 200 "b'),  # in text as in Envoy
    "a\\b": ("a\\b", "a\\b"),
    "tab\there": ("tab\there", "tab\there"),
    "a\r\n[2026] forged": ("a\\r\\n[2026] forged", "a\r\n[2026] forged"),
    "\x1b[2J\x00\x7f": ("\\x1b[2J\\x00\\x7f", "\x1b[2J\x00\\x7f"),
    "m\u00fcller".encode().decode("latin-1"): ("m\u00fcller", "m\u00fcller"),
    "\u2028\u2029\u0085".encode().decode("latin-1"): ("\\u2028\\u2029\\x85",) * 2,
    "\u202egnp".encode().decode("latin-1"): ("\\u202egnp",) * 2,
    "\xff\xfe": ("\\xff\\xfe",) * 2,
    "\u2603 snow": ("\u2603 snow",) * 2,  # of an app, which has it as text
    "\ud800": ("\\ud800",) * 2,
    "\U000e0001": ("\\U000e0001",) * 2,
}


@pytest.mark.parametrize(("value", "shown"), HOSTILE.items(), ids=[ascii(v) for v in HOSTILE])
def test_what_a_caller_writes_ends_no_line(value, shown):
    """Text stays one line for any reader; JSON stays JSON."""
    text, in_json = shown
    assert readable(value) == text
    assert readable(value, in_json=True) == in_json


@given(st.text(max_size=40))
def test_any_value_makes_one_line_and_valid_json(value):
    """Also in the eyes of Python, for which eleven characters end a line."""
    world = Inbound()
    event = world.call()
    event.passage.head.headers = {"x-a": (value,), "host": ("app",)}.get
    event.passage.head.headers = lambda name: {"x-a": (value,), "host": ("app",)}.get(name, ())
    text = world.line("<%REQ(X-A)%>", event)
    assert len(text.splitlines()) == 1
    line = world.line(LogPlan(provider="x", labels={"a": "%REQ(X-A)%", "b": "_%REQ(X-A)%"}), event)
    assert len(line.splitlines()) == 1
    said = json.loads(line)
    assert said["b"] == "_" + said["a"]


def test_secrets_are_in_a_line_only_by_name():
    """Envoy logs what is asked for, and so does this; the defaults ask for none."""
    world = Inbound()
    headers = (("host", "app"), ("authorization", "Bearer t0ken"), ("cookie", "session=s3cret"))
    event = world.call("/", headers=headers)
    for plan in (BY_DEFAULT, AS_JSON):
        line = world.line(plan, event)
        assert "t0ken" not in line
        assert "s3cret" not in line
    assert world.line("%REQ(AUTHORIZATION):6%", event) == "Bearer"
