"""Spans that several workers tell of become traces, whatever they claim."""

from __future__ import annotations

from meshware.dashboard.traces import MOST_SPANS_OF_TRACE, MOST_TRACES, Placed, join
from meshware.telemetry.span_ring import SpanRecord


def placed(span_id: int, parent: int | None = None, *, seen=1, worker="w", trace=1, start=1.0,
           status="ok", **said) -> Placed:  # fmt: skip
    """A span of a worker."""
    record = SpanRecord(
        trace_id=f"{trace:032x}", span_id=f"{span_id:016x}",
        parent_id=None if parent is None else f"{parent:016x}", name="app/*", kind="server",
        start=start, duration_s=0.25, status=status, attributes=said,
    )  # fmt: skip
    return Placed(seen, "shop", f"of-{worker}", worker, record)


def test_times_count_from_the_first_span_and_the_last_one_ends_it():
    [trace] = join([placed(2, 1, start=10.5), placed(1, start=10.0)])
    assert (trace["at"], trace["duration_s"]) == (10.0, 0.75)
    assert [span["start_s"] for span in trace["spans"]] == [0.0, 0.5]


def test_the_newest_trace_comes_first_and_old_ones_are_forgotten():
    traces = join(placed(1, trace=n, start=float(n)) for n in range(MOST_TRACES + 10))
    assert len(traces) == MOST_TRACES
    assert traces[0]["at"] > traces[1]["at"]
    assert traces[-1]["at"] == 10.0


def test_a_trace_is_as_new_as_the_span_that_was_seen_last():
    [trace] = join([placed(1, seen=3), placed(2, 1, seen=9)])
    assert trace["seen"] == 9


def test_it_is_called_by_the_first_span_whose_parent_nobody_has():
    """A caller outside of the mesh has it."""
    said = {"http.request.method": "GET", "url.path": "/buy"}
    [trace] = join([placed(2, 1, start=2.0), placed(1, 77, start=3.0, **said)])
    assert (trace["name"], trace["workload"]) == ("GET /buy", "of-w")


def test_people_read_what_a_span_does_and_its_name_is_beside_it():
    said = {"http.request.method": "GET"}
    client = placed(2, start=2.0, **said, **{"meshware.service": "orders.x.svc.cluster.local:80"})
    attempt = placed(3, start=3.0, **{"meshware.attempt": 2, "meshware.endpoint": "10.0.0.1:80"})
    client = client._replace(span=SpanRecord(**{
        name: getattr(client.span, name) for name in SpanRecord.__struct_fields__
    } | {"kind": "client"}))  # fmt: skip
    [trace] = join([client, attempt])
    assert [span["label"] for span in trace["spans"]] == [
        "GET orders.x",
        "attempt 2 at 10.0.0.1:80",
    ]
    assert trace["spans"][0]["name"] == "app/*"


def test_circles_and_two_spans_with_one_id_make_no_error():
    [trace] = join([placed(1, 2), placed(2, 1), placed(3, 3), placed(1, 3, worker="other")])
    assert len(trace["spans"]) == 3
    assert trace["left_out"] == 1


def test_nobody_crowds_out_what_others_say_of_a_trace():
    many = [placed(n + 10, worker="evil") for n in range(5000)]
    [trace] = join([*many, placed(1, worker="honest", start=0.5), placed(2, 1, worker="honest")])
    assert len(trace["spans"]) <= MOST_SPANS_OF_TRACE
    assert sum(span["workload"] == "of-honest" for span in trace["spans"]) == 2
    assert trace["left_out"] == 5000 - 200


def test_an_attribute_of_any_kind_is_told_as_it_is():
    [trace] = join(
        [placed(1, **{"meshware.attempt": "x", "http.request.method": 5, "url.path": 7})]
    )
    assert trace["spans"][0]["label"] == "app/*"
