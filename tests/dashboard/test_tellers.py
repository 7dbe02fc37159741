"""A call is counted once, whichever of its two ends is heard first."""

from __future__ import annotations

from collections import Counter

import pytest

from meshware.dashboard.data import Sample
from meshware.dashboard.graph import read_graph
from meshware.dashboard.tellers import Tellers
from meshware.dashboard.window import Rises, figures_of

ENDS = {
    "source_workload": "web",
    "source_workload_namespace": "default",
    "destination_service_name": "shop",
    "destination_service_namespace": "default",
}


def counted(*seconds: dict[str, int]) -> list[float]:
    """The calls that each second adds.

    Args:
        seconds: what `source` and `destination` have counted by then; absent: not heard of yet.
    """
    rises, tellers = Rises(), Tellers()
    rises.of(())  # the daemon has looked before
    found = []
    for told in seconds:
        samples = [
            Sample(labels={**ENDS, "reporter": who}, requests=n, durations=(n,))
            for who, n in told.items()
        ]
        rows = tellers.once(read_graph(rises.of(samples)))
        figures = Counter({name: figures_of(row, 1).calls for name, row in rows.items()})
        found.append(figures.total())
    return found


def source(count: int, destination: int | None = None) -> dict[str, int]:
    """What has been counted by now."""
    return {"source": count} | ({} if destination is None else {"destination": destination})


def destination(count: int) -> dict[str, int]:
    """What has been counted where no source is heard of."""
    return {"destination": count}


@pytest.mark.parametrize(
    ("seconds", "calls"),
    [
        pytest.param([source(40, 40)], [40], id="both at once"),
        pytest.param([source(40), source(40, 40)], [40, 0], id="the source first"),
        pytest.param([destination(40), source(40, 40)], [40, 0], id="the destination first"),
        pytest.param(
            [destination(40), destination(40), source(40, 40)], [40, 0, 0], id="a second between"
        ),
        pytest.param(
            [destination(40), source(60, 70), source(75, 75)], [40, 20, 15], id="more meanwhile"
        ),
        pytest.param(
            [destination(40), source(20, 40), source(40, 40), source(50, 50)], [40, 0, 0, 10],
            id="bit by bit",
        ),
        pytest.param(
            [destination(45), source(40, 45), *[source(40, 45)] * 5, source(50, 55)],
            [45, 0, 0, 0, 0, 0, 0, 10],
            id="attempts were told of as calls, and nothing is missed for ever",
        ),
        pytest.param(
            [destination(10), destination(30), destination(60)], [10, 20, 30],
            id="a caller without the mesh",
        ),
        pytest.param(
            [destination(500), *[destination(500)] * 6, source(30, 530)],
            [500, 0, 0, 0, 0, 0, 0, 30],
            id="a caller that joined the mesh later",
        ),
    ],
)  # fmt: skip
def test_a_call_is_counted_once(seconds, calls):
    assert counted(*seconds) == calls
