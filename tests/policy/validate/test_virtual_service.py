"""VirtualServices by themselves: every rule with what breaks it and what keeps it."""

from __future__ import annotations

import pytest
from policy_check import brief, problems, resource, routes, service, subsets, to

from meshware.policy.problems import Severity

WORLD = service() + service("ratings") + subsets("v1", "v2")
TWO = [
    {"destination": {"host": "reviews", "subset": "v1"}, "weight": 80},
    {"destination": {"host": "reviews", "subset": "v2"}, "weight": 20},
]


def found(spec):
    """Return the problems of a VirtualService in a world that has what it refers to."""
    return problems(WORLD, resource("VirtualService", spec))


def of_route(**fields):
    """Return the problems of a VirtualService with one route."""
    return found({"hosts": ["reviews"], "http": [{**to(), **fields}]})


def of_match(*blocks):
    """Return the problems of a VirtualService with one route with match blocks and one without."""
    return found({"hosts": ["reviews"], "http": [{"match": list(blocks), **to()}, to()]})


@pytest.mark.parametrize(
    "spec",
    [
        {"hosts": ["reviews"], "http": [to()]},
        {"hosts": ["Reviews.default.svc.cluster.local"], "http": [to()]},
        {"hosts": ["reviews", "ratings"], "gateways": [], "http": [to()]},
        {"hosts": ["reviews"], "gateways": ["mesh", "shop/front", "front"], "http": [to()]},
        {"hosts": ["reviews"], "exportTo": ["*"], "http": [to()]},
        {"hosts": ["reviews"], "exportTo": [], "http": [to()]},
        {"hosts": ["reviews"], "exportTo": [".", "shop"], "http": [to()]},
        {"hosts": ["reviews"], "http": [{"route": TWO}]},
        {"hosts": ["reviews"], "http": [{"name": "a", "match": [{"port": 9080}], **to()}, to()]},
    ],
    ids=str,
)
def test_a_good_virtual_service_has_no_problem(spec):
    """What Istio takes and the mesh carries out passes without a word."""
    assert found(spec) == []


ONE = "spec.hosts[0]"


@pytest.mark.parametrize(
    ("hosts", "field", "message"),
    [
        ([""], ONE, "write a host such as reviews"),
        (["*"], ONE, "for gateways only"),
        (["reviews:9080"], ONE, "without its port: reviews"),
        (["http://reviews"], ONE, "without a scheme"),
        (["reviews/x"], ONE, "without a scheme or a path"),
        (["re_views"], ONE, "write hyphens"),
        (["reviews."], ONE, "without the last dot"),
        (["reviews.*"], ONE, "can only come first"),
        (["a.*.b"], ONE, "can only come first"),
        (["-a.b"], ONE, "a host such as reviews"),
        (["a..b"], ONE, "a host such as reviews"),
        (["a b"], ONE, "a host such as reviews"),
        (["10.0.0.256"], ONE, "a host such as reviews"),
        (["a" * 64], ONE, "a host such as reviews"),
        ([".".join(["abcdefgh"] * 29)], ONE, "a host such as reviews"),
        (["reviews", "reviews"], "spec.hosts[1]", "is there already, at spec.hosts[0]"),
        (["reviews", "REVIEWS.default.svc.cluster.local"], "spec.hosts[1]", "there already"),
        (["reviews", "*.svc.cluster.local"], ONE, "*.svc.cluster.local covers"),
        (["*.local", "*.svc.cluster.local"], "spec.hosts[1]", "*.local covers"),
        (["*-x.shop.test", "a-x.shop.test"], "spec.hosts[1]", "*-x.shop.test covers"),
    ],
    ids=str,
)
def test_hosts_are_there_and_are_hosts(hosts, field, message):
    """Istio, ValidateVirtualService: at least one, a pattern only at the front, none twice."""
    spec = {"http": [to()]} if hosts is None else {"hosts": hosts, "http": [to()]}
    errors = [p for p in found(spec) if p.severity is Severity.ERROR]
    assert [problem.field for problem in errors] == [field]
    assert message in errors[0].message


@pytest.mark.parametrize(
    ("host", "remedy"),
    [
        ("", "a host such as reviews"),
        ("*", "every host there is"),
        ("reviews:9080", "without its port"),
        ("https://reviews", "without a scheme"),
    ],
)
def test_a_destination_is_a_host_without_more(host, remedy):
    """Or a pattern that is a service's; never every host there is."""
    [problem] = found({"hosts": ["reviews"], "http": [to(host)]})
    assert brief([problem]) == [("error", "IST0106", "spec.http[0].route[0].destination.host")]
    assert remedy in problem.message


@pytest.mark.parametrize(
    ("gateways", "expected"),
    [
        (["shop/front"], [("info", "not-applicable", "spec.gateways")]),
        (["mesh", "shop/"], [("error", "IST0106", "spec.gateways[1]")]),
        (["mesh", "a b"], [("error", "IST0106", "spec.gateways[1]")]),
        (["mesh", "a/b/c"], [("error", "IST0106", "spec.gateways[1]")]),
    ],
    ids=str,
)
def test_gateways_are_names_and_mesh_is_one_of_them(gateways, expected):
    """Without `mesh` the resource is for gateways, which are not here."""
    assert brief(found({"hosts": ["reviews"], "gateways": gateways, "http": [to()]})) == expected


def test_what_is_for_gateways_only_refers_to_what_it_likes():
    """Hosts that are not here are no error in a VirtualService that nobody here reads."""
    spec = {"hosts": ["*"], "gateways": ["shop/front"], "http": [to("elsewhere", subset="v9")]}
    assert brief(found(spec)) == [("info", "not-applicable", "spec.gateways")]


@pytest.mark.parametrize(
    ("export", "field", "message"),
    [
        (["~"], "spec.exportTo[0]", "hide this VirtualService from everybody"),
        (["Shop!"], "spec.exportTo[0]", "write `.`, `*` or a namespace"),
        ([""], "spec.exportTo[0]", "write `.`, `*` or a namespace"),
        (["shop", "shop"], "spec.exportTo[1]", "twice"),
        ([".", "default"], "spec.exportTo[1]", "twice"),
        (["*", "shop"], "spec.exportTo", "stand alone"),
    ],
    ids=str,
)
def test_export_to_names_namespaces(export, field, message):
    """Istio: `~` is for services only, `*` stands alone, none is there twice."""
    [problem] = found({"hosts": ["reviews"], "exportTo": export, "http": [to()]})
    assert (problem.severity, problem.field) == (Severity.ERROR, field)
    assert message in problem.message


@pytest.mark.parametrize(
    ("http", "field", "message"),
    [
        (None, "spec.http", "add one"),
        ([], "spec.http", "add one"),
        ([{}], "spec.http[0].route", "route has no destination"),
        ([{"route": []}], "spec.http[0].route", "route has no destination"),
        ([to(port={})], "spec.http[0].route[0].destination.port", "port has no number"),
    ],
    ids=str,
)
def test_routes_lead_somewhere(http, field, message):
    """A rule without a destination would answer nothing at all."""
    spec = {"hosts": ["reviews"]} if http is None else {"hosts": ["reviews"], "http": http}
    [problem] = found(spec)
    assert brief([problem]) == [("error", "IST0106", field)]
    assert message in problem.message


def weighted(*weights):
    """Return a route whose destinations have these weights."""
    hosts = [
        {"host": "reviews", "subset": "v1"},
        {"host": "reviews", "subset": "v2"},
        {"host": "ratings"},
    ]
    return [
        {"destination": host} if weight is None else {"destination": host, "weight": weight}
        for host, weight in zip(hosts, weights, strict=False)
    ]


@pytest.mark.parametrize(
    ("weights", "expected"),
    [
        ((None,), []),
        ((1,), []),
        ((100,), []),
        ((80, 20), []),
        ((1, 2), []),
        ((100, 0), []),
        ((0,), [("warning", "IST0133", "spec.http[0].route[0].weight")]),
        ((-1,), [("error", "IST0106", "spec.http[0].route[0].weight")]),
        ((101, -1), [("error", "IST0106", "spec.http[0].route[1].weight")]),
        ((0, 0), [("error", "IST0106", "spec.http[0].route")]),
        ((None, None), [("error", "IST0106", "spec.http[0].route")]),
        ((None, 100), [("warning", "IST0133", "spec.http[0].route[0]")]),
        ((80, 10), [("info", "IST0133", "spec.http[0].route")]),
        ((80, 20, 10), [("info", "IST0133", "spec.http[0].route")]),
    ],
    ids=str,
)
def test_weights_are_shares_that_add_up_to_something(weights, expected):
    """Istio: a share is weight over sum; a sum of 0 over several destinations is an error."""
    assert brief(of_route(route=weighted(*weights))) == expected


def test_a_destination_that_is_there_twice_is_told():
    """Its weights are two shares of one destination, most likely a copy that was not changed."""
    twice = [{"destination": {"host": "reviews"}, "weight": 50}] * 2
    assert brief(of_route(route=twice)) == [
        ("warning", "duplicate", "spec.http[0].route[1].destination")
    ]


@pytest.mark.parametrize(
    ("subset", "is_good"), [("v1", True), ("v 1", False), ("v_1", False), ("", False)]
)
def test_a_subset_is_a_dns_label(subset, is_good):
    """Istio, validateSubsetName."""
    fields = [p.field for p in of_route(**to(subset=subset)) if p.code == "IST0106"]
    assert fields == ([] if is_good else ["spec.http[0].route[0].destination.subset"])


@pytest.mark.parametrize(
    ("timeout", "is_good"),
    [("1ms", True), ("10s", True), ("0s", True), ("0.5ms", False), ("1us", False)],
)
def test_a_timeout_is_a_millisecond_at_least_or_none(timeout, is_good):
    """0s is no limit, as in Envoy; less than 1ms is no time-out that anybody means."""
    expected = [] if is_good else [("error", "IST0106", "spec.http[0].timeout")]
    assert brief(of_route(timeout=timeout)) == expected


def test_two_routes_of_one_name_are_told():
    """Their names are what logs and `response.meshware.route` tell them apart by."""
    http = [{"name": "a", "match": [{"port": 9080}], **to()}, {"name": "a", **to()}]
    assert brief(found({"hosts": ["reviews"], "http": http})) == [
        ("warning", "duplicate", "spec.http[1].name")
    ]


@pytest.mark.parametrize(
    "block",
    [
        {"uri": {"prefix": "/"}, "port": 9080},
        {"uri": {"prefix": ""}, "port": 9080},
        {"uri": {"exact": "*"}, "method": {"exact": "OPTIONS"}},
        {"uri": {"exact": "/A"}, "ignoreUriCase": True},
        {"uri": {"regex": "/(a|b)[0-9]{1,3}"}},
        {"scheme": {"exact": "http"}, "authority": {"prefix": "reviews"}},
        {"headers": {"X-User": {"exact": "jason"}, "x-b": {}, "x-c": {"regex": "*"}}},
        {"withoutHeaders": {"x-user": {"exact": ""}, "x-b": {}}},
        {"queryParams": {"page": {"exact": ""}, "q": {}, "r": {"regex": "a.*"}}},
        {"sourceNamespace": "default", "port": 9080},
        {"headers": {"host": {"exact": "reviews"}}},
    ],
    ids=str,
)
def test_a_good_match_has_no_problem(block):
    """Presence is asked of headers and parameters by {}, and an exact value may be empty."""
    assert of_match(block) == []


@pytest.mark.parametrize(
    ("block", "code", "field", "message"),
    [
        ({"uri": {}}, "IST0106", "uri", "write exact, prefix or regex"),
        ({"method": {}}, "IST0106", "method", "write exact, prefix or regex"),
        ({"uri": {"exact": "/a", "prefix": "/b"}}, "IST0106", "uri", "both exact and prefix"),
        ({"headers": {"x": {"exact": "a", "regex": "b"}}}, "IST0106", "headers[x]", "both exact"),
        ({"uri": {"regex": "/(a"}}, "IST0122", "uri.regex", "cannot be used"),
        ({"uri": {"regex": "(?=/a)"}}, "IST0122", "uri.regex", "cannot be used"),
        ({"uri": {"regex": ""}}, "IST0122", "uri.regex", "is empty"),
        ({"uri": {"regex": "a" * 1025}}, "IST0122", "uri.regex", "cannot be used"),
        ({"authority": {"prefix": ""}}, "IST0106", "authority.prefix", "prefix is empty"),
        ({"headers": {"x": {"prefix": ""}}}, "IST0106", "headers[x].prefix", "prefix is empty"),
        ({"queryParams": {"q": {"regex": "["}}}, "IST0122", "queryParams[q].regex", "cannot be"),
        ({"withoutHeaders": {"x": {"regex": "("}}}, "IST0122", "withoutHeaders[x].regex", "cannot"),
        ({"headers": {"x y": {"exact": "a"}}}, "IST0106", "headers[x y]", "no name of a header"),
        ({"headers": {":method": {"exact": "GET"}}}, "IST0106", "headers[:method]", "`method`"),
        ({"headers": {":path": {"exact": "/"}}}, "IST0106", "headers[:path]", "`uri`"),
        ({"headers": {"uri": {"exact": "/"}}}, "IST0106", "headers[uri]", "`uri`"),
        (
            {"headers": {"@request.auth.claims.sub": {"exact": "a"}}},
            "not-applicable",
            "headers[@request.auth.claims.sub]",
            "gateways only",
        ),
        ({"sourceNamespace": "A B"}, "IST0106", "sourceNamespace", "write a namespace"),
        ({"gateways": ["mesh", "/"]}, "IST0106", "gateways[1]", "is no gateway"),
    ],
    ids=str,
)
def test_a_match_that_cannot_be_read_is_an_error(block, code, field, message):
    """Each alternative has exactly one kind of match, a name, and an expression that compiles."""
    errors = [p for p in of_match(block) if p.severity is Severity.ERROR]
    assert [(p.code, p.field) for p in errors] == [(code, f"spec.http[0].match[0].{field}")]
    assert message in errors[0].message


@pytest.mark.parametrize(
    ("block", "field", "message"),
    [
        ({"ignoreUriCase": True, "port": 9080}, ".ignoreUriCase", "changes nothing"),
        ({"ignoreUriCase": True, "uri": {"regex": "/a"}}, ".ignoreUriCase", "(?i)"),
        ({"uri": {"prefix": "reviews"}}, ".uri.prefix", "begin it with a slash"),
        ({"uri": {"exact": "/a?b=c"}}, ".uri.exact", "write queryParams"),
        ({"method": {"exact": "get"}}, ".method.exact", "write GET"),
        (
            {"gateways": ["mesh"], "sourceNamespace": "default", "port": 9080},
            ".sourceNamespace",
            "not looked at",
        ),
    ],
    ids=str,
)
def test_a_condition_that_does_nothing_is_told(block, field, message):
    """What Istio takes and does not look at, or what no call can meet, is a warning."""
    [problem] = of_match(block)
    assert brief([problem]) == [("warning", "IST0133", f"spec.http[0].match[0]{field}")]
    assert message in problem.message


@pytest.mark.parametrize(
    ("match", "field"), [([], "spec.http[0].match"), ([{}], "spec.http[0].match[0]")], ids=str
)
def test_a_match_of_nothing_takes_everything_and_is_told(match, field):
    """Istio reads an empty list and an empty block as no condition at all."""
    spec = {"hosts": ["reviews"], "http": [{"match": match, **to()}]}
    assert brief(found(spec)) == [("warning", "IST0133", field)]


def test_labels_of_callers_are_labels():
    """A wildcard in a selector selects nobody."""
    [problem] = [p for p in of_match({"sourceLabels": {"app": "*"}}) if p.severity == "error"]
    assert problem.field == "spec.http[0].match[0].sourceLabels[app]"


def test_every_problem_has_its_line():
    """All are told at once, each where it is written."""
    text = WORLD + routes(to()).replace("it", "good")
    text += """---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: broken}
spec:
  hosts:
    - ratings
    - "ratings:9080"
  http:
    - match:
        - uri:
            regex: "/("
      route:
        - destination:
            host: ratings
          weight: 90
        - destination: {host: reviews, subset: v1}
          weight: -5
      timeout: 0.1ms
      retries:
        attempts: 2
        retryOn: 5xx,5yy
"""
    first = text[: text.index("metadata: {name: broken}")].count("\n") + 2
    lines = {problem.field: problem.line - first for problem in problems(text)}
    assert lines == {
        "spec.hosts[1]": 3,
        "spec.http[0].match[0].uri.regex": 7,
        "spec.http[0].route[1].weight": 13,
        "spec.http[0].timeout": 14,
        "spec.http[0].retries.retryOn": 17,
    }
