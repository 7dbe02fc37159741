"""The file of a process's rings: when it is written, what stays, and what a fork does."""

from __future__ import annotations

import errno
import os

import pytest

from meshware.policy.view import Client
from meshware.runtime import ring_writer
from meshware.runtime.reporter import Reporter
from meshware.runtime.ring_writer import RingWriter
from meshware.testing import FakeClock


class Told:
    """What a process has to tell, set by the test."""

    def __init__(self) -> None:
        self.data = b"one"

    def __call__(self) -> bytes:
        return self.data


@pytest.fixture
def told():
    """What there is to tell."""
    return Told()


@pytest.fixture
def reporter(tmp_path, told):
    """A reporter that is not started: a test flushes it by hand."""
    (tmp_path / "reports").mkdir()
    return Reporter(
        tmp_path, Client(namespace="shop", name="web"), clock=FakeClock(), rings=RingWriter(told)
    )


def files(tmp_path) -> dict[str, bytes]:
    """What lies there, by worker."""
    return {path.stem: path.read_bytes() for path in tmp_path.glob("reports/shop/web/*.rings")}


def test_it_is_written_when_it_says_something_new(tmp_path, reporter, told):
    reporter.flush_once()
    [(worker, data)] = files(tmp_path).items()
    assert data == b"one"
    path = tmp_path / f"reports/shop/web/{worker}.rings"
    before = path.stat().st_ino
    assert path.stat().st_mode & 0o777 == 0o600
    reporter.flush_once()
    assert path.stat().st_ino == before
    told.data = b"two"
    reporter.flush_once()
    assert files(tmp_path) == {worker: b"two"}
    path.unlink()
    reporter.flush_once()
    assert files(tmp_path) == {worker: b"two"}


def test_nothing_to_tell_makes_no_file(tmp_path, reporter, told):
    told.data = b""
    reporter.flush_once()
    assert files(tmp_path) == {}


def test_it_stays_when_its_worker_ends_with_what_was_told_last(tmp_path, reporter, told):
    """Whoever asks why a worker ended finds its last calls."""
    reporter.flush_once()
    told.data = b"last"
    reporter.stop()
    assert list(files(tmp_path).values()) == [b"last"]


def test_under_another_name_it_is_not_told_twice(tmp_path, reporter):
    """Somebody has removed the lock: the worker goes on under another name."""
    reporter.flush_once()
    [lock] = tmp_path.glob("reports/shop/web/*.lock")
    lock.unlink()
    reporter.flush_once()
    assert list(files(tmp_path)) != [lock.stem]
    assert list(files(tmp_path).values()) == [b"one"]


def test_a_child_leaves_the_file_of_its_parent_alone(tmp_path, reporter, told):
    """And writes one of its own, under its own name."""
    reporter.flush_once()
    child = os.fork()
    if child == 0:
        told.data = b"of the child"
        reporter.flush_once()
        os._exit(0)
    os.waitpid(child, 0)
    assert sorted(files(tmp_path).values()) == [b"of the child", b"one"]


def test_what_cannot_be_written_costs_no_report_and_is_said_once(
    tmp_path, reporter, told, monkeypatch, caplog
):
    def full(path, data, *, mode):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(ring_writer, "replace_file", full)
    reporter.flush_once()
    told.data = b"two"
    reporter.flush_once()
    assert len(list(tmp_path.glob("reports/shop/web/*.json"))) == 1
    assert [r.message for r in caplog.records if "refused and failed calls" in r.message] == [
        "refused and failed calls are not reported ([Errno 28] No space left on device); all else "
        "works"
    ]
    monkeypatch.undo()
    reporter.flush_once()
    assert list(files(tmp_path).values()) == [b"two"]


def test_a_mistake_in_making_it_costs_no_report(tmp_path, reporter, monkeypatch, told):
    def fails():
        raise ValueError("a mistake of ours")

    reporter._rings._made = fails
    reporter.flush_once()
    assert len(list(tmp_path.glob("reports/shop/web/*.json"))) == 1
