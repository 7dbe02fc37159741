"""What stands in an exported configuration, document by document, without an Envoy to read it."""

from __future__ import annotations

import json

import msgspec
import pytest

from meshware.envoy import Settings, export_files
from meshware.envoy.answers import redirect
from meshware.envoy.localities import groups
from meshware.envoy.matches import route_match
from meshware.envoy.retries import retry_policy
from meshware.envoy.values import duration
from meshware.policy.document.destination_rule import LocalityLbSetting
from meshware.policy.document.virtual_service import HTTPMatchRequest, HTTPRedirect, HTTPRetry
from meshware.policy.file import MemoryRecords
from meshware.policy.load import load_text
from meshware.policy.record_types import EndpointRecord
from meshware.policy.records import build_records
from meshware.policy.view import Client


def document(kind, **fields):
    """A document from its fields as they are written, durations as numbers."""
    return msgspec.convert(fields, kind)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0s"), (1, "1s"), (0.025, "0.025s"), (90.5, "90.5s"), (1e-9, "0.000000001s"), (60, "60s")],
)
def test_durations_are_written_as_protobuf_reads_them(seconds, text):
    """In seconds, with at most nine digits behind the point, and no exponent."""
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("written", "match"),
    [
        ({}, {"prefix": "/"}),
        ({"uri": {"exact": "/a"}, "ignoreUriCase": True}, {"path": "/a", "case_sensitive": False}),
        ({"uri": {"regex": "/a.*"}, "ignoreUriCase": True}, {"safe_regex": {"regex": "/a.*"}}),
        (
            {"method": {"exact": "PUT"}},
            {"prefix": "/", "headers": [{"name": ":method", "string_match": {"exact": "PUT"}}]},
        ),
        (
            {"withoutHeaders": {"x": {}}},
            {
                "prefix": "/",
                "headers": [{"name": "x", "present_match": True, "invert_match": True}],
            },
        ),
        (
            {"queryParams": {"q": {"prefix": "a"}}},
            {
                "prefix": "/",
                "query_parameters": [{"name": "q", "string_match": {"prefix": "a"}}],
            },
        ),
    ],
)
def test_a_match_is_written_condition_by_condition(written, match):
    """HTTPMatchRequest as RouteMatch."""
    assert route_match(document(HTTPMatchRequest, **written)) == match


def test_a_redirect_leaves_the_ports_of_schemes_out():
    """As Istio does, so that no `:443` stands in a location of https."""
    https = document(HTTPRedirect, scheme="https", port=443)
    assert redirect(https, 80) == {"response_code": "MOVED_PERMANENTLY", "scheme_redirect": "https"}
    other = document(HTTPRedirect, derivePort="FROM_REQUEST_PORT", redirectCode=308)
    assert redirect(other, 9080)["port_redirect"] == 9080


def test_retries_are_istios_where_policy_says_nothing():
    """Two more attempts, at other endpoints, for what certainly did nothing."""
    policy = retry_policy(None, is_hashed=False)
    assert policy["num_retries"] == 2
    assert policy["retry_on"].startswith("connect-failure,refused-stream,")
    assert policy["host_selection_retry_max_attempts"] == "5"
    assert "retry_host_predicate" not in retry_policy(None, is_hashed=True)
    assert retry_policy(document(HTTPRetry, attempts=0), is_hashed=False) is None
    codes = retry_policy(document(HTTPRetry, attempts=1, retryOn="5xx,418"), is_hashed=False)
    assert codes["retry_on"] == "5xx,retriable-status-codes"
    assert codes["retriable_status_codes"] == [418]


def endpoint(address, locality, **labels):
    return EndpointRecord(address=address, ports={"80": 80}, locality=locality, labels=labels)


PLACED = [
    endpoint("10.0.0.1", "us/two/b"),
    endpoint("10.0.0.2", "eu/one/a", version="v1"),
    endpoint("10.0.0.3", "eu/two/a"),
]


def test_localities_are_ranked_by_how_near_they_are():
    """And numbered from 0 without gaps."""
    found = groups(PLACED, None, "eu/one/b", {}, fails_over=True)
    assert {group.locality: group.priority for group in found} == {
        "eu/one/a": 0,
        "eu/two/a": 1,
        "us/two/b": 2,
    }
    assert {group.priority for group in groups(PLACED, None, "eu", {}, fails_over=False)} == {0}


def test_a_share_is_split_among_the_localities_under_a_pattern():
    """By the weights of their endpoints; a locality that no pattern covers gets no call."""
    setting = document(LocalityLbSetting, distribute=[{"from": "eu/*", "to": {"eu/*": 100}}])
    found = groups(PLACED, setting, "eu/one/a", {}, fails_over=False)
    assert {group.locality: group.weight for group in found} == {"eu/one/a": 50, "eu/two/a": 50}


POLICY = """
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: orders, namespace: shop}
spec:
  hosts: [orders]
  location: MESH_INTERNAL
  resolution: STATIC
  ports: [{number: 80, name: http, protocol: HTTP}, {number: 9080, name: more, protocol: HTTP}]
  endpoints: [{address: 10.0.0.1, ports: {http: 8001}}]
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: dotted, namespace: shop}
spec:
  hosts: [orders.shop]
  location: MESH_INTERNAL
  resolution: STATIC
  ports: [{number: 9080, name: http, protocol: HTTP}]
  endpoints: [{address: 10.0.0.2}]
"""


def test_each_host_and_port_has_the_names_that_mean_it():
    """Short ones for the own namespace, and none that means another service on that port."""
    records = MemoryRecords(build_records(load_text(POLICY).resources))

    def domains(namespace):
        client = Client(namespace=namespace, name="app")
        export = export_files(records, client, Settings(directory="envoy"))
        [routes] = json.loads(export.files["rds.json"])["resources"]
        return {host["name"]: set(host["domains"]) for host in routes["virtual_hosts"]}

    full = "orders.shop.svc.cluster.local"
    here = domains("shop")
    assert {"orders", "orders:80", "orders.shop", full, f"{full}."} <= here[f"{full}:80"]
    assert "orders:9080" in here[f"{full}:9080"]
    assert "orders.shop:9080" in here["orders.shop:9080"]
    assert "orders.shop:9080" not in here[f"{full}:9080"]
    assert "orders" not in domains("other")[f"{full}:80"]
    assert here["allow_any"] == {"*"}
