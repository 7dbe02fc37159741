"""What workers have counted is added up, once each, whatever lies where their files do."""

from __future__ import annotations

import os

import msgspec
import pytest

from meshware.policy.view import Client
from meshware.runtime.reporter import Reporter
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


def labels_of(place, **said: str) -> dict[str, str]:
    """The labels that a worker of `default/app` is believed, of those that it says."""
    (place / f"{ONE}.metrics").write_bytes(counted(1, **said))
    [series] = counts_of(place).merged().store.series.values()
    return dict(series.labels)


@pytest.mark.parametrize(
    ("said", "believed"),
    [
        ({"destination_workload_namespace": "bank"}, {"destination_workload_namespace": "default"}),
        (
            {"destination_principal": "spiffe://cluster.local/ns/bank/sa/vault"},
            {"destination_principal": "unknown"},
        ),
        (
            {"destination_principal": "spiffe://cluster.local/ns/default/sa/app"},
            {"destination_principal": "spiffe://cluster.local/ns/default/sa/app"},
        ),
        (
            {"reporter": "source", "source_workload": "bank", "destination_workload": "vault"},
            {"reporter": "source", "source_workload": "app", "destination_workload": "vault"},
        ),
        ({"reporter": "waypoint"}, {"reporter": "destination"}),
        ({"destination_app": "as-policy-says"}, {"destination_app": "as-policy-says"}),
    ],
    ids=["namespace", "strange account", "own account", "source", "strange reporter", "app"],
)
def test_what_a_worker_says_of_its_own_side_fits_where_its_file_lies(place, said, believed):
    """The other side is as it says."""
    assert labels_of(place, **said).items() >= believed.items()


def test_two_workloads_may_give_their_workers_one_id(place):
    """One that copies another's name neither hides it nor stops the daemon."""
    other = place.parent / "web"
    other.mkdir()
    (place / f"{ONE}.metrics").write_bytes(counted(3))
    (other / f"{ONE}.metrics").write_bytes(counted(4))
    counts = counts_of(place)
    assert [calls(counts), calls(counts)] == [7, 7]
    assert calls(counts_of(place)) == 7
    assert list(place.iterdir()) == list(other.iterdir()) == []


@pytest.fixture
def alive(monkeypatch):
    """All workers live."""
    monkeypatch.setattr(ReportReader, "_is_alive", lambda *_: True)


@pytest.mark.usefixtures("alive")
def test_a_worker_cannot_take_back_what_it_has_counted(place):
    """Sums do not fall for what one of them says later, or says no more."""
    path = place / f"{ONE}.metrics"
    counts = counts_of(place)
    said = [counted(5), counted(2), b"no MessagePack", counted(6)]
    found = []
    for at, data in enumerate(said):
        path.write_bytes(data)
        os.utime(path, ns=(at, at))
        found.append(calls(counts))
    path.unlink()
    assert [*found, calls(counts)] == [5, 5, 5, 6, 6]


@pytest.mark.usefixtures("alive")
def test_workers_say_what_holds_now_of_their_own_workload_alone(place):
    """The oldest of what they say is told, and nothing of those that are gone."""
    own = (("namespace", "default"), ("workload", "app"))
    bank = (("namespace", "bank"), ("workload", "vault"))
    name = "meshware_policy_generation"
    (place / f"{ONE}.metrics").write_bytes(encode(Store(1), {(name, own): 7.0}))
    (place / f"{TWO}.metrics").write_bytes(encode(Store(1), {(name, bank): 5.0}))
    counts = counts_of(place)
    assert counts.merged().gauges == {(name, own): 5.0}
    for path in place.iterdir():
        path.unlink()
    assert counts.merged().gauges == {}


def test_claims_too_large_to_be_added_up_leave_the_archive_sound(place):
    """Each of them alone is possible; together they are more than can be written."""
    store = Store(1)
    series = store.series_of((("reporter", "destination"),))
    assert series is not None
    series.count = 2**48
    series.duration.total = 1.7e308
    for number in range(3):
        (place / f"{number:016x}.metrics").write_bytes(encode(store, {}))
    assert calls(counts_of(place)) == 3 * 2**48
    again = counts_of(place)
    assert calls(again) == 3 * 2**48
    assert calls(again) == 3 * 2**48


class Growing:
    """What a process has counted: one call more for each time that it is asked."""

    def __init__(self) -> None:
        self.all = 0
        self._since = 0

    def call(self) -> None:
        """Count one."""
        self.all += 1
        self._since += 1

    def __call__(self) -> bytes:
        """The file."""
        return counted(self._since)

    def hand_over(self) -> None:
        """Begin anew."""
        self._since = 0


def _has_lock(_reader, directory: int, name: str) -> bool:
    """Locks cannot be asked about by the process that holds them; here those that lie there do."""
    return name in os.listdir(directory)


@pytest.mark.parametrize("gone", ["stopped", "lock removed", "all removed"])
def test_a_worker_that_reports_under_another_name_counts_nothing_twice(place, gone, monkeypatch):
    """It ends and begins anew, or somebody removes what shows that it lives."""
    monkeypatch.setattr(ReportReader, "_is_alive", _has_lock)
    growing = Growing()
    reporter = Reporter(place.parents[2], Client(namespace="default", name="app"), counted=growing)
    counts = counts_of(place)
    for _ in range(3):
        growing.call()
        reporter.flush_once()
        counts.look()
        assert calls(counts) == growing.all
        if gone == "stopped":
            reporter.stop()
            reporter.renew()  # as `start` does, without its thread
        else:
            for path in place.glob("*.lock" if gone == "lock removed" else "*"):
                path.unlink()
        counts.look()
        assert calls(counts) == growing.all
        reporter.flush_once()
        counts.look()
        assert calls(counts) == growing.all


def flood(count: int) -> bytes:
    """The file of a worker that tells of so many workloads, one call of each."""
    store = Store(count)
    for number in range(count):
        series = store.series_of((("reporter", "destination"), ("source_workload", f"x{number}")))
        series.observe(0.001, 0, 0, None)
    return encode(store, {})


def own_calls(counts: Counts) -> list[int]:
    """What is told of the calls that `shop/web` has had, by caller."""
    told = counts.merged().store.series.values()
    return sorted(each.count for each in told if ("destination_workload", "web") in each.labels)


def test_no_workload_drives_out_what_others_have_counted(place, monkeypatch):
    """While they live, after they have ended, and for the next daemon: no sum of others falls."""
    monkeypatch.setattr(ReportReader, "_is_alive", _has_lock)
    monkeypatch.setattr("meshware.syncd.counts._MOST_SERIES", 10)
    counts, root = counts_of(place), place.parents[1]
    web = root / "shop/web"
    web.mkdir(parents=True)

    def write(directory, worker: str, data: bytes) -> None:
        (directory / f"{worker}.lock").touch()
        (directory / f"{worker}.metrics").write_bytes(data)

    def end(directory) -> None:
        for path in directory.glob("*.lock"):
            path.unlink()

    write(place, ONE, flood(8))
    write(place, TWO, flood(30))
    assert len(counts.merged().store.series) == 10
    end(place)
    counts.look()
    write(web, ONE, counted(3, destination_workload="web", source_workload="a"))
    assert own_calls(counts) == [3], "the room was full before"
    write(web, TWO, counted(4, destination_workload="web", source_workload="b"))
    assert own_calls(counts) == [3, 4]
    end(web)
    assert own_calls(counts) == [3, 4]
    for number in range(3, 6):
        write(place, str(number) * 16, flood(30 + number))
        assert own_calls(counts) == [3, 4]
        end(place)
        counts.look()
        assert own_calls(counts) == own_calls(counts_of(place)) == [3, 4]
    assert len(counts.merged().store.series) == 10


@pytest.mark.usefixtures("alive")
def test_what_was_left_out_does_not_fall(place, monkeypatch):
    """It is a counter, though there may be room for more later on."""
    monkeypatch.setattr("meshware.syncd.counts._MOST_SERIES", 10)
    counts = counts_of(place)
    (place / f"{ONE}.metrics").write_bytes(flood(16))
    assert counts.merged().store.left_out == 6
    (place / f"{ONE}.metrics").write_bytes(counted(100))
    assert calls(counts) == 100
    assert counts.merged().store.left_out == 6


def test_what_an_earlier_version_has_kept_counts_on(place):
    """Its archive does not say whose the calls were."""
    store = Store(10)
    series = store.series_of((("destination_workload", "app"), ("reporter", "destination")))
    series.observe(0.001, 0, 0, None)
    kept = {"meshware": 1, "swallowed": [["default", "app", TWO]], "counted": encode(store, {})}
    (place.parents[2] / "state/counted").write_bytes(msgspec.msgpack.encode(kept))
    (place / f"{ONE}.metrics").write_bytes(counted(3))
    (place / f"{TWO}.metrics").write_bytes(counted(1))  # swallowed by then
    assert calls(counts_of(place)) == 4
    counts = counts_of(place)
    assert calls(counts) == 4
    assert len(counts.merged().store.series) == 1, "they are of the same calls"
