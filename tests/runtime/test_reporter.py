"""The worker's report: what it claims, and how its life is told."""

from __future__ import annotations

import fcntl
import logging
import os
from pathlib import Path

import msgspec
import pytest

from meshware.policy.view import Client
from meshware.runtime.reporter import MAX_REPORT_BYTES, Report, Reporter
from meshware.testing import FakeClock


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    """A run directory as the daemon makes it."""
    (tmp_path / "reports").mkdir()
    return tmp_path


def reporter_in(run_dir: Path, name: str | None = "web") -> Reporter:
    """A reporter that is not started: a test flushes it by hand."""
    client = Client(namespace="shop", name=name)
    return Reporter(run_dir, client, "127.0.0.1", 8000, clock=FakeClock())


def reports(run_dir: Path) -> list[Report]:
    """Every report that lies there."""
    return [
        msgspec.json.decode(path.read_bytes(), type=Report)
        for path in sorted(run_dir.glob("reports/*/*/*.json"))
    ]


def is_locked_by_another(path: Path) -> bool:
    """Ask as another process would: this one's own locks never stand in its own way."""
    child = os.fork()
    if child == 0:
        with path.open("r+b") as file:
            try:
                fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                os._exit(1)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status) == 1


def test_a_report_says_who_where_and_which_generation(run_dir):
    """Address, port, formats, generation: claims for people and for the daemon's arithmetic."""
    reporter = reporter_in(run_dir)
    reporter.applied(7)
    assert reporter.flush_once()
    [report] = reports(run_dir)
    assert (report.namespace, report.workload) == ("shop", "web")
    assert (report.address, report.port, report.pid) == ("127.0.0.1", 8000, os.getpid())
    assert (report.generation, report.refusals, report.reads) == (7, (), (1,))
    [path] = run_dir.glob("reports/shop/web/*.json")
    assert path.stat().st_mode & 0o777 == 0o600
    reporter.stop()


def test_its_life_is_told_by_a_lock_on_a_file_of_its_own(run_dir):
    """Replacing the report does not drop the lock; ending does, and takes both files along."""
    reporter = reporter_in(run_dir)
    reporter.applied(1)
    reporter.flush_once()
    [lock] = run_dir.glob("reports/shop/web/*.lock")
    assert is_locked_by_another(lock)
    reporter.applied(2)
    reporter.flush_once()
    assert is_locked_by_another(lock)
    reporter.stop()
    assert [path for path in run_dir.rglob("*") if path.is_file()] == []


def test_it_is_written_when_it_has_changed_and_not_otherwise(run_dir):
    """Life is told by the lock, so a quiet worker writes nothing."""
    reporter = reporter_in(run_dir)
    reporter.applied(1)
    assert reporter.flush_once()
    assert not reporter.flush_once()
    reporter.refused("spec: is broken", 2)
    assert reporter.flush_once()
    reporter.refused("spec: is broken", 2)
    assert not reporter.flush_once()
    reporter.stop()


def test_refusals_are_kept_until_a_generation_is_applied(run_dir):
    """The last ten, whatever their length: a report stays below its limit."""
    reporter = reporter_in(run_dir)
    reporter.applied(1)
    for number in range(50):
        reporter.refused(f"{number} " + "ü" * 10_000, number)
    reporter.flush_once()
    [report] = reports(run_dir)
    assert [refusal.generation for refusal in report.refusals] == list(range(40, 50))
    [path] = run_dir.glob("reports/shop/web/*.json")
    assert path.stat().st_size <= MAX_REPORT_BYTES
    reporter.applied(60)
    reporter.flush_once()
    assert reports(run_dir)[0].refusals == ()
    reporter.stop()


def test_a_removed_report_or_run_directory_comes_back(run_dir):
    """Somebody tidied up while the worker runs."""
    reporter = reporter_in(run_dir)
    reporter.applied(1)
    reporter.flush_once()
    first = reports(run_dir)[0].id
    for path in run_dir.glob("reports/shop/web/*"):
        path.unlink()
    assert reporter.flush_once()
    [report] = reports(run_dir)
    assert report.id != first, "the old id has no lock any more"
    assert is_locked_by_another(next(run_dir.glob("reports/shop/web/*.lock")))
    reporter.stop()


def test_without_a_place_to_write_all_else_works_and_one_warning_says_so(tmp_path, caplog):
    """A read-only mount, or a ConfigMap: policy only."""
    reporter = reporter_in(tmp_path)
    assert not reporter.flush_once()
    assert caplog.records == [], "no daemon has been here, and there is no policy either"
    reporter.applied(1)
    with caplog.at_level(logging.WARNING):
        assert not reporter.flush_once()
        assert not reporter.flush_once()
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "all else works" in caplog.text


def test_a_process_without_a_workload_reports_too(run_dir):
    """It is a client of the mesh all the same."""
    reporter = reporter_in(run_dir, name=None)
    reporter.applied(1)
    reporter.flush_once()
    [report] = reports(run_dir)
    assert report.workload is None
    assert list(run_dir.glob("reports/shop/-/*.json"))
    reporter.stop()


def test_a_child_process_has_a_report_of_its_own(run_dir):
    """After fork the lock is the parent's alone; the child begins under another id."""
    reporter = reporter_in(run_dir)
    reporter.applied(1)
    reporter.flush_once()
    mine = reports(run_dir)[0].id
    child = os.fork()
    if child == 0:
        code = 1
        try:
            reporter.flush_once()
            found = {(report.id, report.pid) for report in reports(run_dir)}
            others = [pid for id_, pid in found if id_ != mine]
            code = 0 if others == [os.getpid()] else 2
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    locks = {path.stem: is_locked_by_another(path) for path in run_dir.rglob("*.lock")}
    assert locks.pop(mine), "the child's start has not dropped the parent's lock"
    assert list(locks.values()) == [False], "and the child's own went with it"
    reporter.stop()


class Asked:
    """What a process has counted; how often it was asked."""

    def __init__(self) -> None:
        self.times = 0

    def __call__(self) -> bytes:
        """Nothing worth writing."""
        self.times += 1
        return b""

    def hand_over(self) -> None:
        """Nothing was."""
        raise AssertionError("nothing was written")


def test_what_is_counted_is_sorted_in_where_no_report_can_be_written(tmp_path):
    """Without a daemon nobody else asks, and new kinds of calls would wait without end."""
    asked = Asked()
    reporter = Reporter(tmp_path, Client(namespace="default", name="app"), counted=asked)
    assert not reporter.flush_once()
    reporter.stop()
    assert asked.times == 1
