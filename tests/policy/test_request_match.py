"""Match blocks: what takes a call, and the same conditions asked why they do not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshware.call import RequestHead
from meshware.policy.document.common import StringMatch
from meshware.policy.document.virtual_service import HTTPMatchRequest
from meshware.policy.request_match import conditions, refusal, request_matcher
from meshware.policy.view import Client


def head(target: str = "/a", method: str = "GET", **headers: list[str]) -> RequestHead:
    """A call of `orders`."""
    return RequestHead(
        method=method,
        scheme="http",
        host="orders",
        port=80,
        authority="orders",
        target=target,
        headers=lambda name: headers.get(name, []),
        replayable=True,
    )


@pytest.mark.parametrize(
    ("block", "call", "why"),
    [
        ({"uri": {"prefix": "/b"}}, head("/a?x"), 'path is "/a", wanted prefix "/b"'),
        (
            {"uri": {"exact": "/B"}, "ignore_uri_case": True},
            head("/a"),
            'path is "/a", wanted exact "/B" in any case',
        ),
        ({"method": {"exact": "PUT"}}, head(), 'method is "GET", wanted exact "PUT"'),
        ({"scheme": {"exact": "https"}}, head(), 'scheme is "http", wanted exact "https"'),
        ({"authority": {"prefix": "x"}}, head(), 'authority is "orders", wanted prefix "x"'),
        ({"headers": {"X": {}}}, head(), "header x is absent, wanted any value"),
        (
            {"headers": {"x": {"regex": "b.*"}}},
            head(x=["a", "c"]),
            'header x is "a", "c", wanted regex "b.*"',
        ),
        ({"without_headers": {"x": {}}}, head(x=["1"]), 'header x is "1", wanted none'),
        (
            {"without_headers": {"x": {"exact": "1"}}},
            head(x=["1"]),
            'header x is "1", wanted anything but exact "1"',
        ),
        ({"query_params": {"q": {"exact": "1"}}}, head(), "query parameter q is absent"),
        ({"query_params": {"q": {"exact": "1"}}}, head("/?q=2&q=1"), 'q is "2", wanted exact'),
    ],
)
def test_a_condition_says_what_the_call_has_and_what_it_wants(block, call, why):
    """Of several lines of a header all are told; of a query parameter the one that counts."""
    [condition] = conditions(made(block))
    assert why in (condition.why_not(call) or "")


def made(block) -> HTTPMatchRequest:
    """A match block of plain mappings."""
    fields = dict(block)
    for name in ("uri", "method", "scheme", "authority"):
        if name in fields:
            fields[name] = StringMatch(**fields[name])
    for name in ("headers", "without_headers", "query_params"):
        if name in fields:
            fields[name] = {key: StringMatch(**match) for key, match in fields[name].items()}
    return HTTPMatchRequest(**fields)


WORDS = st.sampled_from(["", "a", "b", "ab", "/a", "/b", "GET"])
MATCHES = st.one_of(
    st.builds(dict),
    *(st.builds(lambda text, kind=kind: {kind: text}, WORDS) for kind in ("exact", "prefix")),
    st.builds(lambda text: {"regex": f"{text}.*"}, WORDS),
)
TABLES = st.dictionaries(st.sampled_from(["x", "y", "method"]), MATCHES, max_size=2)
BLOCKS = st.fixed_dictionaries(
    {},
    optional={
        "uri": MATCHES,
        "ignore_uri_case": st.booleans(),
        "method": MATCHES,
        "headers": TABLES,
        "without_headers": TABLES,
        "query_params": TABLES,
    },
)
CALLS = st.builds(
    head,
    st.sampled_from(["/", "/a", "/A", "/b?x=a", "/ab?x=b&x=a&y", "/a#f"]),
    st.sampled_from(["GET", "b"]),
    x=st.lists(WORDS, max_size=2),
    y=st.lists(WORDS, max_size=2),
)


@given(BLOCKS, CALLS)
def test_a_call_is_taken_exactly_when_no_condition_has_a_reason(block, call):
    """Why not and whether are one rule."""
    written = made(block)
    accepts = request_matcher(written)
    is_taken = accepts is None or accepts(call)
    assert is_taken is not any(each.why_not(call) for each in conditions(written))


def test_what_a_call_has_can_do_nothing_to_a_terminal():
    """And a long value is cut."""
    [condition] = conditions(made({"headers": {"x": {"exact": "1"}}}))
    assert '"\\u001b[2J"' in (condition.why_not(head(x=["\x1b[2J"])) or "")
    assert len(condition.why_not(head(x=["a" * 10_000])) or "") < 200


@pytest.mark.parametrize(
    ("block", "gateways", "why"),
    [
        ({}, None, None),
        ({}, ("mesh", "edge"), None),
        ({}, ("edge",), "gateways are edge, without mesh: it is for gateways alone"),
        ({"gateways": ("mesh",), "source_namespace": "other"}, ("edge",), None),
        ({"port": 81}, None, "port is 80, wanted 81"),
        ({"source_namespace": "shop"}, None, "sourceNamespace is default, wanted shop"),
        ({"source_labels": {"app": "web"}}, None, None),
        (
            {"source_labels": {"app": "cart", "zone": "a"}},
            None,
            "sourceLabels: app is web, wanted cart; zone is absent, wanted a",
        ),
    ],
)
def test_a_block_for_others_says_for_whom(block, gateways, why):
    """What does not change from call to call is settled once, with its reason."""
    client = Client(namespace="default", labels={"app": "web"})
    assert refusal(made(block), gateways, 80, client) == why
