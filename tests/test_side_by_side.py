"""Tests marked `alone` run alone, and need not wait for ever; each room stands for a process."""

from __future__ import annotations

import fcntl
import threading
from contextlib import ExitStack, closing

import pytest
from side_by_side import Room

PATIENCE_S = 20.0


class Runner:
    """A process of the run, as a thread: it enters when told, and leaves when told."""

    def __init__(self, directory, *, alone):
        self._room = Room(directory)
        self._alone = alone
        self._is_in, self._may_leave = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _run(self):
        with closing(self._room):
            self._room.enter(alone=self._alone)
            self._is_in.set()
            self._may_leave.wait(PATIENCE_S)
            self._room.leave()

    def start(self):
        self._thread.start()
        return self

    @property
    def is_in(self):
        return self._is_in.is_set()

    def gets_in(self):
        return self._is_in.wait(PATIENCE_S)

    def leave(self):
        self._may_leave.set()
        self._thread.join(PATIENCE_S)
        assert not self._thread.is_alive()


def until_locked(path):
    """Wait until somebody holds a file."""
    for _ in range(1_000_000):
        with path.open("wb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return
    pytest.fail(f"nobody locks {path.name}")


def test_ordinary_tests_run_side_by_side(tmp_path):
    """All of them are in the room at once."""
    runners = [Runner(tmp_path, alone=False).start() for _ in range(4)]
    assert all(runner.gets_in() for runner in runners)
    for runner in runners:
        runner.leave()


@pytest.mark.parametrize("next_alone", [False, True], ids=["ordinary", "alone"])
def test_one_that_is_alone_waits_for_those_inside_and_no_other(tmp_path, next_alone):
    """Who comes after it comes in after it."""
    first = Runner(tmp_path, alone=False).start()
    assert first.gets_in()
    alone = Runner(tmp_path, alone=True).start()
    until_locked(tmp_path / "turnstile")
    later = Runner(tmp_path, alone=next_alone).start()
    assert not alone.is_in
    assert not later.is_in
    first.leave()
    assert alone.gets_in()
    assert not later.is_in
    alone.leave()
    assert later.gets_in()
    later.leave()


def test_it_is_held_from_one_such_test_to_the_next_and_let_go_before_an_ordinary_one(tmp_path):
    """A worker enters again without leaving; one that crashed in between holds nothing."""
    with ExitStack() as stack:
        mine = stack.enter_context(closing(Room(tmp_path)))
        mine.enter(alone=True)
        mine.enter(alone=True)
        other = Runner(tmp_path, alone=False).start()
        assert not other.is_in
        mine.enter(alone=False)
        assert other.gets_in()
        other.leave()
    last = Runner(tmp_path, alone=True).start()
    assert last.gets_in()
    last.leave()
