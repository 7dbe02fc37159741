"""Calls told of by both ends are drawn once, whoever tells first."""

from __future__ import annotations

import random

import pytest

from meshware.dashboard.data import Sample
from meshware.dashboard.graph import read_graph
from meshware.dashboard.unnamed import HOLD_S, Cancelling, Unnamed
from meshware.dashboard.window import counts_of

TARGET = {
    "destination_service_name": "hello",
    "destination_service_namespace": "default",
    "destination_service": "hello.default.svc.cluster.local",
}
FROM_WEB = "default/web->default/hello"
FROM_UNKNOWN = "unknown->default/hello"


def source(requests: float, attempts: float = 0, **labels: str) -> Sample:
    """What the caller tells."""
    mine = {"source_canonical_service": "web", "source_workload_namespace": "default"}
    return Sample(
        labels={"reporter": "source", **TARGET, **mine, **labels},
        requests=requests,
        attempts=attempts,
    )


def destination(requests: float, caller: str = "unknown", errors: float = 0) -> Sample:
    """What the called one tells."""
    mine = {"source_canonical_service": caller, "source_workload_namespace": "default"}
    return Sample(
        labels={"reporter": "destination", **TARGET, **mine}, requests=requests, errors=errors
    )


@pytest.mark.parametrize(
    ("told", "unknown", "left"),
    [
        ([], [3], 3),
        ([3], [3], 0),
        ([3], [5], 2),
        ([5], [3], 0),
        ([0, 3], [3], 0),
        ([0, 0, 0, 3], [3], 0),
        ([3], [0, 0, 3], 0),
        ([3, 3], [2, 4], 0),
        ([-2, 2], [0, 0], 0),
        ([-2, 5], [3], 0),
        ([2, -2], [0, 3], 3),
        ([1.5], [2], 0.5),
        ([0] * (HOLD_S + 1) + [3], [3], 3),
        ([3], [0] * (HOLD_S + 1) + [3], 3),
    ],
    ids=[
        "nobody else tells",
        "a call is told twice",
        "some callers are outside",
        "attempts that never arrived",
        "the source tells later",
        "the source tells much later, after its retries",
        "the source tells first",
        "flushes that cut a second in two",
        "the destination has named it, first",
        "named and unknown",
        "the destination has named it, later",
        "half of the last one",
        "too late to be the same",
        "what never arrived hides nobody who comes later",
    ],
)
def test_what_sources_told_is_taken_off_the_unknown(told, unknown, left):
    """Per service, whichever end flushes first, and never below nought."""
    cancelling = Cancelling()
    rest = 0.0
    for second in range(len(told) + len(unknown) + 2 * HOLD_S):
        at = lambda given, second=second: given[second] if second < len(given) else 0  # noqa: E731
        row = cancelling.step(at(told), counts_of(at(unknown), 0, 0, ()))
        assert row[0] >= 0
        rest += row[0]
    assert rest == pytest.approx(left)


def test_errors_and_durations_go_with_their_calls():
    cancelling = Cancelling()
    rows = [cancelling.step(3, counts_of(4, 2, 0, (4,)))]
    rows += [cancelling.step(0, counts_of(0, 0, 0, ())) for _ in range(HOLD_S)]
    assert [sum(column) for column in zip(*rows, strict=True)][:4] == [1, 0.5, 0, 1]


def seen(*seconds: list[Sample], rest: int = HOLD_S + 1) -> list[dict[str, float]]:
    """The edges of each second with their calls."""
    unnamed = Unnamed()
    quiet = [Sample(labels=sample.labels, requests=0) for second in seconds for sample in second]
    return [
        {name: edge.counts[0] for name, edge in unnamed.settle(read_graph(second)).edges.items()}
        for second in [*seconds, *[quiet] * rest]
    ]


def test_a_plain_call_is_one_edge():
    assert all(set(edges) == {FROM_WEB} for edges in seen([source(3), destination(3)]))


def test_a_retry_that_arrived_is_the_callers():
    """A source counts one call, a destination each attempt."""
    assert all(set(edges) == {FROM_WEB} for edges in seen([source(1, 3), destination(3)]))


@pytest.mark.parametrize("flags", ["UF", "UF,URX", "UH"])
def test_a_call_that_never_arrived_hides_nobody(flags):
    edges = seen([source(2, response_flags=flags), destination(2)])
    assert sum(second.get(FROM_UNKNOWN, 0) for second in edges) == 2


def test_a_caller_whom_the_destination_named_hides_nobody():
    edges = seen([source(5), destination(5, "web"), destination(2)])
    assert sum(second.get(FROM_UNKNOWN, 0) for second in edges) == 2


def test_an_edge_of_strangers_stays_when_they_are_silent():
    edges = seen([source(0), destination(1)], rest=100)
    assert FROM_UNKNOWN not in edges[0]
    assert all(FROM_UNKNOWN in second for second in edges[HOLD_S:])


def test_seconds_in_which_nobody_looked_pass_all_the_same():
    unnamed = Unnamed()
    unnamed.settle(read_graph([destination(2)]))
    found = unnamed.settle(read_graph([destination(0)]), seconds=HOLD_S + 3)
    assert found.edges[FROM_UNKNOWN].counts[0] == 2


def test_jitter_of_flushes_draws_no_stranger():
    """Ten minutes of calls over plaintext, each end telling when it likes within two seconds."""
    chance = random.Random(5)
    waiting: dict[str, list[int]] = {"source": [], "destination": []}
    unnamed = Unnamed()
    for _ in range(600):
        calls = chance.randrange(20)
        told = {}
        for end, queue in waiting.items():
            queue.append(calls)
            late = chance.randrange(3)
            told[end] = sum(queue[: len(queue) - late]) if late < len(queue) else 0
            del queue[: max(len(queue) - late, 0)]
        graph = unnamed.settle(
            read_graph([source(told["source"]), destination(told["destination"])])
        )
        assert set(graph.edges) == {FROM_WEB}
        assert set(graph.nodes) == {"default/web", "default/hello"}
