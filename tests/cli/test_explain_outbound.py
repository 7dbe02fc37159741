"""`meshware explain`, outbound: why this rule and these endpoints, and who says so where."""

from __future__ import annotations

import io
import json

import pytest

from meshware.cli.main import run

SERVICE = """\
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: orders}
spec:
  hosts: [orders]
  location: MESH_INTERNAL
  resolution: STATIC
  ports: [{number: 80, name: http, protocol: HTTP}, {number: 81, name: admin, protocol: HTTP}]
  endpoints:
    - {address: 10.0.0.1, labels: {version: v1}}
    - {address: 10.0.0.2, labels: {version: v1}}
    - {address: 10.0.0.3, labels: {version: v2}}
---
apiVersion: networking.istio.io/v1
kind: WorkloadEntry
metadata: {name: app}
spec: {address: 10.0.0.9, labels: {app: app}}
---
"""

RULES = """\
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: orders}
spec:
  hosts: [orders]
  http:
    - name: canary
      match:
        - {headers: {x-user: {exact: alice}}}
        - {sourceLabels: {app: tester}, uri: {prefix: /}}
      route: [{destination: {host: orders, subset: v2}}]
    - name: readers
      match: [{method: {exact: GET}, uri: {prefix: /orders}}]
      route:
        - {destination: {host: orders, subset: v1}, weight: 75}
        - {destination: {host: orders, subset: v2}, weight: 25}
    - match: [{port: 81}]
      route: [{destination: {host: orders}}]
    - match: [{uri: {prefix: /orders/1}}]
      route: [{destination: {host: orders}}]
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: orders}
spec:
  host: orders
  trafficPolicy:
    loadBalancer: {simple: ROUND_ROBIN}
    outlierDetection: {maxEjectionPercent: 50}
  subsets:
    - {name: v1, labels: {version: v1}}
    - name: v2
      labels: {version: v2}
      trafficPolicy:
        portLevelSettings: [{port: {number: 80}, connectionPool: {http: {maxRetries: 2}}}]
---
"""


@pytest.fixture
def explain(tmp_path, monkeypatch, capsys):
    """Ask about a call of a policy; return what is said, with the exit code under `code`."""

    def explain(question, policy=SERVICE + RULES, *arguments):
        place = tmp_path / "mesh.yaml"
        place.write_text(policy, encoding="utf-8")
        text = json.dumps({"direction": "outbound", "host": "orders", **question})
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(text.encode())))
        monkeypatch.chdir(tmp_path)
        given = arguments or ("--format", "json")
        code = run(["explain", "--policy", "mesh.yaml", "--workload", "app", *given])
        captured = capsys.readouterr()
        if code == 2 or arguments:
            return code, captured.out, captured.err
        return {**json.loads(captured.out)["outbound"], "code": code}

    return explain


def line_of(policy: str, text: str) -> int:
    """The line in which a text first stands."""
    return policy[: policy.index(text)].count("\n") + 1


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
