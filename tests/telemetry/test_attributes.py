"""What Envoy's attributes are of a call, by side; what is not known is absent."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from counted_world import Counted

from meshware.call import RequestHead
from meshware.events import OutboundEvent
from meshware.inbound.head import look_up
from meshware.policy.cel import compile_expression
from meshware.policy.cel_attributes import ATTRIBUTES
from meshware.telemetry import attributes
from meshware.telemetry.attributes import attributes_of

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
COMPILED = {("xds", "node")}  # known when policy is compiled


def outbound(**fields):
    """A call that went out."""
    pairs = [("x-user", "jane"), ("user-agent", "curl"), ("content-length", "5")]
    head = RequestHead(
        method="POST",
        scheme="http",
        host="reviews",
        port=9080,
        authority="reviews:9080",
        target="/r/1?full=1",
        headers=look_up(pairs),
        replayable=True,
    )
    return OutboundEvent(**{
        "method": "POST", "service": "reviews:9080", "status": 503, "flags": "UF,URX",
        "cluster": "outbound|9080|v1|reviews.default.svc.cluster.local", "attempts": 2,
        "endpoint": "10.0.0.1:9080", "route": "canary", "generation": 1, "complete": True,
        "duration_s": 1.5, "head": head, "response": look_up([("X-Kind", "a"), ("x-kind", "b")]),
        "received_bytes": 7, **fields,
    })  # fmt: skip


def inbound():
    """A call that came in."""
    return Counted().event("/shop?page=2", user_agent="curl", x_request_id="id-7", referer="r")


def test_both_sides_together_have_all_attributes_that_policy_may_name():
    """And no others."""
    there = {*attributes._INBOUND, *attributes._OUTBOUND}
    assert there | COMPILED == set(ATTRIBUTES)


@pytest.mark.parametrize("event", [outbound(), outbound(head=None, response=None), inbound()])
def test_every_attribute_is_of_its_kind_or_absent(event):
    """Whatever is asked of whichever side."""
    kinds = {
        "string": str, "int": int, "bool": bool, "timestamp": datetime, "duration": timedelta,
        "headers": object,
    }  # fmt: skip
    found = attributes_of(event, lambda: NOW)
    for path, kind in ATTRIBUTES.items():
        try:
            value = found(path)
        except KeyError:
            continue
        assert isinstance(value, kinds[kind]), path


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("request.method", "POST"),
        ("request.path", "/r/1?full=1"),
        ("request.url_path", "/r/1"),
        ("request.query", "full=1"),
        ("request.host", "reviews:9080"),
        ("request.scheme", "http"),
        ("request.headers['X-User']", "jane"),
        ("request.useragent", "curl"),
        ("request.size", 5),
        ("request.duration == duration('1500ms')", True),
        ("string(request.time)", "2026-01-02T03:04:03.5Z"),
        ("response.code", 503),
        ("response.flags", 0x20 | 0x8000),
        ("response.headers['x-kind']", "a,b"),
        ("has(response.headers['x-none'])", False),
        ("response.size", 7),
        ("response.code_details.startsWith('upstream_reset_after_response_started')", True),
        ("upstream.address", "10.0.0.1:9080"),
        ("upstream.port", 9080),
        ("upstream.request_attempt_count", 2),
        ("destination.port", 9080),
        ("connection.mtls", False),
        ("xds.cluster_name", "outbound|9080|v1|reviews.default.svc.cluster.local"),
        ("xds.route_name", "canary"),
        ("xds.listener_direction", 2),
        ("has(source.address)", False),
    ],
)
def test_a_call_that_went_out(text, value):
    """By expressions, as policy asks."""
    assert compile_expression(text)(attributes_of(outbound(), lambda: NOW)) == value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("request.method", "GET"),
        ("request.url_path", "/shop"),
        ("request.query", "page=2"),
        ("request.id", "id-7"),
        ("request.referer", "r"),
        ("request.protocol", "HTTP/1.1"),
        ("response.code", 200),
        ("response.flags", 0),
        ("response.code_details", "via_upstream"),
        ("response.size", 4),
        ("connection.mtls", False),
        ("has(source.principal)", False),
        ("has(connection.uri_san_peer_certificate)", False),
        ("xds.listener_direction", 1),
        ("xds.cluster_name.startsWith('inbound|')", True),
        ("has(upstream.address)", False),
    ],
)
def test_a_call_that_came_in(text, value):
    """Likewise."""
    assert compile_expression(text)(attributes_of(inbound())) == value


@pytest.mark.parametrize(
    ("ip", "port", "address"),
    [
        ("10.0.0.9", 40212, "10.0.0.9:40212"),
        ("fd00::1", 40212, "[fd00::1]:40212"),
        ("10.0.0.9", None, "10.0.0.9"),
        (None, None, None),
    ],
)
def test_a_callers_address_bears_its_port(ip, port, address):
    """Where the server tells it, as in Envoy."""
    event = inbound()
    event.passage.head.source_ip, event.passage.head.source_port = ip, port
    text = "has(source.address) ? source.address : 'none'"
    assert compile_expression(text)(attributes_of(event)) == (address or "none")


def test_without_a_clock_there_is_no_time():
    """`request.time` is absent then."""
    with pytest.raises(KeyError):
        attributes_of(outbound())(("request", "time"))


@pytest.mark.parametrize(("value", "told"), [("\u00c3\u00a9", "\u00e9"), ("\u00e9", "\u00e9")])
def test_bytes_of_headers_are_read_as_utf_8_where_they_are(value, told):
    """Servers give them as Latin-1; what is no UTF-8 stays."""
    event = outbound(response=look_up([("x-big", value)]))
    assert compile_expression("response.headers['x-big']")(attributes_of(event)) == told
