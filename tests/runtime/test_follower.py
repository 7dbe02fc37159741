"""Following policy: what comes into force, what is refused, and what stays."""

from __future__ import annotations

import logging
import os
import threading
import time
from pathlib import Path

import pytest
from policy_files import Cell, Said, build, records_of, write

from meshware.errors import PolicyError
from meshware.runtime.follower import Follower
from meshware.runtime.sources import sweep

HOUR_NS = 3_600_000_000_000


class World:
    """A follower over a directory, and all that it told."""

    def __init__(self, directory: Path, name: str = "policy.mesh") -> None:
        self.path = directory / name
        self.later_ns = HOUR_NS  # how long ago the files seem to have been written
        self.cell = Cell()
        self.applied: list[Said] = []
        self.refused: list[tuple[str, int | None]] = []
        self.follower = Follower(
            self.path,
            self.cell,  # type: ignore[arg-type]
            build,  # type: ignore[arg-type]
            on_applied=self.applied.append,  # type: ignore[arg-type]
            on_refused=lambda reason, generation: self.refused.append((reason, generation)),
            compile_them=compile_words,
            now_ns=lambda: time.time_ns() + self.later_ns,
        )
        self.look = self.follower.poll_once


def compile_words(path: Path) -> dict[str, bytes]:
    """Stands for the YAML compiler: the sources say one word, `broken` has problems."""
    files = sorted(path.iterdir()) if path.is_dir() else [path]
    word = " ".join(file.read_text() for file in files)
    if "broken" in word:
        raise PolicyError("spec: is broken")
    return records_of(word)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def test_policy_comes_into_force_when_it_is_there(world):
    """Nothing is there, then a file is, then a newer one."""
    assert not world.look()
    assert world.cell.current is None
    write(world.path, "one", 1)
    assert world.look()
    assert world.cell.current == Said("one", 1)
    write(world.path, "two", 2)
    assert world.look()
    assert world.applied == [Said("one", 1), Said("two", 2)]
    assert world.refused == []


def test_a_file_that_did_not_change_is_not_read_again(world, monkeypatch):
    """A look costs one `stat` while nothing changes."""
    write(world.path, "one", 1)
    assert world.look()
    monkeypatch.setattr("meshware.runtime.readers.open_policy_file", pytest.fail)
    assert not world.look()


def test_the_same_policy_written_again_is_not_taken_up_again(world):
    """A copy over itself, or a touch, changes nothing."""
    write(world.path, "one", 1)
    world.look()
    write(world.path, "one", 1)
    os.utime(world.path)
    assert not world.look()
    assert (len(world.applied), world.refused) == (1, [])


def test_the_same_content_under_a_new_generation_comes_into_force(world):
    """A rollback republishes old content under a new generation, and workers say they have it."""
    write(world.path, "one", 1)
    world.look()
    write(world.path, "one", 2)
    assert world.look()
    assert world.cell.current == Said("one", 2)


def test_the_generation_never_goes_back(world):
    """An older file in place of the newer is refused, whoever put it there."""
    write(world.path, "two", 2)
    world.look()
    write(world.path, "one", 1)
    assert not world.look()
    assert world.cell.current == Said("two", 2)
    assert "generation 1 is older than 2" in world.refused[0][0]
    write(world.path, "three", 3)
    assert world.look()
    assert world.cell.current == Said("three", 3)


def test_other_content_under_the_same_generation_is_refused(world):
    """Two files of one generation cannot both be meant."""
    write(world.path, "one", 1)
    world.look()
    write(world.path, "other", 1)
    assert not world.look()
    assert world.cell.current == Said("one", 1)
    assert "in force with other content" in world.refused[0][0]


def test_what_does_not_compile_is_refused_and_the_last_good_stays(world):
    """A refusal names its generation, and the next good one is taken up."""
    write(world.path, "one", 1)
    world.look()
    write(world.path, "bad", 2)
    assert not world.look()
    assert world.cell.current == Said("one", 1)
    assert world.refused == [("it does not compile", 2)]
    write(world.path, "three", 3)
    assert world.look()
    assert world.cell.current == Said("three", 3)


def test_a_mistake_of_ours_while_building_is_a_refusal(world, caplog):
    """The thread lives on, the last good policy stays, and the log has the traceback."""
    write(world.path, "one", 1)
    world.look()
    write(world.path, "bug", 2)
    assert not world.look()
    assert world.cell.current == Said("one", 1)
    assert "RuntimeError: a mistake" in world.refused[0][0]
    assert "Traceback" in caplog.text
    write(world.path, "three", 3)
    assert world.look()


def tear(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-3])


def fill_with_zeros(path: Path) -> None:
    path.write_bytes(b"\0" * path.stat().st_size)


def let_others_write(path: Path) -> None:
    path.chmod(0o666)


def make_it_a_directory(path: Path) -> None:
    path.unlink()
    path.mkdir()
    (path / "policy.yaml").write_text("good")


@pytest.mark.parametrize("damage", [tear, fill_with_zeros, let_others_write, make_it_a_directory])
def test_a_damaged_file_is_refused_and_the_last_good_stays(world, damage):
    """Whatever befalls the file, policy in force stays; once it is whole again it is followed."""
    write(world.path, "one", 1)
    world.look()
    damage(world.path)
    for _ in range(3):
        assert not world.look()
    assert world.cell.current == Said("one", 1)
    if world.path.is_dir():
        (world.path / "policy.yaml").unlink()
        world.path.rmdir()
    write(world.path, "two", 2)
    assert world.look()
    assert world.cell.current == Said("two", 2)


def test_each_refusal_is_told_once(world, caplog):
    """A file that stays bad for a day is not a day of log lines."""
    write(world.path, "one", 1)
    world.look()
    write(world.path, "bad", 2)
    caplog.clear()
    for _ in range(5):
        os.utime(world.path)
        world.look()
    assert len(world.refused) == 1
    assert [r.message for r in caplog.records] == [
        "it does not compile; generation 1 stays in force"
    ]
    write(world.path, "bad", 3)
    world.look()
    assert len(world.refused) == 2


def test_a_refusal_that_comes_back_after_good_policy_is_told_again(world):
    """Once policy was good, the same mistake is news."""
    for generation in (1, 3):
        write(world.path, "one", generation)
        world.look()
        (world.path).write_bytes(b"nothing\n")
        world.look()
    assert len(world.refused) == 2


def test_the_file_and_its_directory_may_be_deleted_and_made_again(tmp_path, caplog):
    """The last good policy stays, that is said once, and what comes back is followed."""
    directory = tmp_path / "run"
    directory.mkdir()
    world = World(directory)
    write(world.path, "one", 1)
    world.look()
    world.path.unlink()
    directory.rmdir()
    caplog.set_level(logging.WARNING)
    for _ in range(3):
        assert not world.look()
    assert world.cell.current == Said("one", 1)
    assert len([r for r in caplog.records if "is gone; generation 1 stays" in r.message]) == 1
    directory.mkdir()
    write(world.path, "two", 2)
    assert world.look()
    assert world.cell.current == Said("two", 2)


def test_while_there_is_no_policy_that_is_said_once(world, caplog):
    """A process that starts before the daemon waits, and says what it waits for."""
    for _ in range(3):
        world.look()
    assert [r.levelname for r in caplog.records] == ["WARNING"]
    assert f"no policy at {world.path} yet" in caplog.text


def test_a_configmap_swap_is_seen(tmp_path):
    """Kubernetes moves the link ..data to another directory; policy.mesh itself stays as it is."""
    for number, word in ((1, "one"), (2, "two")):
        (tmp_path / f"..{number}").mkdir()
        write(tmp_path / f"..{number}" / "policy.mesh", word, number)
    (tmp_path / "..data").symlink_to("..1")
    (tmp_path / "policy.mesh").symlink_to("..data/policy.mesh")
    world = World(tmp_path)
    assert world.look()
    (tmp_path / "..data_tmp").symlink_to("..2")
    (tmp_path / "..data_tmp").rename(tmp_path / "..data")
    assert world.look()
    assert world.cell.current == Said("two", 2)


def test_a_torn_file_at_the_start_falls_back_to_the_one_before(world):
    """After a power cut the file before is there, and better than no policy at all."""
    write(world.path.with_name("policy.mesh.prev"), "one", 1)
    write(world.path, "two", 2)
    fill_with_zeros(world.path)
    assert world.look()
    assert world.cell.current == Said("one", 1)
    assert len(world.refused) == 1
    write(world.path, "two", 2)
    assert world.look()
    assert world.cell.current == Said("two", 2)


def test_a_torn_file_later_does_not_bring_back_the_one_before(world):
    """With policy in force nothing older is ever taken up."""
    write(world.path.with_name("policy.mesh.prev"), "one", 1)
    write(world.path, "two", 2)
    world.look()
    fill_with_zeros(world.path)
    assert not world.look()
    assert world.cell.current == Said("two", 2)


def test_a_file_that_cannot_be_read_now_is_tried_again(world, monkeypatch):
    """Out of descriptors: named once, and over when there are some again."""

    def out_of_descriptors(*_: object) -> None:
        raise OSError(24, "Too many open files")

    write(world.path, "one", 1)
    with monkeypatch.context() as patched:
        patched.setattr("meshware.runtime.readers.open_policy_file", out_of_descriptors)
        for _ in range(3):
            assert not world.look()
    assert world.refused == [(f"{world.path} cannot be read: Too many open files", None)]
    assert world.look()
    assert world.cell.current == Said("one", 1)


def test_a_watcher_that_fails_does_not_stop_policy(world, caplog):
    """Whoever is told about policy cannot keep it from coming into force."""

    def fail(*_: object) -> None:
        raise ValueError("a watcher's mistake")

    follower = Follower(world.path, world.cell, build, on_applied=fail, on_refused=fail)
    write(world.path, "one", 1)
    assert follower.poll_once()
    write(world.path, "bad", 2)
    assert not follower.poll_once()
    assert world.cell.current == Said("one", 1)
    assert caplog.text.count("a watcher's mistake") >= 2


# --- YAML ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["mesh.yaml", "mesh.yml", "mesh.json"])
def test_a_yaml_file_is_compiled_here(tmp_path, name):
    """MESH_CONFIG may name YAML: policy without a daemon."""
    world = World(tmp_path, name)
    assert not world.look()
    world.path.write_text("one")
    assert world.look()
    assert world.cell.current == Said("one", 1)


def test_a_directory_is_compiled_here_and_followed_when_it_holds_still(tmp_path):
    """An edit counts once two looks have seen the same: an editor may still be writing."""
    world = World(tmp_path, "mesh")
    world.path.mkdir()
    (world.path / "a.yaml").write_text("one")
    assert world.look()
    (world.path / "a.yaml").write_text("two, half")
    assert not world.look()
    (world.path / "a.yaml").write_text("two")
    assert not world.look()
    assert world.look()
    assert world.cell.current == Said("two", 2)
    assert not world.look()


def test_sources_that_never_hold_still_are_read_anyway(tmp_path):
    """Edits that go on and on do not keep policy old for ever."""
    world = World(tmp_path, "a.yaml")
    world.path.write_text("0")
    world.look()
    taken_up = 0
    for number in range(1, 40):
        world.path.write_text("x" * number)
        taken_up += world.look()
    assert taken_up >= 3


def test_broken_sources_are_refused_and_the_last_good_stays(tmp_path):
    """All their problems are in the refusal."""
    world = World(tmp_path, "a.yaml")
    world.path.write_text("one")
    world.look()
    world.path.write_text("broken")
    world.look()
    world.look()
    world.look()
    assert world.cell.current == Said("one", 1)
    assert world.refused == [("spec: is broken", None)]
    world.path.write_text("two")
    world.look()
    assert world.look()
    assert world.cell.current == Said("two", 2)


def test_sources_that_say_the_same_are_not_taken_up_again(tmp_path):
    """A touch is no new generation."""
    world = World(tmp_path, "a.yaml")
    world.path.write_text("one")
    world.look()
    os.utime(world.path, ns=(1, 1))
    assert not world.look()
    assert not world.look()
    assert world.cell.current == Said("one", 1)


def test_a_second_edit_within_one_tick_of_the_clock_is_seen(tmp_path, monkeypatch):
    """Two edits of equal length in one tick look the same from outside: look inside once more."""
    world = World(tmp_path, "a.yaml")
    world.path.write_text("one")
    as_before = sweep([world.path])
    monkeypatch.setattr("meshware.runtime.readers.sweep", lambda _paths: as_before)
    world.later_ns = 0
    assert world.look()
    world.path.write_text("two")
    assert not world.look()
    world.later_ns = HOUR_NS
    assert world.look()
    assert world.cell.current == Said("two", 2)
    world.path.write_text("who")
    assert not world.look()


# --- its thread ------------------------------------------------------------------------------


def followers() -> int:
    """How many following threads there are."""
    return sum(thread.name == "meshware-follower" for thread in threading.enumerate())


def test_nothing_runs_before_start(world):
    """Servers fork after import: neither import nor construction starts anything."""
    write(world.path, "one", 1)
    assert followers() == 0
    assert world.cell.current is None


def test_start_finds_policy_before_it_returns_and_may_be_called_again(world):
    """A call right behind `start` finds policy, and every call may say `start`."""
    write(world.path, "one", 1)
    try:
        world.follower.start()
        assert world.cell.current == Said("one", 1)
        for _ in range(100):
            world.follower.start()
        assert followers() == 1
    finally:
        world.follower.stop()
    assert followers() == 0


def test_many_first_calls_start_one_thread(world):
    """The first calls of a server come at once."""
    write(world.path, "one", 1)
    seen: list[object] = []

    def call() -> None:
        world.follower.start()
        seen.append(world.cell.current)

    threads = [threading.Thread(target=call) for _ in range(20)]
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert seen == [Said("one", 1)] * 20
        assert followers() == 1
    finally:
        world.follower.stop()


def test_a_stopped_follower_starts_again(world):
    """Stop and start, as a server's lifespan does in tests."""
    for number in range(3):
        write(world.path, f"v{number}", number + 1)
        world.follower.start()
        assert world.cell.current.generation == number + 1
        world.follower.stop()
    assert followers() == 0


def test_without_a_thread_to_be_had_the_call_goes_on(world, monkeypatch):
    """At the limit of threads, or while the interpreter ends, policy is what was found."""

    def refuse(_self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    write(world.path, "one", 1)
    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", refuse)
        world.follower.start()
    assert world.cell.current == Said("one", 1)
    world.follower.start()
    assert followers() == 1
    world.follower.stop()
