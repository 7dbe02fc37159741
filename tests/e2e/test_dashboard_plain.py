"""Calls over plaintext in a real mesh: drawn once, with the endpoints that their caller found."""

from __future__ import annotations

import json
import time
import urllib.parse
import urllib.request

import pytest
from vital_world import PATIENCE_S, world

PLAIN = """\
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: shop}
spec: {host: shop.default.svc.cluster.local, trafficPolicy: {tls: {mode: DISABLE}}}
"""
CALLS = ["/status/200"] * 20 + ["/status/503"] * 5
EDGE, STRANGERS = "default/web->default/shop", "unknown->default/shop"


@pytest.fixture(scope="module")
def mesh(tmp_path_factory):
    """Two apps whose policy turns TLS off."""
    with world(tmp_path_factory.mktemp("plain"), PLAIN) as made:
        yield made


def ask(mesh, path: str, **query: object):
    """JSON of the dashboard's API."""
    url = f"{mesh.url}/api/{path}?{urllib.parse.urlencode(query)}"
    with urllib.request.urlopen(url, timeout=PATIENCE_S) as answer:
        return json.load(answer)


def counted(mesh) -> dict[str, int]:
    """Calls of the last minutes by edge."""
    graph = ask(mesh, "graph", window=300)
    return {edge["id"]: round(edge["rate"] * graph["window_s"]) for edge in graph["edges"]}


def strangers_told(mesh) -> float:
    """Calls that the destination has told of without a name for their caller."""
    with urllib.request.urlopen(f"{mesh.url}/metrics", timeout=PATIENCE_S) as answer:
        lines = answer.read().decode().splitlines()
    return sum(
        float(line.rpartition(" ")[2])
        for line in lines
        if line.startswith("istio_requests_total{")
        and 'reporter="destination"' in line
        and 'source_workload="unknown"' in line
    )


def test_a_call_is_drawn_once_and_a_stranger_when_there_is_one(mesh):
    """25 calls of which 5 are repeated: 30 that the destination cannot name."""
    for path in CALLS:
        assert mesh.caller.call(path) == int(path[-3:])
    seen = []

    def is_settled() -> bool:
        seen.append(counted(mesh))
        return seen[-1].get(EDGE) == 25 and strangers_told(mesh) >= 30

    mesh.daemon.wait_for(is_settled, PATIENCE_S)
    before = strangers_told(mesh) - 30  # of the test that waited for the server to come up
    assert before >= 0
    until = time.monotonic() + 8  # longer than strangers are held
    while time.monotonic() < until:
        seen.append(counted(mesh))
        time.sleep(0.2)
    assert max(each.get(STRANGERS, 0) for each in seen) <= before
    for _ in range(7):
        assert mesh.server.get("/status/200", [("host", "shop.default")]).status == 200
    mesh.daemon.wait_for(lambda: counted(mesh).get(STRANGERS, 0) >= 7, PATIENCE_S)
    assert counted(mesh)[STRANGERS] <= 7 + before
    assert counted(mesh)[EDGE] == 25


def test_the_panel_tells_endpoints_attempts_and_policies(mesh):
    detail = ask(mesh, "edge", id=EDGE)
    assert round(sum(detail["series"]["calls"])) == 25
    assert round(sum(detail["series"]["attempts"])) == 30
    (endpoint,) = detail["endpoints"]
    assert endpoint["address"] == f"127.0.0.1:{mesh.server.port}"
    assert endpoint["ejected"] is False
    assert endpoint["error_share"] == pytest.approx(10 / 30)
    kinds = {(policy["kind"], policy["name"]) for policy in detail["policies"]}
    assert kinds == {
        ("DestinationRule", "shop"),
        ("VirtualService", "shop"),
        ("ServiceEntry", "shop"),
        ("WorkloadEntry", "app"),
    }
    assert all(policy["text"] and policy["line"] for policy in detail["policies"])
