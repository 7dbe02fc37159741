"""`meshware explain`, outbound: why this rule and no other, who lost to whom, and mistakes."""

from __future__ import annotations

import json

import pytest
from explained import RULES, SERVICE, line_of

# --- rules ----------------------------------------------------------------------------------------


def test_each_rule_says_why_it_did_not_match(explain):
    """What the call has, and what the rule wants; the ones behind the first are not asked."""
    said = explain({"path": "/orders/1?x=y", "headers": [["X-User", "bob"]]})
    assert [(rule["rule"], rule["match"], rule["name"]) for rule in said["rules"]] == [
        (0, 0, "canary"), (0, 1, "canary"), (1, 0, "readers"), (2, 0, None), (3, 0, None),
    ]  # fmt: skip
    assert [(rule["state"], rule["why"]) for rule in said["rules"]] == [
        ("no-match", ['header x-user is "bob", wanted exact "alice"']),
        ("not-for-this-client", ["sourceLabels: app is app, wanted tester"]),
        ("taken", ['path is prefix "/orders"', 'method is exact "GET"']),
        ("not-for-this-client", ["port is 80, wanted 81"]),
        ("not-reached", ["rule 1 comes first; this one would take the call too"]),
    ]
    assert said["virtual_service"] == "default/orders"
    policy = SERVICE + RULES
    assert {rule["file"] for rule in said["rules"]} == {"mesh.yaml"}
    assert said["rules"][0]["line"] == line_of(policy, "headers: {x-user")
    assert said["rules"][2]["line"] == line_of(policy, "method: {exact: GET}")


@pytest.mark.parametrize(
    ("question", "reasons"),
    [
        ({"path": "/orders", "method": "POST"}, ['method is "POST", wanted exact "GET"']),
        ({"path": "/x"}, ['path is "/x", wanted prefix "/orders"']),
        (
            {"path": "/x", "method": "PUT"},
            ['path is "/x", wanted prefix "/orders"', 'method is "PUT", wanted exact "GET"'],
        ),
    ],
    ids=["method", "path", "both"],
)
def test_a_call_that_no_rule_takes_is_told_every_reason(explain, question, reasons):
    """404, and no falling back: each rule says all that it misses."""
    said = explain(question)
    assert (said["status"], said["flag"], said["code"], said["picked"]) == (404, "NR", 1, None)
    assert said["rules"][2]["why"] == reasons
    assert "no rule of VirtualService default/orders takes the call" in said["why"][0]


def test_rules_for_others_alone_leave_the_default_route(explain):
    """A VirtualService whose every rule is for other clients counts as none, and that is said."""
    policy = SERVICE + RULES.replace("hosts: [orders]", "hosts: [orders]\n  gateways: [mesh, g]")
    blocks = "match: [{gateways: [g]}]\n      route: [{destination: {host: orders}}]\n---\n"
    policy = policy[: policy.index("    - name: canary")] + "    - " + blocks
    said = explain({"path": "/"}, policy)
    assert (said["route"], said["virtual_service"], said["code"]) == ("default", None, 0)
    assert said["rules"][0]["state"] == "not-for-this-client"
    assert said["rules"][0]["why"] == ["gateways are g, without mesh: it is for gateways alone"]
    assert "default route holds" in said["why"][0]
    states = {(p["kind"], p["state"]) for p in said["policies"]}
    assert ("VirtualService", "not-for-this-client") in states


def test_a_rule_of_a_delegate_is_told_where_it_is_written(explain):
    """Its place is the delegate's, whose name is told too."""
    policy = SERVICE + (
        "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: root}\n"
        "spec:\n  hosts: [orders]\n  http:\n    - match: [{uri: {prefix: /old}}]\n"
        "      route: [{destination: {host: orders}}]\n"
        "    - match: [{uri: {prefix: /orders}}]\n      delegate: {name: part}\n---\n"
        "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: part}\n"
        "spec:\n  http:\n    - match: [{method: {exact: GET}}]\n"
        "      route: [{destination: {host: orders}}]\n"
    )
    said = explain({"path": "/orders/1"}, policy)
    taken = said["rules"][1]
    assert (taken["state"], taken["delegate"]) == ("taken", "default/part")
    assert taken["line"] == line_of(policy, "match: [{method")
    assert taken["why"] == ['path is prefix "/orders"', 'method is exact "GET"']
    [part] = [p for p in said["policies"] if p["name"] == "part"]
    assert part["why"] == "its rules stand in VirtualService default/root"


# --- what is missing, and who lost ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("question", "reasons"),
    [
        (
            {"host": "example.org"},
            ["no ServiceEntry that this client sees names example.org or "
             "example.org.svc.cluster.local",
             "outboundTrafficPolicy is ALLOW_ANY: the call goes out as it would without the mesh"],
        ),
        (
            {"host": "orders:8080"},
            ["orders.default.svc.cluster.local has the ports 80, 81, and not 8080",
             "outboundTrafficPolicy is ALLOW_ANY: the call goes out as it would without the mesh"],
        ),
    ],
    ids=["unknown host", "no such port"],
)  # fmt: skip
def test_a_host_that_the_mesh_does_not_know_says_what_is_missing(explain, question, reasons):
    """The full names that were tried, and what follows."""
    said = explain(question)
    assert (said["service"], said["destination"], said["why"]) == (None, None, reasons)


def test_a_subset_that_no_rule_in_force_has_is_told(explain):
    """Here the client's own DestinationRule hides the service's, which has the subset."""
    text = RULES.replace("name: orders}", "name: orders, namespace: shop}")
    text = text.replace("host: orders", "host: orders.shop.svc.cluster.local")
    text = text.replace("hosts: [orders]", "hosts: [orders.shop.svc.cluster.local]")
    mine = """\
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: mine}
spec: {host: "*.local", trafficPolicy: {loadBalancer: {simple: RANDOM}}, subsets: [{name: v9}]}
"""
    service = SERVICE.replace("name: orders}", "name: orders, namespace: shop}")
    said = explain({"host": "orders.shop", "headers": [["x-user", "alice"]]}, service + text + mine)
    assert (said["status"], said["flag"]) == (503, "NC")
    assert said["why"] == ["DestinationRule default/mine has no subset v2; it has v9"]


def test_policies_that_lost_say_to_whom(explain):
    """To a host that is more specific, to an exportTo, to a namespace that is looked at before."""
    others = """\
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: wide}
spec:
  hosts: ["*.svc.cluster.local"]
  http: [{route: [{destination: {host: orders}}]}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: grab, namespace: evil}
spec:
  hosts: [orders.default.svc.cluster.local]
  http: [{route: [{destination: {host: orders.default.svc.cluster.local}}]}]
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: far, namespace: istio-system}
spec: {host: "*.local", trafficPolicy: {loadBalancer: {simple: RANDOM}}}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: edge}
spec:
  hosts: [orders]
  gateways: [edge]
  http: [{route: [{destination: {host: orders}}]}]
"""
    policy = SERVICE + RULES + others
    said = explain({"path": "/orders"}, policy)
    found = {(p["kind"], p["name"]): (p["state"], p["why"]) for p in said["policies"]}
    assert found["VirtualService", "orders"] == ("in-force", None)
    assert found["VirtualService", "wide"] == (
        "comes-after",
        "its host *.svc.cluster.local is less specific than orders.default.svc.cluster.local",
    )
    assert found["VirtualService", "grab"] == (
        "hidden",
        "it is exported to namespace evil, and this client is in default",
    )
    assert found["VirtualService", "edge"][0] == "not-for-this-client"
    state, why = found["DestinationRule", "far"]
    assert state == "comes-after"
    assert "namespaces are looked at in the order default, then istio-system" in why
    lines = {p["name"]: p["line"] for p in said["policies"] if p["kind"] == "VirtualService"}
    assert lines["grab"] == line_of(policy, "metadata: {name: grab") - 2


def test_a_sidecar_that_hides_a_service_is_named(explain):
    """It decides what the client knows, and what happens to the rest."""
    sidecar = """\
apiVersion: networking.istio.io/v1
kind: Sidecar
metadata: {name: narrow}
spec:
  egress: [{hosts: ["other/*"]}]
  outboundTrafficPolicy: {mode: REGISTRY_ONLY}
"""
    said = explain({}, SERVICE + sidecar)
    assert (said["status"], said["code"]) == (502, 1)
    assert said["why"][-1].startswith("outboundTrafficPolicy of Sidecar default/narrow")
    found = {p["kind"]: (p["state"], p["why"]) for p in said["policies"]}
    assert found["Sidecar"][0] == "in-force"
    assert found["ServiceEntry"] == (
        "hidden",
        "Sidecar default/narrow imports nothing of namespace default for this host",
    )


def test_telemetries_that_apply_are_named_with_their_places(explain):
    """And those that others come before."""
    telemetries = """\
apiVersion: telemetry.istio.io/v1
kind: Telemetry
metadata: {name: mesh, namespace: istio-system}
spec: {tracing: [{randomSamplingPercentage: 5}]}
---
apiVersion: telemetry.istio.io/v1
kind: Telemetry
metadata: {name: own}
spec: {}
---
apiVersion: telemetry.istio.io/v1
kind: Telemetry
metadata: {name: second}
spec: {}
"""
    policy = SERVICE + telemetries
    said = explain({}, policy)
    named = [p for p in said["policies"] if p["kind"] == "Telemetry"]
    found = {p["name"]: (p["state"], p["line"]) for p in named}
    assert found == {
        "mesh": ("in-force", line_of(policy, "metadata: {name: mesh") - 2),
        "own": ("in-force", line_of(policy, "metadata: {name: own") - 2),
        "second": ("comes-after", line_of(policy, "metadata: {name: second") - 2),
    }
    question = {"direction": "inbound", "host": "app", "path": "/"}
    _, out, _ = explain(question, policy, "--format", "json")
    inbound = json.loads(out)["inbound"]
    assert {p["name"]: (p["state"], p["line"]) for p in inbound["telemetries"]} == found


# --- mistakes, and people -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("question", "complaint"),
    [
        ({"ejected": ["10.0.0.1"]}, "`ejected` names '10.0.0.1'; write address:port"),
        ({"ejected": ["10.0.0.1:0"]}, "write address:port"),
        ({"ejected": ["::1:80"]}, "with brackets around IPv6"),
        ({"ejected": "10.0.0.1:80"}, "$.ejected"),
        ({"ejected": ["10.0.0.1:80"], "direction": "inbound"}, "`ejected` is for outbound"),
    ],
    ids=["no port", "port 0", "no brackets", "no list", "inbound"],
)
def test_an_ejection_that_makes_no_sense_is_one_sentence_and_2(explain, question, complaint):
    """An endpoint that is not understood is never left out in silence."""
    code, out, error = explain(question)
    assert (code, out) == (2, "")
    assert complaint in error and error.count("\n") == 1


def test_people_read_the_reasons_in_sections(explain):
    """What happens comes first, then the rules, and at last who took part."""
    code, out, error = explain(
        {"path": "/orders", "headers": [["x-user", "b\x1b[2Job"]]}, SERVICE + RULES, "--format=text"
    )
    assert (code, error) == (0, "")
    lines = out.splitlines()
    assert lines[0].startswith("route readers to orders.default.svc.cluster.local:80, subset v")
    canary = line_of(SERVICE + RULES, "headers: {x-user")
    assert lines[2:4] == [
        "rules of VirtualService default/orders:",
        '  rule 0 ("canary"), match 0 did not match: header x-user is "b\\u001b[2Job", wanted '
        f'exact "alice" (mesh.yaml:{canary})',
    ]
    assert [line for line in lines if line and not line.startswith(" ")][1:] == [
        "rules of VirtualService default/orders:",
        "weighted destinations:",
        "times and tries:",
        "endpoints:",
        "settings:",
        "policies:",
    ]
    assert "\x1b" not in out
