"""One daemon alone writes a run directory."""

from __future__ import annotations

import os

import pytest

from meshware.errors import SyncError
from meshware.syncd.lock import LOCK_NAME, RunLock, TakenError, is_held


@pytest.fixture
def lock(tmp_path):
    """A lock that is held."""
    held = RunLock(tmp_path)
    held.acquire()
    yield held
    held.release()


def test_a_second_one_is_refused_and_told_who_has_it(lock, tmp_path):
    """The process id says whom to end."""
    with pytest.raises(TakenError, match=rf"pid {os.getpid()}\)") as caught:
        RunLock(tmp_path).acquire()
    assert "\n" not in str(caught.value)


def test_it_is_free_when_let_go(lock, tmp_path):
    """And the file stays, so that all ask the same one."""
    assert is_held(tmp_path) is True
    lock.release()
    assert is_held(tmp_path) is False
    assert (tmp_path / LOCK_NAME).exists()
    other = RunLock(tmp_path)
    other.acquire()
    other.release()


def test_a_removed_lock_file_is_no_lock(lock, tmp_path):
    """Who removed the run directory could have started another daemon; so it is taken again."""
    (tmp_path / LOCK_NAME).unlink()
    assert not lock.is_held_here()
    lock.acquire()
    assert lock.is_held_here()


def test_who_was_faster_after_a_removal_has_it(lock, tmp_path):
    """Two daemons on one directory end as one."""
    (tmp_path / LOCK_NAME).unlink()
    faster = RunLock(tmp_path)
    faster.acquire()
    with pytest.raises(TakenError):
        lock.acquire()
    faster.release()


def test_a_link_in_its_place_is_not_followed(tmp_path):
    """Else the daemon would write its number into a file of somebody's choice."""
    (tmp_path / "precious").write_text("data", encoding="utf-8")
    (tmp_path / LOCK_NAME).symlink_to("precious")
    with pytest.raises(SyncError, match="cannot be written"):
        RunLock(tmp_path).acquire()
    assert (tmp_path / "precious").read_text(encoding="utf-8") == "data"


def test_nobody_was_ever_there(tmp_path):
    """`meshware status` asks before the first daemon ran."""
    assert is_held(tmp_path) is False
