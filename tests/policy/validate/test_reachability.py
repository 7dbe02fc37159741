"""Which routes and match blocks no call reaches, since an earlier one takes all of it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from policy_check import problems, routes, service, to

from meshware.call import RequestHead
from meshware.policy.parse import parse_text
from meshware.policy.request_match import request_matcher
from meshware.policy.validate.common import Report
from meshware.policy.validate.reachability import check_reachability

WORLD = service()
ROUTE, MATCH = "IST0130", "IST0131"


def found(*http, **more):
    """Return code and field of what is told of routes with these matches (None: no match)."""
    rules = [to() if match is None else {"match": match, **to()} for match in http]
    told = problems(WORLD, routes(*rules, **more))
    return [(p.code, p.field) for p in told if p.code in (ROUTE, MATCH)]


def uri(kind, value, **more):
    """Return a match block for a path."""
    return {"uri": {kind: value}, **more}


@pytest.mark.parametrize(
    "http",
    [
        ([uri("prefix", "/a/b")], [uri("prefix", "/a")], None),
        ([uri("exact", "/a")], [uri("prefix", "/a")]),
        ([uri("exact", "/a")], [uri("exact", "/a/")]),
        ([uri("prefix", "/a", method={"exact": "GET"})], [uri("prefix", "/a")]),
        ([{"headers": {"x": {"exact": "a"}}}], [{"headers": {"x": {"exact": "b"}}}], None),
        ([{"headers": {"x": {"exact": "a"}}}], [{"headers": {"x": {}}}]),
        ([{"headers": {"x": {}}}], [{"withoutHeaders": {"x": {}}}]),
        ([{"port": 9080}], None),
        ([{"sourceLabels": {"app": "a", "v": "1"}}], [{"sourceLabels": {"app": "a"}}]),
        ([uri("regex", "/a.*")], [uri("prefix", "/a/")]),
        ([uri("prefix", "/A")], [uri("prefix", "/a")]),
        ([uri("prefix", "/A")], [uri("prefix", "/a", ignoreUriCase=True)]),
        ([{"queryParams": {"q": {"exact": "a"}}}], [{"queryParams": {"p": {"exact": "a"}}}]),
    ],
    ids=str,
)
def test_routes_that_get_calls_are_left_in_peace(http):
    """A later block that takes more than each earlier one still has something to take."""
    assert found(*http) == []


@pytest.mark.parametrize(
    ("http", "expected"),
    [
        ((None, None), [(ROUTE, "spec.http[1]")]),
        ((None, [uri("prefix", "/a")]), [(ROUTE, "spec.http[1]")]),
        (([uri("prefix", "/")], [uri("exact", "/a")]), [(ROUTE, "spec.http[1]")]),
        (([uri("regex", ".*")], None), [(ROUTE, "spec.http[1]")]),
        (([uri("prefix", "/a")], [uri("prefix", "/a")]), [(ROUTE, "spec.http[1]")]),
        (([uri("prefix", "/a")], [uri("prefix", "/a/b")]), [(ROUTE, "spec.http[1]")]),
        (([uri("prefix", "/a")], [uri("exact", "/ab")]), [(ROUTE, "spec.http[1]")]),
        (([uri("exact", "/a")], [uri("exact", "/a", port=9080)]), [(ROUTE, "spec.http[1]")]),
        (([uri("regex", "/a+")], [uri("regex", "/a+")]), [(ROUTE, "spec.http[1]")]),
        (
            ([uri("prefix", "/a", ignoreUriCase=True)], [uri("prefix", "/A/b")]),
            [(ROUTE, "spec.http[1]")],
        ),
        (
            ([{"headers": {"X": {}}}], [{"headers": {"x": {"exact": "a"}, "y": {}}}]),
            [(ROUTE, "spec.http[1]")],
        ),
        (
            ([{"sourceLabels": {"app": "a"}}], [{"sourceLabels": {"app": "a", "v": "1"}}]),
            [(ROUTE, "spec.http[1]")],
        ),
        (
            ([uri("prefix", "/a")], [uri("prefix", "/a/b"), uri("prefix", "/c")]),
            [(MATCH, "spec.http[1].match[0]")],
        ),
        (([uri("prefix", "/a"), uri("exact", "/a")],), [(MATCH, "spec.http[0].match[1]")]),
        (
            (
                [uri("prefix", "/a")],
                [uri("prefix", "/b")],
                [uri("exact", "/a"), uri("exact", "/b")],
            ),
            [(ROUTE, "spec.http[2]")],
        ),
        ((None, None, None), [(ROUTE, "spec.http[1]"), (ROUTE, "spec.http[2]")]),
    ],
    ids=str,
)
def test_what_is_never_reached_is_told(http, expected):
    """Istio's analyser: such a route most likely stands in the wrong place."""
    assert found(*http) == expected


def test_the_message_names_what_takes_the_calls():
    """So that nobody has to search for it."""
    told = problems(WORLD, routes({"match": [uri("prefix", "/a")], **to()}, to(), to()))
    assert [(p.field, p.message) for p in told] == [
        (
            "spec.http[2]",
            "no call comes to this route: http[1] takes all of them before it; put it before that "
            "one, or remove it",
        )
    ]


def test_blocks_for_gateways_take_nothing_here():
    """A block whose own gateways leave mesh out is for nobody here."""
    assert found([{"gateways": ["shop/front"]}], [uri("prefix", "/a")], None) == []


MATCHES = st.fixed_dictionaries(
    {},
    optional={
        "uri": st.one_of(
            st.fixed_dictionaries({"exact": st.sampled_from(["/", "/a", "/A", "/a/b"])}),
            st.fixed_dictionaries({"prefix": st.sampled_from(["/", "/a", "/A", "/a/", ""])}),
            st.fixed_dictionaries({"regex": st.sampled_from(["/a", "/a.*", ".*"])}),
        ),
        "ignoreUriCase": st.booleans(),
        "method": st.fixed_dictionaries({"exact": st.sampled_from(["GET", "PUT"])}),
        "headers": st.dictionaries(
            st.sampled_from(["x", "X", "y"]),
            st.sampled_from([{}, {"exact": "1"}, {"prefix": "1"}, {"exact": "12"}]),
            max_size=2,
        ),
        "withoutHeaders": st.dictionaries(
            st.just("x"), st.sampled_from([{}, {"exact": "1"}]), max_size=1
        ),
        "queryParams": st.dictionaries(
            st.just("q"), st.sampled_from([{}, {"exact": "1"}]), max_size=1
        ),
    },
)
REQUESTS = [
    RequestHead(
        method=method,
        scheme="http",
        host="reviews",
        port=9080,
        authority="reviews",
        target=path + query,
        headers=lambda name, headers=headers: headers.get(name, ()),
        replayable=True,
        wait_s=None,
        call=None,
    )
    for method in ("GET", "PUT")
    for path in ("/", "/a", "/A", "/a/b", "/A/B", "/ab", "/c")
    for query in ("", "?q=1", "?q=2")
    for headers in ({}, {"x": ["1"]}, {"x": ["12"], "y": ["1"]}, {"y": ["2"]})
]


@given(st.lists(st.lists(MATCHES, min_size=1, max_size=2), min_size=2, max_size=4))
def test_no_call_is_taken_by_what_is_told_to_be_unreachable(http):
    """What is told is certain: no request of many is first taken by a block that was told of."""
    text = routes(*({"match": match, **to()} for match in http))
    [resource], wrong = parse_text(text, "mesh.yaml")
    assert wrong == []
    report = Report()
    check_reachability(resource, resource.spec, report)
    told = {problem.field for problem in report.problems}
    blocks = [
        (f"spec.http[{index}]", f"spec.http[{index}].match[{at}]", request_matcher(block))
        for index, route in enumerate(resource.spec.http)
        for at, block in enumerate(route.match)
    ]
    for head in REQUESTS:
        for route, block, accepts in blocks:
            if accepts is None or accepts(head):
                assert route not in told, (route, head.target)
                assert block not in told, (block, head.target)
                break
