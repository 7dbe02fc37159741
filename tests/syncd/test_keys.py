"""Keys of issuers, by the daemon's keeper: real servers and workers, and a clock that is moved."""

from __future__ import annotations

import random
import time

import pytest
from key_server import key_server, key_set, new_key, says
from key_world import fetching, published_ids, users
from sync_world import PATIENCE_S, Recorded, made_places, service

from meshware.clock import SystemClock
from meshware.runtime.dns_lookup import lookup_for
from meshware.runtime.lookups import Lookups
from meshware.syncd.directory import DirectorySource
from meshware.syncd.keeper import Keeper


class World:
    """A keeper over a source that names an address of keys, and the server there."""

    def __init__(self, root, server) -> None:
        self.server = server
        self.places = made_places(root)
        self.source = root / "mesh" / "users.yaml"
        self.uri = server.uri()
        self.source.write_text(users(self.uri, timeout="2s") + fetching(server), encoding="utf-8")
        self.announced = Recorded()
        self.moved_s = 0.0
        self.lookups = Lookups(
            lookup_for,
            self.announced.note,
            rng=random.Random(1),
            monotonic=lambda: self.moved_s,
        )
        source = DirectorySource([root / "mesh"])
        self.keeper = Keeper(self.places, source, self.announced, SystemClock(), self.lookups)

    def ids(self):
        return published_ids(self.places.policy_file, self.uri)

    def pass_s(self, seconds: float) -> None:
        """Let time pass, and threads know of it: they sleep by another clock."""
        self.moved_s += seconds
        self.lookups.unknown_keys([])

    def refresh(self) -> None:
        """Wait for news, and publish them."""
        self.wait_until(lambda: self.keeper.has_news)
        self.keeper.refresh()

    def wait_until(self, condition) -> None:
        until = time.monotonic() + PATIENCE_S
        while not condition():
            assert time.monotonic() < until
            time.sleep(0.01)


@pytest.fixture
def world(tmp_path):
    with key_server(tmp_path) as server:
        server.say(says(key_set(new_key("a"))))
        made = World(tmp_path, server)
        yield made
        made.lookups.stop()
        made.keeper.close()


def test_a_rotated_key_that_a_worker_misses_reaches_its_policy(world, worker):
    """Noted in its report, and fetched as soon as that may be."""
    assert world.keeper.read(PATIENCE_S).ok
    assert world.ids() == ["a"]
    made = worker(world.places.run_dir)
    world.server.say(says(key_set(new_key("a"), new_key("b"))))
    made.tell(f"miss {world.uri}")
    world.keeper.read_reports()
    world.pass_s(29.0)
    time.sleep(0.1)
    assert world.server.times_asked() == 1
    world.pass_s(1.1)
    world.refresh()
    assert world.ids() == ["a", "b"]
    assert world.announced.events == [("published", 1), ("refreshed", 2)]


def test_a_report_that_stays_as_it_is_asks_once(world, worker):
    """And a later want is seen anew, of a new worker too."""
    assert world.keeper.read(PATIENCE_S).ok
    made = worker(world.places.run_dir)
    for asked in (2, 3):
        made.tell(f"flood {world.uri}")
        for _ in range(3):
            world.keeper.read_reports()
            world.pass_s(40.0)
            world.wait_until(lambda asked=asked: world.server.times_asked() == asked)
    worker(world.places.run_dir).tell(f"miss {world.uri}")
    world.keeper.read_reports()
    world.wait_until(lambda: world.server.times_asked() == 4)


def test_keys_are_fetched_again_after_twenty_minutes(world):
    """Though nobody misses one."""
    assert world.keeper.read(PATIENCE_S).ok
    world.server.say(says(key_set(new_key("b"))))
    world.pass_s(1199.0)
    time.sleep(0.1)
    assert world.server.times_asked() == 1
    world.pass_s(2.0)
    world.refresh()
    assert world.ids() == ["b"]


def test_good_keys_stay_through_failures_and_other_edits_are_published(world):
    """Told once, for people too, until it is mended."""
    assert world.keeper.read(PATIENCE_S).ok
    world.server.say(says(b"<html>", "500 Oops"))
    world.pass_s(1201.0)
    world.wait_until(lambda: world.announced.notes)
    assert "the answer is 500 and not 200; those fetched before go on" in world.announced.notes[0]
    (world.source.parent / "other.yaml").write_text(service("other"), encoding="utf-8")
    assert world.keeper.read().ok
    assert world.ids() == ["a"]
    world.keeper.write_status()
    status = world.places.status_file.read_text(encoding="utf-8")
    assert "the answer is 500" in status
    world.pass_s(61.0)
    world.wait_until(lambda: sum(world.lookups.jwks_figures().fetches.values()) == 3)
    world.server.say(says(key_set(new_key("c"))))
    world.pass_s(121.0)
    world.refresh()
    assert world.ids() == ["c"]
    assert len(world.announced.notes) == 2
    assert world.announced.notes[1].endswith("are fetched again")
    figures = world.keeper.current_figures().jwks
    assert dict(figures.fetches) == {"ok": 2, "status": 2}
    world.keeper.write_status()
    assert "500" not in world.places.status_file.read_text(encoding="utf-8")


def test_policy_that_is_refused_leaves_the_keys_of_what_stays(world):
    """They are kept fresh as before."""
    assert world.keeper.read(PATIENCE_S).ok
    good = world.source.read_text(encoding="utf-8")
    world.source.write_text(good.replace("jwksUri", "jwksUry"), encoding="utf-8")
    assert not world.keeper.read().ok
    world.server.say(says(key_set(new_key("b"))))
    world.pass_s(1201.0)
    world.refresh()
    assert world.ids() == ["b"]


def test_an_address_that_is_allowed_is_asked_at_once(world, tmp_path):
    """Whoever mends policy waits for it, and need not for the next try."""
    good = world.source.read_text(encoding="utf-8")
    world.source.write_text(users(world.uri) + fetching(world.server, "other"), encoding="utf-8")
    assert world.keeper.read(PATIENCE_S).ok
    assert world.ids() is None
    assert world.server.requests == []
    assert "allowedInternalHosts" in world.announced.notes[0]
    world.source.write_text(good, encoding="utf-8")
    assert world.keeper.read(PATIENCE_S).ok
    assert world.ids() == ["a"]
