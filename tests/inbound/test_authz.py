"""What AuthorizationPolicies let pass, asked of the gate as drivers ask it."""

from __future__ import annotations

from typing import Any

import pytest
from inbound_world import NOTHING, from_, is_allowed, mesh_config, policy, request, to, when

from meshware.inbound.passage import Admission, Denial
from meshware.testing import TestMesh

ALLOW, DENY = "ALLOW", "DENY"


def cases(*rows: tuple[Any, ...]) -> list[Any]:
    """Rows of (id, ...)."""
    return [pytest.param(*row[1:], id=row[0]) for row in rows]


@pytest.mark.parametrize(
    ("policies", "expected"),
    cases(
        ("no policy at all", [], True),
        ("deny that does not match", [policy(DENY, to(paths=["/b"]))], True),
        ("deny that matches", [policy(DENY, to(paths=["/a"]))], False),
        ("allow that matches", [policy(ALLOW, to(paths=["/a"]))], True),
        ("allow that does not match", [policy(ALLOW, to(paths=["/b"]))], False),
        ("allow everything", [policy(ALLOW, {})], True),
        ("allow without rules allows nothing", [policy(ALLOW)], False),
        ("deny everything", [policy(DENY, {})], False),
        ("deny beats allow", [policy(ALLOW, {}), policy(DENY, to(paths=["/a"]))], False),
        ("one allowing policy of two is enough",
         [policy(ALLOW, to(paths=["/b"]), name="b"), policy(ALLOW, to(paths=["/a"]))], True),
        ("one allowing rule of two is enough",
         [policy(ALLOW, to(paths=["/b"]), to(paths=["/a"]))], True),
        ("an allow elsewhere does not lift a deny",
         [policy(DENY, {}, namespace="istio-system"), policy(ALLOW, {})], False),
        ("all fields of an operation must hold",
         [policy(ALLOW, to(paths=["/a"], methods=["POST"]))], False),
        ("any operation of a rule will do",
         [policy(ALLOW, {"to": [{"operation": {"paths": ["/b"]}},
                                {"operation": {"methods": ["GET"]}}]})], True),
        ("source and operation must both hold",
         [policy(ALLOW, {**to(paths=["/a"]), **from_(ipBlocks=["10.0.0.0/8"])})], False),
        ("any source of a rule will do",
         [policy(ALLOW, {"from": [{"source": {"ipBlocks": ["10.0.0.0/8"]}},
                                  {"source": {"ipBlocks": ["192.0.2.0/24"]}}]})], True),
        ("all conditions must hold",
         [policy(ALLOW, {"when": [*when("source.ip", "192.0.2.1")["when"],
                                  *when("destination.port", "81")["when"]]})], False),
    ),
)  # fmt: skip
def test_deny_is_asked_first_and_then_some_rule_must_allow(policies, expected):
    """No ALLOW policy: everything that is not denied may pass; with one, what it names."""
    mesh = TestMesh([NOTHING, *policies])
    assert is_allowed(mesh, request("/a")) is expected


@pytest.mark.parametrize(
    ("operation", "given", "expected"),
    cases(
        ("method", {"methods": ["GET", "HEAD"]}, {"method": "HEAD"}, True),
        ("another method", {"methods": ["GET"]}, {"method": "HEAD"}, False),
        ("any method", {"methods": ["*"]}, {"method": "BREW"}, True),
        ("not this method", {"notMethods": ["PUT"]}, {"method": "PUT"}, False),
        ("not that method", {"notMethods": ["PUT"]}, {"method": "GET"}, True),
        ("host", {"hosts": ["shop.com"]}, {"host": "shop.com"}, True),
        ("host in another case", {"hosts": ["Shop.com"]}, {"host": "sHOP.COM"}, True),
        ("host with a port", {"hosts": ["shop.com"]}, {"host": "shop.com:8080"}, True),
        ("host with a trailing dot", {"hosts": ["shop.com"]}, {"host": "shop.com."}, True),
        ("host with dot and port", {"hosts": ["shop.com"]}, {"host": "shop.com.:8080"}, True),
        ("host and port, as written", {"hosts": ["shop.com:80"]}, {"host": "shop.com:80"}, True),
        ("host and port, with a dot", {"hosts": ["shop.com:80"]}, {"host": "shop.com.:80"}, True),
        ("host and port, without", {"hosts": ["shop.com:80"]}, {"host": "shop.com"}, False),
        ("host and another port", {"hosts": ["shop.com:80"]}, {"host": "shop.com:81"}, False),
        ("host by suffix", {"hosts": ["*.shop.com"]}, {"host": "eu.shop.com:80"}, True),
        ("host by suffix, not the bare one", {"hosts": ["*.shop.com"]}, {"host": "shop.com"},
         False),
        ("host by prefix", {"hosts": ["shop.*"]}, {"host": "shop.eu"}, True),
        ("any port of a host", {"hosts": ["shop.com:*"]}, {"host": "shop.com:81"}, True),
        ("any host", {"hosts": ["*"]}, {"host": "shop.com"}, True),
        ("an IPv6 host", {"hosts": ["[::1]"]}, {"host": "[::1]:80"}, True),
        ("not this host", {"notHosts": ["shop.com"]}, {"host": "SHOP.com.:80"}, False),
        ("not that host", {"notHosts": ["shop.com"]}, {"host": "shop.com.evil"}, True),
        ("port", {"ports": ["8080"]}, {}, True),
        ("another port", {"ports": ["8081", "80"]}, {}, False),
        ("not this port", {"notPorts": ["8080"]}, {}, False),
        ("not that port", {"notPorts": ["80"]}, {}, True),
        ("path", {"paths": ["/a"]}, {"target": "/a?x=/b"}, True),
        ("path with a slash more", {"paths": ["/a"]}, {"target": "/a/"}, False),
        ("path in another case", {"paths": ["/a"]}, {"target": "/A"}, False),
        ("path by prefix", {"paths": ["/a*"]}, {"target": "/ab/c"}, True),
        ("path by suffix", {"paths": ["*.png"]}, {"target": "/x/y.png?z"}, True),
        ("any path", {"paths": ["*"]}, {"target": "/"}, True),
        ("not this path", {"notPaths": ["/a*"]}, {"target": "/ab"}, False),
        ("not that path", {"notPaths": ["/a*"]}, {"target": "/b"}, True),
        ("a path and not its twin", {"paths": ["/a*"], "notPaths": ["/a/x"]},
         {"target": "/a/x"}, False),
        ("a path beside its twin", {"paths": ["/a*"], "notPaths": ["/a/x"]},
         {"target": "/a/y"}, True),
        ("an escaped character that needs none", {"paths": ["/abc"]}, {"target": "/%61bc"}, True),
        ("an escaped character, small hex", {"paths": ["/caf%c3%a9"]},
         {"target": "/caf%C3%a9"}, True),
        ("one segment", {"paths": ["/u/{*}/x"]}, {"target": "/u/1/x"}, True),
        ("one segment, not two", {"paths": ["/u/{*}/x"]}, {"target": "/u/1/2/x"}, False),
        ("one segment, not none", {"paths": ["/u/{*}/x"]}, {"target": "/u//x"}, False),
        ("any rest", {"paths": ["/u/{**}"]}, {"target": "/u/1/2"}, True),
        ("any rest, and nothing", {"paths": ["/u/{**}"]}, {"target": "/u/"}, True),
        ("any rest, but the slash", {"paths": ["/u/{**}"]}, {"target": "/u"}, False),
        ("anything between", {"paths": ["/u/{**}/x"]}, {"target": "/u/1/2/x"}, True),
        ("a star in a request is a star", {"paths": ["/u/{*}/x"]}, {"target": "/u/*/y"}, False),
        ("braces in a request are braces", {"paths": ["/u/1"]}, {"target": "/u/{*}"}, False),
    ),
)  # fmt: skip
@pytest.mark.parametrize("action", [ALLOW, DENY])
def test_an_operation_matches_when_every_field_does(operation, given, expected, action):
    """Each row is one rule, asked as ALLOW and as DENY."""
    mesh = TestMesh(policy(action, to(**operation)))
    given = {"target": "/", **given}
    assert is_allowed(mesh, request(given.pop("target"), **given)) is (
        expected is (action == ALLOW)
    )


@pytest.mark.parametrize(
    ("rule", "given", "expected"),
    cases(
        ("address", from_(ipBlocks=["192.0.2.1"]), {}, True),
        ("block", from_(ipBlocks=["10.0.0.0/8", "192.0.2.0/24"]), {}, True),
        ("bits behind the prefix are ignored", from_(ipBlocks=["192.0.2.77/24"]), {}, True),
        ("another block", from_(ipBlocks=["192.0.3.0/24"]), {}, False),
        ("not this block", from_(notIpBlocks=["192.0.2.0/24"]), {}, False),
        ("not that block", from_(notIpBlocks=["192.0.3.0/24"]), {}, True),
        ("a block without an address of it", from_(ipBlocks=["192.0.2.0/24"],
         notIpBlocks=["192.0.2.1"]), {}, False),
        ("IPv6", from_(ipBlocks=["2001:db8::/32"]), {"source_ip": "2001:db8::7"}, True),
        ("IPv6 of another block", from_(ipBlocks=["2001:db8::/32"]), {"source_ip": "::1"}, False),
        ("IPv6 with a zone", from_(ipBlocks=["fe80::/10"]), {"source_ip": "fe80::1%eth0"}, True),
        ("IPv4 in IPv6 clothes", from_(ipBlocks=["192.0.2.0/24"]),
         {"source_ip": "::ffff:192.0.2.5"}, True),
        ("an IPv4 block does not hold IPv6", from_(ipBlocks=["0.0.0.0/0"]),
         {"source_ip": "2001:db8::7"}, False),
        ("source.ip", when("source.ip", "192.0.2.0/24"), {}, True),
        ("source.ip of another block", when("source.ip", "192.0.3.0/24"), {}, False),
        ("not source.ip", when("source.ip", unless=["192.0.2.1"]), {}, False),
        ("destination.ip", when("destination.ip", "192.0.2.9"), {}, True),
        ("another destination.ip", when("destination.ip", "192.0.2.1"), {}, False),
        ("not destination.ip", when("destination.ip", unless=["192.0.2.9"]), {}, False),
        ("destination.port", when("destination.port", "8080"), {}, True),
        ("another destination.port", when("destination.port", "80"), {}, False),
        ("not destination.port", when("destination.port", unless=["8080"]), {}, False),
        ("header", when("request.headers[X-A]", "1"), {"headers": [("x-a", "1")]}, True),
        ("another value", when("request.headers[x-a]", "1"), {"headers": [("x-a", "2")]}, False),
        ("no such header", when("request.headers[x-a]", "1"), {}, False),
        ("header by prefix", when("request.headers[x-a]", "1*"), {"headers": [("x-a", "12")]},
         True),
        ("header by suffix", when("request.headers[x-a]", "*2"), {"headers": [("x-a", "12")]},
         True),
        ("presence", when("request.headers[x-a]", "*"), {"headers": [("x-a", "")]}, True),
        ("presence, absent", when("request.headers[x-a]", "*"), {}, False),
        ("values are told apart by case", when("request.headers[x-a]", "A"),
         {"headers": [("x-a", "a")]}, False),
        ("blanks around a value", when("request.headers[x-a]", "1"),
         {"headers": [("x-a", " 1\t")]}, True),
        ("not this value", when("request.headers[x-a]", unless=["1"]),
         {"headers": [("x-a", "1")]}, False),
        ("not that value", when("request.headers[x-a]", unless=["1"]),
         {"headers": [("x-a", "2")]}, True),
        ("not this value, absent", when("request.headers[x-a]", unless=["1"]), {}, True),
        ("a value and not another", when("request.headers[x-a]", "1*", unless=["12"]),
         {"headers": [("x-a", "12")]}, False),
        ("a value with commas", when("request.headers[x-a]", "1,2"),
         {"headers": [("x-a", "1,2")]}, True),
        ("a value with commas over two lines", when("request.headers[x-a]", "1,2"),
         {"headers": [("x-a", "1"), ("x-a", "2")]}, True),
        ("twice the same", when("request.headers[x-a]", "1"),
         {"headers": [("x-a", "1"), ("x-a", "1")]}, True),
        ("a single field holds commas", when("request.headers[user-agent]", "A (b, c)"),
         {"headers": [("user-agent", "A (b, c)")]}, True),
    ),
)  # fmt: skip
@pytest.mark.parametrize("action", [ALLOW, DENY])
def test_sources_and_conditions_match_what_is_known(rule, given, expected, action):
    """Each row is one rule, asked as ALLOW and as DENY."""
    mesh = TestMesh(policy(action, rule))
    assert is_allowed(mesh, request(**given)) is (expected is (action == ALLOW))


@pytest.mark.parametrize(
    ("rule", "given"),
    cases(
        ("port", to(ports=["8080"]), {"port": None}),
        ("not the port", to(notPorts=["80"]), {"port": None}),
        ("port as a condition", when("destination.port", "8080"), {"port": None}),
        ("not the port as a condition", when("destination.port", unless=["80"]), {"port": None}),
        ("caller", from_(ipBlocks=["192.0.2.0/24"]), {"source_ip": None}),
        ("not the caller", from_(notIpBlocks=["10.0.0.0/8"]), {"source_ip": None}),
        ("a caller that is no address", from_(ipBlocks=["192.0.2.0/24"]),
         {"source_ip": "garbage"}),
        ("a caller on a Unix socket", when("source.ip", "192.0.2.0/24"), {"source_ip": ""}),
        ("a caller with a broken zone", from_(notIpBlocks=["10.0.0.0/8"]),
         {"source_ip": "%eth0"}),
        ("own address", when("destination.ip", "192.0.2.9"), {"destination_ip": None}),
        ("host", to(hosts=["shop.com"]), {"host": None, "version": "1.0"}),
        ("not the host", to(notHosts=["other.com"]), {"host": None, "version": "1.0"}),
    ),
)  # fmt: skip
def test_what_is_not_known_neither_allows_nor_escapes_a_deny(rule, given):
    """Denied by the DENY rule, and not allowed by the ALLOW rule."""
    for action in (ALLOW, DENY):
        assert not is_allowed(TestMesh(policy(action, rule)), request(**given)), action


@pytest.mark.parametrize(
    ("rule", "lines"),
    cases(
        ("one value of two lines", when("request.headers[x-a]", "bad"), ["good", "bad"]),
        ("first of two lines", when("request.headers[x-a]", "bad"), ["bad", "good"]),
        ("joined as WSGI does", when("request.headers[x-a]", "bad"), ["good,bad"]),
        ("joined with blanks", when("request.headers[x-a]", "bad"), ["good , bad"]),
        ("by prefix", when("request.headers[x-a]", "ba*"), ["good", "bad"]),
        ("by suffix", when("request.headers[x-a]", "*ad"), ["bad", "good"]),
        ("what is not listed", when("request.headers[x-a]", unless=["good"]), ["good", "bad"]),
        ("what is not listed, joined", when("request.headers[x-a]", unless=["good"]),
         ["good, bad"]),
        ("an empty second value", when("request.headers[x-a]", unless=["good"]), ["good", ""]),
        ("a single field on two lines", when("request.headers[authorization]", "bad"),
         ["good", "bad"]),
    ),
)  # fmt: skip
def test_of_several_values_one_is_enough_to_deny_and_all_are_needed_to_allow(rule, lines):
    """The same rule denies the mixture, and does not allow it."""
    name = rule["when"][0]["key"].removeprefix("request.headers[").removesuffix("]")
    head = request(headers=[(name, line) for line in lines])
    assert not is_allowed(TestMesh(policy(DENY, rule)), head)
    if rule["when"][0].get("values"):
        assert not is_allowed(TestMesh(policy(ALLOW, rule)), head)


@pytest.mark.parametrize(
    ("unless", "lines"),
    cases(
        ("one part", ["bad"], ["good,bad"]),
        ("one line", ["bad"], ["good", "bad"]),
        ("a line with a comma", ["a,b"], ["a,b"]),
        ("lines that make it together", ["a,b"], ["a", "b"]),
        ("a prefix that spans a comma", ["a,*"], ["a,c"]),
    ),
)
def test_an_allow_rule_does_not_take_what_its_not_values_name_in_any_reading(unless, lines):
    """`notValues` of an ALLOW rule exclude a value as written, joined, and part by part."""
    mesh = TestMesh(policy(ALLOW, when("request.headers[x-a]", unless=unless)))
    assert not is_allowed(mesh, request(headers=[("x-a", line) for line in lines]))
    assert is_allowed(mesh, request(headers=[("x-a", "good")]))


# --- hostile paths --------------------------------------------------------------------------------

HOSTILE = [
    "/admin/../public/x",
    "/admin/%2e%2e/public/x",
    "/admin%2f..%2fpublic/x",
    "/admin%5c..%5cpublic/x",
    "/admin/.%2E/public/x",
    "//admin/../public/x",
    "/%61dmin/../public/x",
]


@pytest.mark.parametrize("target", HOSTILE)
def test_a_path_is_allowed_only_if_everything_that_it_may_mean_is(target):
    """Apps do not resolve dots: such a request runs a handler or mount at /admin."""
    allowing = TestMesh(policy(ALLOW, to(paths=["/public/*"])))
    assert not is_allowed(allowing, request(target))
    both = TestMesh(policy(ALLOW, to(paths=["/public/*"]), to(paths=["/admin/*", "//admin/*"])))
    # Of `\\` nothing is said, so that is not allowed.
    assert is_allowed(both, request(target)) is ("%5c" not in target)


@pytest.mark.parametrize(
    "target",
    [
        *HOSTILE,
        "/public/../admin/x",
        "/public/%2e%2e/admin/x",
        "/public/..%2fadmin/x",
        "/public%5c..%5cadmin/x",
        "//admin/x",
        "/%2fadmin/x",
        "/./admin/x",
        "/admin%2fx",
        "/admin/x#/public",
        "/%61%64min/x",
    ],
)
def test_a_deny_holds_for_everything_that_a_path_may_mean(target):
    """Whichever parser the app has, the rule is met."""
    mesh = TestMesh(policy(DENY, to(paths=["/admin/*"])))
    assert not is_allowed(mesh, request(target))
    assert is_allowed(mesh, request("/public/x"))


@pytest.mark.parametrize("mode", ["NONE", "BASE", "DEFAULT", "MERGE_SLASHES", None])
@pytest.mark.parametrize(
    "target",
    ["//admin", "///admin", "/%2fadmin", "/%2F/admin", "/\\admin", "/.//admin", "/..//admin",
     "http://app//admin", "//admin/x", "/%5cadmin"],
)  # fmt: skip
def test_a_deny_holds_behind_any_slashes_whatever_mode_was_chosen(mode, target):
    """Flask runs `/admin` for `//admin`; a mode that tells them apart must not open the door."""
    chosen = [] if mode is None else [mesh_config(pathNormalization={"normalization": mode})]
    mesh = TestMesh([policy(DENY, to(paths=["/admin*"])), *chosen])
    assert not is_allowed(mesh, request(target))
    assert is_allowed(mesh, request("//public"))


def test_an_allow_tells_slashes_apart_where_the_mode_does():
    """As behind Istio: whoever chose BASE may allow `//x` and not `/x`."""
    base = mesh_config(pathNormalization={"normalization": "BASE"})
    mesh = TestMesh([policy(ALLOW, to(paths=["//x"])), base])
    assert is_allowed(mesh, request("//x"))
    assert not is_allowed(mesh, request("/x"))


def test_a_deny_also_looks_behind_a_prefix():
    """A mounted app knows the rest only, and so may whoever wrote the rule."""
    mesh = TestMesh(policy(DENY, to(paths=["/admin"])))
    assert not is_allowed(mesh, request("/api/admin", partial_paths=("/admin",)))
    allowing = TestMesh(policy(ALLOW, to(paths=["/admin"])))
    assert not is_allowed(allowing, request("/api/admin", partial_paths=("/admin",)))


# --- what applies to whom -------------------------------------------------------------------------

WEB = """
apiVersion: networking.istio.io/v1
kind: WorkloadGroup
metadata: {name: web, namespace: shop}
spec:
  metadata: {labels: {app: web, tier: front}}
  template: {}
"""


@pytest.mark.parametrize(
    ("namespace", "labels", "applies"),
    cases(
        ("its namespace", "shop", None, True),
        ("its namespace and label", "shop", {"app": "web"}, True),
        ("all labels of a selector", "shop", {"app": "web", "tier": "front"}, True),
        ("one label does not fit", "shop", {"app": "web", "tier": "back"}, False),
        ("another workload", "shop", {"app": "db"}, False),
        ("another namespace", "bank", None, False),
        ("another namespace, its label", "bank", {"app": "web"}, False),
        ("the root namespace", "istio-system", None, True),
        ("the root namespace and its label", "istio-system", {"app": "web"}, True),
        ("the root namespace, another label", "istio-system", {"app": "db"}, False),
    ),
)
def test_a_policy_applies_by_namespace_and_selector(namespace, labels, applies):
    """Root namespace: the whole mesh; another: its own workloads; within: those selected."""
    denying = policy(DENY, {}, namespace=namespace, labels=labels)
    mesh = TestMesh([WEB, denying], "shop/web")
    assert is_allowed(mesh, request()) is not applies


def test_a_refusal_names_policy_and_rule():
    """For the log; the caller is told nothing."""
    mesh = TestMesh(policy(DENY, to(paths=["/a"]), to(paths=["/b"]), name="doors"))
    denial = mesh.gate.admit(request("/b"))
    assert isinstance(denial, Denial)
    assert (denial.policy, denial.rule) == ("default/doors", 1)
    assert denial.reason == ("rbac_access_denied_matched_policy[ns[default]-policy[doors]-rule[1]]")
    assert "doors" not in denial.body + str(denial.headers)


def test_what_no_rule_allows_is_refused_by_none():
    """As Envoy's details have it."""
    denial = TestMesh(policy(ALLOW)).gate.admit(request())
    assert isinstance(denial, Denial)
    assert (denial.policy, denial.rule) == (None, None)
    assert denial.reason == "rbac_access_denied_matched_policy[none]"


def test_an_admission_names_the_rule_that_allowed():
    """For `explain`."""
    admission = TestMesh(policy(ALLOW, to(paths=["/b"]), to(paths=["/a"]))).gate.admit(
        request("/a")
    )
    assert isinstance(admission, Admission)
    assert (admission.policy, admission.rule) == ("default/allow", 1)


def test_the_first_rule_that_denies_is_named_however_rules_are_found():
    """Rules are found by path, by host or one by one; their order is that of the policies."""
    rules = [to(paths=["/a"]), to(hosts=["app"]), to(methods=["GET"])]
    for order in ([0, 1, 2], [2, 1, 0], [1, 2, 0]):
        mesh = TestMesh(policy(DENY, *(rules[position] for position in order)))
        denial = mesh.gate.admit(request("/a"))
        assert isinstance(denial, Denial)
        assert denial.rule == 0


def test_ten_thousand_rules_decide_as_a_few_do():
    """Whatever a rule is found by."""
    many = [to(paths=[f"/p{number}/*"], methods=["GET"]) for number in range(5000)]
    many += [to(hosts=[f"h{number}.com"], notPaths=["/x"]) for number in range(5000)]
    mesh = TestMesh(policy(ALLOW, *many))
    assert is_allowed(mesh, request("/p4321/x"))
    assert is_allowed(mesh, request("/any", host="h4321.com"))
    assert not is_allowed(mesh, request("/p4321/x", method="PUT"))
    assert not is_allowed(mesh, request("/x", host="h4321.com"))
    assert not is_allowed(mesh, request("/p5000/x"))
