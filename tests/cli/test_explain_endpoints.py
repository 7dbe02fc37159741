"""`meshware explain`, outbound: where a call goes, and what is in force there."""

from __future__ import annotations

import pytest
from explained import RULES, SERVICE, line_of

# --- destinations and endpoints -------------------------------------------------------------------


def test_weighted_destinations_have_their_shares(explain):
    """And the one that this call drew is marked, with the endpoint that it goes to."""
    said = explain({"path": "/orders"})
    shares = {to["subset"]: to["share_percent"] for to in said["destinations"]}
    assert shares == {"v1": 75.0, "v2": 25.0}
    assert [to["subset"] for to in said["destinations"] if to["is_chosen"]] == [said["subset"]]
    assert said["picked"] in {f"{e['address']}:{e['port']}" for e in said["endpoints"]}


def test_endpoints_of_the_service_that_are_left_out_say_why(explain):
    """By the labels of the subset."""
    said = explain({"path": "/", "headers": [["x-user", "alice"]]})
    assert said["endpoints"] == [{"address": "10.0.0.3", "port": 80, "state": "healthy"}]
    assert said["other_endpoints"] == [
        {"address": f"10.0.0.{last}", "port": 80, "state": "other-subset",
         "why": "version is v1, wanted v2"}
        for last in (1, 2)
    ]  # fmt: skip


def to_one_subset(name: str) -> str:
    """The policy with every call to one subset."""
    head = RULES[: RULES.index("    - name: canary")]
    tail = RULES[RULES.index("---") :]
    return (
        SERVICE
        + head
        + f"    - route: [{{destination: {{host: orders, subset: {name}}}}}]\n"
        + tail
    )


@pytest.mark.parametrize(
    ("rule", "ejected", "states", "kept"),
    [
        ("{maxEjectionPercent: 50}", ["10.0.0.1:80"], ["ejected", "healthy"], []),
        (
            "{maxEjectionPercent: 50}",
            ["10.0.0.1:80", "10.0.0.2:80"],
            ["ejected", "healthy"],
            ["maxEjectionPercent is 50, and one more of 2 endpoints would be over it"],
        ),
        (
            "{}",
            ["10.0.0.1:80"],
            ["healthy", "healthy"],
            ["maxEjectionPercent is 10, and one more of 2 endpoints would be over it"],
        ),
        (
            "{maxEjectionPercent: 100, minHealthPercent: 60}",
            ["10.0.0.1:80"],
            ["healthy", "healthy"],
            ["fewer than minHealthPercent 60 would be left, so all are called"],
        ),
        (
            "{maxEjectionPercent: 100}",
            ["10.0.0.3:80"],
            ["healthy", "healthy"],
            ["it is no endpoint of this destination"],
        ),
    ],
    ids=["out", "one too many", "never with so few", "panic", "of another subset"],
)
def test_ejected_endpoints_are_passed_over_as_far_as_policy_lets_them(
    explain, rule, ejected, states, kept
):
    """The question's `ejected` goes through the ledger that real calls go through."""
    policy = to_one_subset("v1").replace("{maxEjectionPercent: 50}", rule)
    said = explain({"ejected": ejected}, policy)
    assert [endpoint["state"] for endpoint in said["endpoints"]] == states
    assert [each["why"] for each in said["not_ejected"]] == kept
    out = [f"{e['address']}:80" for e in said["endpoints"] if e["state"] == "ejected"]
    assert said["picked"] not in out


def test_with_everybody_ejected_there_is_no_healthy_upstream(explain):
    """503, flag UH, as in the process; the answer says who is out."""
    policy = to_one_subset("v1").replace("maxEjectionPercent: 50", "maxEjectionPercent: 100")
    said = explain({"ejected": ["10.0.0.1:80", "10.0.0.2:80"]}, policy)
    assert (said["status"], said["flag"], said["code"]) == (503, "UH", 1)
    assert {endpoint["state"] for endpoint in said["endpoints"]} == {"ejected"}
    assert said["why"] == [
        "every endpoint is ejected, and minHealthPercent does not let them be called"
    ]


def test_without_outlier_detection_nobody_is_ejected(explain):
    """And the answer says that, instead of leaving the endpoint out."""
    policy = to_one_subset("v1").replace("    outlierDetection: {maxEjectionPercent: 50}\n", "")
    said = explain({"ejected": ["10.0.0.1:80"]}, policy)
    [kept] = said["not_ejected"]
    assert kept["endpoint"] == "10.0.0.1:80" and "no outlierDetection is in force" in kept["why"]


LOCAL = """\
      localityLbSetting: {distribute: [{from: "*", to: {eu/a: 80, us/b: 20}}]}
"""


def test_localities_have_their_levels_and_who_gets_nothing_is_told(explain):
    """An endpoint whose locality has no share is left out, by name."""
    policy = to_one_subset("v1").replace("{simple: ROUND_ROBIN}", "\n" + LOCAL[:-1])
    policy = policy.replace("address: 10.0.0.1,", "address: 10.0.0.1, locality: eu/a,")
    policy = policy.replace("address: 10.0.0.2,", "address: 10.0.0.2, locality: asia/c,")
    policy = policy.replace("{address: 10.0.0.9", "{locality: eu/a, address: 10.0.0.9")
    said = explain({}, policy)
    assert [(e["address"], e["state"]) for e in said["other_endpoints"]] == [
        ("10.0.0.2", "other-locality"), ("10.0.0.3", "other-subset"),
    ]  # fmt: skip
    assert said["other_endpoints"][0]["why"] == "localityLbSetting gives asia/c no share"
    assert said["levels"] == [{"share_percent": 100.0, "endpoints": ["10.0.0.1:80"]}]


# --- what is in force -----------------------------------------------------------------------------


def test_each_setting_names_the_level_that_it_is_from(explain):
    """The reset trap: a port's entry takes back whatever it leaves out."""
    said = explain({"path": "/", "headers": [["x-user", "alice"]]})
    found = {s["setting"]: (s["value"], s["level"], s["is_reset"]) for s in said["settings"]}
    port = "spec.subsets[1].trafficPolicy.portLevelSettings[0]"
    assert found == {
        "loadBalancer": ("LEAST_REQUEST", port, True),
        "connectionPool": ("at most 2 retries at once", f"{port}.connectionPool", False),
        "outlierDetection": ("off", port, True),
        "tls": ("none", None, False),
    }
    [pool] = [s for s in said["settings"] if s["setting"] == "connectionPool"]
    assert pool["policy"] == "default/orders"
    assert (pool["file"], pool["line"]) == (
        "mesh.yaml",
        line_of(SERVICE + RULES, "portLevelSettings"),
    )
    said = explain({}, to_one_subset("v1"))
    found = {s["setting"]: (s["value"], s["level"], s["is_reset"]) for s in said["settings"]}
    assert found["loadBalancer"] == ("ROUND_ROBIN", "spec.trafficPolicy.loadBalancer", False)
    assert "50 %" in found["outlierDetection"][0]


MESH = """\
apiVersion: meshware.dev/v1alpha1
kind: MeshConfig
metadata: {name: mesh, namespace: istio-system}
spec: {defaultHttpRetryPolicy: {attempts: 7}}
"""


@pytest.mark.parametrize(
    ("written", "more", "source", "attempts"),
    [
        ("", "", "default", 2),
        ("", MESH, "mesh", 7),
        ("\n      retries: {attempts: 3}", MESH, "rule", 3),
    ],
    ids=["default", "mesh", "rule"],
)
def test_it_says_who_sets_the_retries(explain, written, more, source, attempts):
    """The rule, else MeshConfig, else Istio's default."""
    policy = to_one_subset("v1").replace("subset: v1}}]", f"subset: v1}}}}]{written}")
    said = explain({}, policy + more)
    assert (said["retries_from"], said["retries"]["attempts"]) == (source, attempts)


REPEATABLE = """\
apiVersion: meshware.dev/v1alpha1
kind: ServicePolicy
metadata: {name: safe}
spec:
  hosts: [orders]
  http:
    - {match: [{uri: {exact: /once}}], safeToRepeat: false}
    - {safeToRepeat: true}
"""


@pytest.mark.parametrize(
    ("question", "more", "is_safe", "why"),
    [
        ({}, "", True, "GET is safe to repeat"),
        ({"method": "POST"}, "", False, "POST is not safe to repeat: only while no byte was sent"),
        ({"method": "POST"}, REPEATABLE, True, "safe, rule 1, declares it safe to repeat"),
        ({"path": "/once"}, REPEATABLE, False, "safe, rule 0, declares it not safe to repeat"),
    ],
    ids=["by method", "not by method", "declared", "declared unsafe"],
)
def test_it_says_by_whose_word_a_request_is_sent_again(explain, question, more, is_safe, why):
    """The method's, or the rule of a ServicePolicy; who took part is listed with its place."""
    said = explain(question, to_one_subset("v1") + more)
    assert said["safe_to_repeat"] is is_safe
    assert why in said["retries_why"]
    policies = [p for p in said["policies"] if p["kind"] == "ServicePolicy"]
    assert [p["state"] for p in policies] == (["in-force"] if more else [])


def test_what_policy_does_besides_leading_somewhere_is_told(explain):
    """Faults, copies, and what is changed in the request."""
    policy = to_one_subset("v1").replace(
        "    - route:",
        """\
    - fault: {delay: {fixedDelay: 2s, percentage: {value: 100}}, abort: {httpStatus: 418}}
      mirrors: [{destination: {host: orders, subset: v2}, percentage: {value: 12.5}}]
      rewrite: {uri: /new}
      headers: {request: {set: {x-a: b}, remove: [x-old]}}
      timeout: 3s
      route:""",
    )
    said = explain({"path": "/old?q=1"}, policy)
    assert said["fault"] == {"delay": {"seconds": 2.0, "percent": 100.0}, "abort": None}
    assert said["mirrors"] == [
        {"host": "orders.default.svc.cluster.local", "port": 80, "subset": "v2",
         "percent": 12.5, "exists": True}
    ]  # fmt: skip
    assert said["sent"] == {
        "path": "/newold?q=1", "host": None, "removed": ["x-old"], "set": [["x-a", "b"]]
    }  # fmt: skip
    assert (said["timeout_s"], said["connect_timeout_s"]) == (3.0, 10.0)


def test_a_redirect_tells_where_to(explain):
    """It is an answer of the mesh's own."""
    policy = to_one_subset("v1").replace(
        "- route: [{destination: {host: orders, subset: v1}}]", "- redirect: {uri: /there}"
    )
    said = explain({"path": "/here"}, policy)
    assert (said["status"], said["redirect_to"]) == (301, "http://orders/there")
    assert said["why"] == ["the rule answers by itself, without any destination"]


# --- services without endpoints of their own --------------------------------------------------

ELSEWHERE = """\
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: gate}
spec:
  hosts: [gate.test]
  resolution: DNS
  ports: [{number: 8080, name: http, protocol: HTTP, targetPort: 80}]
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: ext}
spec:
  hosts: ["*.ext.test"]
  resolution: NONE
  ports: [{number: 80, name: http, protocol: HTTP}]
---
apiVersion: networking.istio.io/v1
kind: Sidecar
metadata: {name: default}
spec:
  outboundTrafficPolicy: {mode: ALLOW_ANY, egressProxy: {host: gate.test, port: {number: 8080}}}
"""


@pytest.mark.parametrize(
    ("host", "endpoint", "why"),
    [
        ("gate.test:8080", "gate.test:80", ""),
        ("a.ext.test", "a.ext.test:80", ""),
        ("other.test", "gate.test:80", "has an egress proxy for such hosts"),
    ],
)
def test_names_stand_for_the_endpoints_that_they_lead_to(explain, host, endpoint, why):
    """There is no network here: what DNS or the caller's URL will say is shown by its name."""
    said = explain({"path": "/", "host": host}, SERVICE + ELSEWHERE)
    assert said["picked"] == endpoint
    assert [f"{each['address']}:{each['port']}" for each in said["endpoints"]] == [endpoint]
    assert why in " ".join(said["why"])
    assert bool(why) == bool(said["why"])
