"""AuthorizationPolicies: every value that could harm, with its field; what passes compiles."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshware.policy.document.authorization_policy import AuthorizationPolicySpec
from meshware.policy.inbound_rules import NamedPolicy, compile_inbound
from meshware.policy.parse import parse_mapping
from meshware.policy.problems import Severity
from meshware.policy.validate.authorization_policy import check_authorization_policy
from meshware.policy.validate.common import Report


def policy(spec, annotations=None):
    """Return an AuthorizationPolicy, and what parsing finds wrong with it."""
    resources, problems = parse_mapping(
        {
            "apiVersion": "security.istio.io/v1",
            "kind": "AuthorizationPolicy",
            "metadata": {"name": "rules", "annotations": annotations or {}},
            "spec": spec,
        },
        "mesh.yaml",
    )
    return resources, problems


def found(spec, annotations=None):
    """Return the problems of a policy that parses."""
    [resource], problems = policy(spec, annotations)
    assert problems == []
    report = Report()
    check_authorization_policy(resource, report)
    return report.problems


def only(spec, annotations=None):
    """Return the one problem of a policy."""
    [problem] = found(spec, annotations)
    return problem


def operation(**fields):
    """Return a policy of one operation."""
    return {"rules": [{"to": [{"operation": fields}]}]}


def source(**fields):
    """Return a policy of one source."""
    return {"rules": [{"from": [{"source": fields}]}]}


def when(key, **fields):
    """Return a policy of one condition."""
    return {"rules": [{"when": [{"key": key, **fields}]}]}


@pytest.mark.parametrize(
    "spec",
    [
        {},
        {"rules": []},
        {"action": "ALLOW"},
        {"rules": [{}]},
        {"action": "DENY", "rules": [{}]},
        {"selector": {"matchLabels": {"app": "shop"}}, "rules": [{}]},
        source(ipBlocks=["10.0.0.1", "10.0.0.0/8", "::1", "2001:db8::/32", "0.0.0.0/0"]),
        source(ipBlocks=["10.1.2.3/8"], notIpBlocks=["10.1.2.3"]),
        operation(ports=["1", "8080", "65535"], notPorts=["80"]),
        operation(methods=["GET", "*", "P*", "*T", "M-SEARCH"], notMethods=["DELETE"]),
        operation(hosts=["a.b", "*.a.b", "a.*", "*", "A.B:8080", "a.b:*", "[::1]:80", "a_b"]),
        operation(notHosts=["localhost"]),
        operation(paths=["/", "/a", "/a*", "*/b", "*", "*.png", "/a%20b", "/a;b=c"]),
        operation(paths=["/{*}", "/a/{*}/b", "/a/{**}", "/{**}/b/c", "/{*}/a/{**}"]),
        operation(notPaths=["/healthz"], paths=["/*"]),
        when("request.headers[x-user]", values=["a", "b*", "*c", "*"], notValues=["d"]),
        when("request.headers[X_User]", notValues=["*"]),
        when("source.ip", values=["10.0.0.0/8"]),
        when("destination.ip", notValues=["::1"]),
        when("destination.port", values=["80"], notValues=["81"]),
        source(remoteIpBlocks=["10.0.0.0/8"], notRemoteIpBlocks=["::1"]),
        source(requestPrincipals=["https://issuer/sub", "issuer/*", "*/sub", "*", "*ub", "iss*"]),
        source(notRequestPrincipals=["*"]),
        when("remote.ip", values=["10.0.0.0/8"], notValues=["10.0.0.1"]),
        when("request.auth.principal", values=["issuer/sub"], notValues=["*/root"]),
        when("request.auth.audiences", values=["shop", "shop-*"]),
        when("request.auth.presenter", notValues=["*"]),
        when("request.auth.claims[groups]", values=["admin", "team-*", "*-lead", "*"]),
        when("request.auth.claims[realm_access][roles]", notValues=["guest"]),
        when("request.auth.claims[a.b/c]", values=["x"]),
        {"action": "AUDIT", "rules": [{}]},
    ],
    ids=str,
)
def test_a_good_policy_has_no_problem(spec):
    """What Istio takes and the mesh carries out passes without a word."""
    assert found(spec) == []


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        ({"action": "DENY"}, "spec.rules"),
        ({"action": "DENY", "rules": []}, "spec.rules"),
        ({"rules": [{}, {"from": []}]}, "spec.rules[1].from"),
        ({"rules": [{"to": []}]}, "spec.rules[0].to"),
        ({"rules": [{"when": []}]}, "spec.rules[0].when"),
        ({"rules": [{"from": [{}]}]}, "spec.rules[0].from[0].source"),
        ({"rules": [{"to": [{}]}]}, "spec.rules[0].to[0].operation"),
        (source(), "spec.rules[0].from[0].source"),
        (operation(), "spec.rules[0].to[0].operation"),
        (source(ipBlocks=[]), "spec.rules[0].from[0].source.ipBlocks"),
        (source(notIpBlocks=[""]), "spec.rules[0].from[0].source.notIpBlocks[0]"),
        (source(ipBlocks=["10.0.0.1", "10.0.0"]), "spec.rules[0].from[0].source.ipBlocks[1]"),
        (source(ipBlocks=["10.0.0.0/33"]), "spec.rules[0].from[0].source.ipBlocks[0]"),
        (source(ipBlocks=["10.0.0.0/08"]), "spec.rules[0].from[0].source.ipBlocks[0]"),
        (source(ipBlocks=["10.0.0.0/255.0.0.0"]), "spec.rules[0].from[0].source.ipBlocks[0]"),
        (source(ipBlocks=["010.0.0.1"]), "spec.rules[0].from[0].source.ipBlocks[0]"),
        (source(ipBlocks=["fe80::1%eth0"]), "spec.rules[0].from[0].source.ipBlocks[0]"),
        (source(ipBlocks=["*"]), "spec.rules[0].from[0].source.ipBlocks[0]"),
        (source(ipBlocks=["١٠.0.0.1"]), "spec.rules[0].from[0].source.ipBlocks[0]"),  # noqa: RUF001
        (operation(ports=[]), "spec.rules[0].to[0].operation.ports"),
        (operation(ports=["0"]), "spec.rules[0].to[0].operation.ports[0]"),
        (operation(ports=["65536"]), "spec.rules[0].to[0].operation.ports[0]"),
        (operation(ports=["http"]), "spec.rules[0].to[0].operation.ports[0]"),
        (operation(ports=["80*"]), "spec.rules[0].to[0].operation.ports[0]"),
        (operation(notPorts=["٨٠"]), "spec.rules[0].to[0].operation.notPorts[0]"),  # noqa: RUF001
        (operation(methods=[""]), "spec.rules[0].to[0].operation.methods[0]"),
        (operation(methods=["GET "]), "spec.rules[0].to[0].operation.methods[0]"),
        (operation(notMethods=["GET,PUT"]), "spec.rules[0].to[0].operation.notMethods[0]"),
        (operation(hosts=["a*b"]), "spec.rules[0].to[0].operation.hosts[0]"),
        (operation(hosts=["*.a.*"]), "spec.rules[0].to[0].operation.hosts[0]"),
        (operation(hosts=["https://a.b"]), "spec.rules[0].to[0].operation.hosts[0]"),
        (operation(notHosts=["a b"]), "spec.rules[0].to[0].operation.notHosts[0]"),
        (operation(notHosts=[]), "spec.rules[0].to[0].operation.notHosts"),
        (operation(paths=["/a/{*}.txt"]), "spec.rules[0].to[0].operation.paths[0]"),
        (operation(paths=["/a", "/{**}/{*}"]), "spec.rules[0].to[0].operation.paths[1]"),
        (operation(paths=["/{**}/{**}"]), "spec.rules[0].to[0].operation.paths[0]"),
        (operation(paths=["/{*}/*"]), "spec.rules[0].to[0].operation.paths[0]"),
        (operation(paths=["/{*}/{id}"]), "spec.rules[0].to[0].operation.paths[0]"),
        (operation(paths=["a/{*}"]), "spec.rules[0].to[0].operation.paths[0]"),
        (operation(paths=["/a b/{*}"]), "spec.rules[0].to[0].operation.paths[0]"),
        (operation(notPaths=["/é/{*}"]), "spec.rules[0].to[0].operation.notPaths[0]"),
        (when("source.ip"), "spec.rules[0].when[0]"),
        (when("source.ip", values=[]), "spec.rules[0].when[0].values"),
        (when("source.ip", values=["x"]), "spec.rules[0].when[0].values[0]"),
        (when("destination.port", notValues=["x"]), "spec.rules[0].when[0].notValues[0]"),
        (when("request.headers[a]", values=["b", ""]), "spec.rules[0].when[0].values[1]"),
        (when("request.headers[]", values=["a"]), "spec.rules[0].when[0].key"),
        (when("request.headers[a b]", values=["a"]), "spec.rules[0].when[0].key"),
        (when("request.headers", values=["a"]), "spec.rules[0].when[0].key"),
        (when("request.header[a]", values=["a"]), "spec.rules[0].when[0].key"),
        (when("", values=["a"]), "spec.rules[0].when[0].key"),
        (when("source.pi", values=["a"]), "spec.rules[0].when[0].key"),
        (when("destination.namespace", values=["a"]), "spec.rules[0].when[0].key"),
        (when("destination.labels[app]", values=["a"]), "spec.rules[0].when[0].key"),
        (when("request.auth.claims", values=["a"]), "spec.rules[0].when[0].key"),
        (when("request.auth.claims[]", values=["a"]), "spec.rules[0].when[0].key"),
        (when("request.auth.claims[a][]", values=["a"]), "spec.rules[0].when[0].key"),
        (when("request.auth.claims[a]b", values=["a"]), "spec.rules[0].when[0].key"),
        (when("request.auth.claims[a[b]]", values=["a"]), "spec.rules[0].when[0].key"),
        (when("request.auth.claims.a", values=["a"]), "spec.rules[0].when[0].key"),
        (when("request.auth.claims[a]", values=[""]), "spec.rules[0].when[0].values[0]"),
        (when("request.auth.principals", values=["a"]), "spec.rules[0].when[0].key"),
        (when("remote.ip", values=["ten"]), "spec.rules[0].when[0].values[0]"),
        (when("remote.ip", notValues=["*"]), "spec.rules[0].when[0].notValues[0]"),
        (source(remoteIpBlocks=["x"]), "spec.rules[0].from[0].source.remoteIpBlocks[0]"),
        (source(notRemoteIpBlocks=[]), "spec.rules[0].from[0].source.notRemoteIpBlocks"),
        (source(requestPrincipals=[""]), "spec.rules[0].from[0].source.requestPrincipals[0]"),
        (source(notRequestPrincipals=[]), "spec.rules[0].from[0].source.notRequestPrincipals"),
        ({"action": "AUDIT"}, "spec.rules"),
    ],
    ids=str,
)
def test_what_is_no_value_of_its_field_is_an_error_there(spec, field):
    """The field is named to the item, and an empty list or text is never guessed at."""
    problem = only(spec)
    assert (problem.severity, problem.code, problem.field) == (Severity.ERROR, "IST0106", field)


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        (when("source.pi", values=["a"]), "did you mean 'source.ip'"),
        (when("request.header[a]", values=["a"]), "did you mean 'request.headers[NAME]'"),
        (when("zzz", values=["a"]), "write one of destination.ip, remote.ip, source.ip"),
        (operation(paths=["/{*}.txt"]), "mixes an operator with other text"),
        (operation(ports=["0"]), "ports[0] is '0'; write a port from 1 to 65535"),
        (source(ipBlocks=["ten"]), "such as 10.0.0.0/8"),
        ({"action": "DENY"}, "write `rules: [{}]` for every request"),
    ],
    ids=str,
)
def test_an_error_says_what_to_write_instead(spec, words):
    """The remedy is in the message."""
    assert words in only(spec).message


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        (operation(methods=["get"]), "write GET"),
        (operation(methods=["G*T"]), "first or last"),
        (operation(paths=["admin"]), "begins with a slash"),
        (operation(paths=["/a/*/b"]), "write {*} for a segment"),
        (operation(paths=["*a*"]), "first or last"),
        (operation(paths=["/users/{id}"]), "write {*} for a segment"),
        (operation(paths=["/a?b=c"]), "without query"),
        (operation(paths=["/a#b"]), "without query and fragment"),
        (operation(notPaths=["/é"]), "percent-encoded"),
        (operation(paths=["/my reports"]), "write %20 for ' '"),
        (operation(paths=["/admin "]), "write %20 for ' '"),
        (operation(paths=["/%61dmin"]), "%61 is decoded before paths are compared"),
        (operation(paths=["/%61dmin/{*}"]), "%61 is decoded before paths are compared"),
        (operation(paths=["/e%2ff*"]), "%2f is decoded to a slash"),
        (when("request.headers[a]", values=["a*b"]), "first or last"),
        (when("request.auth.claims[a]", values=["a*b"]), "first or last"),
        (when("request.auth.audiences", values=["a*b"]), "first or last"),
        (when("request.auth.principal", values=["sub"]), "ISSUER/SUBJECT"),
        (source(requestPrincipals=["sub"]), "ISSUER/SUBJECT"),
        (source(requestPrincipals=["*/*"]), "plain characters"),
        (source(requestPrincipals=["a*/sub"]), "plain characters"),
        (source(notRequestPrincipals=["*a/b*"]), "plain characters"),
    ],
    ids=str,
)
def test_a_value_that_matches_nothing_is_doubted(spec, words):
    """Istio takes it as it stands, and its author surely meant something else."""
    problem = only(spec)
    assert problem.severity is Severity.WARNING
    assert words in problem.message


def test_a_pseudo_header_is_not_applicable():
    """HTTP/1.1 has none, and there are fields for what they say."""
    problem = only(when("request.headers[:path]", values=["/a"]))
    assert (problem.severity, problem.code) == (Severity.ERROR, "not-applicable")
    assert "operation.methods, hosts or paths" in problem.message


def test_a_key_of_envoy_is_not_applicable():
    """There will never be Envoy's filters here."""
    problem = only(when("experimental.envoy.filters.network.mysql_proxy[db]", values=["[a]"]))
    assert (problem.severity, problem.code) == (Severity.ERROR, "not-applicable")


@pytest.mark.parametrize("value", ["maybe", "", "yes", "TRue", " true", "on"])
def test_a_dry_run_that_is_neither_on_nor_off_is_an_error(value):
    """Whoever wrote it may count on a policy that only watches."""
    problem = only({"rules": [{}]}, {"istio.io/dry-run": value})
    assert (problem.severity, problem.code) == (Severity.ERROR, "IST0106")
    assert problem.field == "metadata.annotations[istio.io/dry-run]"


@pytest.mark.parametrize("value", ["true", "True", "1", "false", "F", "0"])
@pytest.mark.parametrize("action", ["ALLOW", "DENY"])
def test_a_dry_run_is_written_as_istio_reads_it(action, value):
    """As Go does."""
    assert found({"action": action, "rules": [{}]}, {"istio.io/dry-run": value}) == []


@pytest.mark.parametrize("name", ["istio.io/dryrun", "istio.io/dry_run", "istio.io/Dry-Run"])
def test_a_misspelt_dry_run_is_an_error(name):
    """The policy would be enforced."""
    problem = only({"rules": [{}]}, {name: "true"})
    assert "istio.io/dry-run" in problem.message


def test_what_decides_nothing_has_no_dry_run():
    """AUDIT is never enforced."""
    problem = only({"action": "AUDIT", "rules": [{}]}, {"istio.io/dry-run": "true"})
    assert problem.field == "metadata.annotations[istio.io/dry-run]"
    assert found({"action": "AUDIT", "rules": [{}]}, {"istio.io/dry-run": "false"}) == []


def test_all_errors_of_a_policy_are_told():
    """One run finds all."""
    spec = {
        "action": "DENY",
        "rules": [
            {"from": [], "to": [{"operation": {"ports": ["x"], "paths": ["y"]}}, {}]},
            {"when": [{"key": "nope", "values": [""]}, {"key": "source.ip"}]},
        ],
    }
    assert [problem.field for problem in found(spec)] == [
        "spec.rules[0].from",
        "spec.rules[0].to[0].operation.ports[0]",
        "spec.rules[0].to[0].operation.paths[0]",
        "spec.rules[0].to[1].operation",
        "spec.rules[1].when[0].key",
        "spec.rules[1].when[1]",
    ]


def test_a_problem_stands_on_the_line_of_its_value():
    """Editors jump there."""
    from meshware.policy.parse import parse_text

    [resource], _ = parse_text(
        "apiVersion: security.istio.io/v1\n"
        "kind: AuthorizationPolicy\n"
        "metadata: {name: rules, namespace: shop}\n"
        "spec:\n"
        "  rules:\n"
        "    - to:\n"
        "        - operation:\n"
        "            ports:\n"
        '              - "80"\n'
        '              - "eighty"\n',
        "mesh.yaml",
    )
    report = Report()
    check_authorization_policy(resource, report)
    [problem] = report.problems
    assert (problem.file, problem.line) == ("mesh.yaml", 10)
    assert (problem.kind, problem.namespace, problem.name) == (
        "AuthorizationPolicy",
        "shop",
        "rules",
    )


# --- what passes compiles ---------------------------------------------------------------------

ODD = st.one_of(
    st.text(max_size=6),
    st.text("*{}/.%:a0", max_size=10),
    st.sampled_from(
        ["", "*", "/", "80", "GET", "10.0.0.0/8", "::1", "/{*}", "/{**}/a", "{*}", "/a*", "a.b"]
    ),
)
LISTS = st.lists(ODD, max_size=3)


def some(names, values):
    """Return mappings with some of the names."""
    return st.fixed_dictionaries({}, optional=dict.fromkeys(names, values))


OPERATIONS = some(
    ["hosts", "notHosts", "ports", "notPorts", "methods", "notMethods", "paths", "notPaths"], LISTS
)
SOURCES = some(
    [
        "ipBlocks",
        "notIpBlocks",
        "remoteIpBlocks",
        "notRemoteIpBlocks",
        "requestPrincipals",
        "notRequestPrincipals",
        "principals",
        "namespaces",
    ],
    LISTS,
)
KEYS = st.one_of(
    ODD,
    st.sampled_from(["source.ip", "destination.ip", "destination.port", "request.headers[a]"]),
    ODD.map(lambda name: f"request.headers[{name}]"),
    ODD.map(lambda name: f"request.auth.claims[{name}]"),
    st.sampled_from(["remote.ip", "request.auth.principal", "request.auth.audiences"]),
)
CONDITIONS = st.fixed_dictionaries({"key": KEYS}, optional={"values": LISTS, "notValues": LISTS})
RULES = st.fixed_dictionaries(
    {},
    optional={
        "from": st.lists(some(["source"], SOURCES), max_size=2),
        "to": st.lists(some(["operation"], OPERATIONS), max_size=2),
        "when": st.lists(CONDITIONS, max_size=2),
    },
)
SPECS = st.fixed_dictionaries(
    {},
    optional={
        "action": st.sampled_from(["ALLOW", "DENY"]),
        "rules": st.lists(RULES, max_size=3),
    },
)


@pytest.mark.hypothesis
@given(SPECS)
def test_what_passes_compiles_and_what_does_not_compile_has_a_field(spec):
    """No worker ever meets a policy that it cannot compile, and every error is in its place."""
    resources, problems = policy(spec)
    if problems:
        return
    [resource] = resources
    report = Report()
    check_authorization_policy(resource, report)
    errors = [problem for problem in report.problems if problem.severity is Severity.ERROR]
    assert all(problem.field.startswith("spec.rules") for problem in errors)
    assert isinstance(resource.spec, AuthorizationPolicySpec)
    if not errors:
        compile_inbound([NamedPolicy(namespace="default", name="rules", spec=resource.spec)])
