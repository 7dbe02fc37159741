"""Trace context, read from headers and written to them."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshware.trace import TraceContext, carried, carried_on, child_of, read_context, written

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
LONG = "0" * 16 + TRACE[16:]
PARENT = f"00-{TRACE}-{SPAN}-01"

MULTI = {"x-b3-traceid": TRACE, "x-b3-spanid": SPAN}


def look_up(headers):
    return lambda name: (headers[name],) if name in headers else ()


READ = [
    ("w3c", {"traceparent": PARENT}, (TRACE, SPAN, True)),
    ("w3c", {"traceparent": f"00-{TRACE}-{SPAN}-00"}, (TRACE, SPAN, False)),
    ("w3c", {"traceparent": f"01-{TRACE}-{SPAN}-03-more"}, (TRACE, SPAN, True)),
    ("w3c", {"traceparent": f"00-{TRACE}-{SPAN}-01-more"}, None),
    ("w3c", {"traceparent": f"ff-{TRACE}-{SPAN}-01"}, None),
    ("w3c", {"traceparent": f"00-{'0' * 32}-{SPAN}-01"}, None),
    ("w3c", {"traceparent": f"00-{TRACE}-{'0' * 16}-01"}, None),
    ("w3c", {"traceparent": f"00-{TRACE.upper()}-{SPAN}-01"}, None),
    ("w3c", {"b3": f"{TRACE}-{SPAN}-1"}, None),
    ("b3", {"b3": f"{TRACE}-{SPAN}-1"}, (TRACE, SPAN, True)),
    ("b3", {"b3": f"{TRACE}-{SPAN}-d-{SPAN}"}, (TRACE, SPAN, True)),
    ("b3", {"b3": f"{TRACE}-{SPAN}-0"}, (TRACE, SPAN, False)),
    ("b3", {"b3": f"{TRACE}-{SPAN}"}, (TRACE, SPAN, None)),
    ("b3", {"b3": f"{TRACE[16:]}-{SPAN}-1"}, (LONG, SPAN, True)),
    ("b3", {"b3": f"{TRACE.upper()}-{SPAN}-1"}, (TRACE, SPAN, True)),
    ("b3", {"b3": "0"}, ("", "", False)),
    ("b3", {"b3": f"{TRACE}-{SPAN}-2"}, None),
    ("b3", {"b3": f"{'0' * 32}-{SPAN}-1"}, None),
    ("b3", {"b3": "x"}, None),
    ("b3multi", {**MULTI, "x-b3-sampled": "1"}, (TRACE, SPAN, True)),
    ("b3multi", {**MULTI, "x-b3-sampled": "0"}, (TRACE, SPAN, False)),
    ("b3multi", {**MULTI, "x-b3-flags": "1"}, (TRACE, SPAN, True)),
    ("b3multi", MULTI, (TRACE, SPAN, None)),
    ("b3multi", {"x-b3-sampled": "0"}, ("", "", False)),
    ("b3multi", {"x-b3-traceid": TRACE, "x-b3-sampled": "1"}, None),
    ("b3multi", {**MULTI, "x-b3-spanid": "1"}, None),
    ("b3multi", {}, None),
]


@pytest.mark.parametrize(("form", "headers", "then"), READ)
def test_a_context_is_read_and_what_is_malformed_is_absent(form, headers, then):
    """In each of the three ways to write it."""
    found = read_context(look_up(headers), (form,))
    assert then == (None if found is None else found[:3])


def test_the_first_that_is_sound_is_taken():
    """In the order that policy names them."""
    headers = look_up({"traceparent": "garbage", "b3": f"{TRACE}-{SPAN}-0"})
    assert read_context(headers, ("w3c", "b3"))[:3] == (TRACE, SPAN, False)


def test_two_headers_are_none():
    """Nobody can say which of two lines counts."""
    assert read_context(lambda _: (PARENT, PARENT)) is None


@pytest.mark.parametrize("form", ["w3c", "b3", "b3multi"])
@pytest.mark.parametrize("is_sampled", [True, False])
def test_what_is_written_is_read_again(form, is_sampled):
    """With ids, parent and decision."""
    context = child_of(None, is_sampled, Random(1))
    found = read_context(look_up(dict(written(context, (form,)))), (form,))
    assert found[:3] == context[:3]


def test_a_child_is_of_its_parents_trace_and_state():
    """Its span is new."""
    parent = TraceContext(TRACE, SPAN, True, "a=1")
    child = child_of(parent, False, Random(1))
    assert (child.trace_id, child.is_sampled, child.tracestate) == (TRACE, False, "a=1")
    assert child.span_id not in (SPAN, "0" * 16)


def test_what_is_carried_is_what_was_received():
    """Later versions and unknown flags go on as they are."""
    headers = {"traceparent": f"01-{TRACE}-{SPAN}-09-more", "tracestate": "a=1"}
    found = carried(read_context(look_up(headers)))
    assert dict(found.headers) == headers
    assert found.trace_id == TRACE


@given(
    st.from_regex(r"\A[ 0f]{0,2}0[0-9f]-[0-9a-fA]{31,33}-[0-9a-f]{15,17}-[0-9a-fA]{2}(-x)?\Z")
    | st.sampled_from([each[1].get("traceparent", "") for each in READ]),
    st.sampled_from([(), ("a=1",), ("a=1", "b=2"), ("",)]),
)
def test_the_short_way_says_the_same_or_nothing(value, states):
    """Most contexts are read by it alone."""
    headers = {"traceparent": (value,), "tracestate": states}
    quick = carried_on(lambda name: headers.get(name, ()))
    if quick is not None:
        assert quick == carried(read_context(lambda name: headers.get(name, ())))


def test_the_short_way_is_taken_by_what_is_usual():
    """Sampled or not."""
    for flags in ("00", "01"):
        context = f"00-{TRACE}-{SPAN}-{flags}"
        headers = look_up({"traceparent": context})
        assert carried_on(headers) == carried(read_context(headers))
        assert carried_on(headers).traceparent == context
    assert carried_on(lambda name: (PARENT, PARENT) if name == "traceparent" else ()) is None
