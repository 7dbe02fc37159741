"""What workers have counted is added up, once each, whatever lies where their files do."""

from __future__ import annotations

import os

import pytest

from meshware.syncd.counts import Counts
from meshware.syncd.reports import ReportReader
from meshware.telemetry.report import MAX_BYTES, encode
from meshware.telemetry.series import Store

ONE, TWO = "0" * 16, "1" * 16


def counted(calls: int, **labels: str) -> bytes:
    """The file of a worker that was called so often."""
    store = Store(10)
    said = {"reporter": "destination", "destination_workload": "app", **labels}
    series = store.series_of(tuple(sorted(said.items())))
    assert series is not None
    for _ in range(calls):
        series.observe(0.001, 0, 0, None)
    return encode(store, {})


@pytest.fixture
def place(tmp_path):
    """Where the workers of `default/app` report. None of them holds a lock: all have ended."""
    place = tmp_path / "reports/default/app"
    place.mkdir(parents=True)
    (tmp_path / "state").mkdir()
    return place


def counts_of(place) -> Counts:
    """A daemon that has just started."""
    root = place.parents[2]
    return Counts(ReportReader(root / "reports"), root / "state/counted")


def calls(counts: Counts) -> int:
    """How many calls all workers have had."""
    return sum(series.count for series in counts.merged().store.series.values())


def test_what_ended_workers_have_counted_is_kept_and_their_files_are_not(place):
    """By the next daemon too."""
    (place / f"{ONE}.metrics").write_bytes(counted(3))
    (place / f"{TWO}.metrics").write_bytes(counted(4))
    counts = counts_of(place)
    assert [calls(counts), calls(counts)] == [7, 7]
    assert list(place.iterdir()) == []
    assert calls(counts_of(place)) == 7


def test_a_daemon_that_died_before_it_removed_a_file_does_not_count_it_twice(place):
    """The archive knows whom it has swallowed."""
    path = place / f"{ONE}.metrics"
    path.write_bytes(counted(3))
    assert calls(counts_of(place)) == 3
    path.write_bytes(counted(3))  # as if it were there still
    assert calls(counts_of(place)) == 3
    assert not path.exists()


def test_what_cannot_be_kept_stays_where_it_is_and_counts(place):
    """The state directory cannot be written: nothing is lost, and nothing counted twice."""
    state = place.parents[2] / "state"
    state.rmdir()
    (place / f"{ONE}.metrics").write_bytes(counted(3))
    counts = counts_of(place)
    assert [calls(counts), calls(counts)] == [3, 3]
    with pytest.raises(OSError, match="counted"):
        counts.look()
    assert (place / f"{ONE}.metrics").exists()
    state.mkdir()
    assert calls(counts) == 3
    assert not (place / f"{ONE}.metrics").exists()


def test_a_worker_speaks_for_its_own_side_by_where_its_file_lies(place):
    """It cannot be another workload's calls that it has counted."""
    (place / f"{ONE}.metrics").write_bytes(
        counted(1, destination_workload="bank", source_workload="web")
    )
    [series] = counts_of(place).merged().store.series.values()
    labels = dict(series.labels)
    assert (labels["destination_workload"], labels["source_workload"]) == ("app", "web")


def test_nothing_but_files_of_a_worker_is_read(place, tmp_path):
    """Links, pipes, what is too long, what is no such file: they stay, and nobody waits."""
    secret = tmp_path / "elsewhere"
    secret.write_bytes(counted(5))
    (place / f"{'2' * 16}.metrics").symlink_to(secret)
    os.link(secret, place / f"{'3' * 16}.metrics")
    os.mkfifo(place / f"{'4' * 16}.metrics")
    with (place / f"{'5' * 16}.metrics").open("wb") as file:
        file.truncate(MAX_BYTES + 1)
    (place / f"{'6' * 16}.metrics").write_bytes(b"\xc1 no MessagePack")
    (place / f"{'7' * 16}.metrics").mkdir()
    (place / "not-an-id.metrics").write_bytes(counted(5))
    assert calls(counts_of(place)) == 0
