"""New addresses of names are published by themselves, and what fails on the way is made up for."""

from __future__ import annotations

import time

import pytest
from dns_world import entry
from sync_world import PATIENCE_S, Recorded, made_places

from meshware.clock import SystemClock
from meshware.runtime.dns_schedule import Bad, Good
from meshware.runtime.lookups import Lookups
from meshware.syncd import publish
from meshware.syncd.directory import DirectorySource
from meshware.syncd.keeper import Keeper


class World:
    """A keeper over a source with a name, and a network that answers as a test says."""

    def __init__(self, root) -> None:
        self.places = made_places(root)
        self.source = root / "mesh" / "api.yaml"
        self.source.write_text(entry(8080), encoding="utf-8")
        self.addresses = {"api.test": "10.0.0.1"}
        self.announced = Recorded()
        self.lookups = Lookups(lambda: self.look_up, self.announced.note)
        source = DirectorySource([root / "mesh"])
        self.keeper = Keeper(self.places, source, self.announced, SystemClock(), self.lookups)
        assert self.keeper.read(PATIENCE_S).ok

    def look_up(self, name):
        found = self.addresses.get(name)
        return Good((found,), 1.0) if found else Bad("nxdomain", "no such name")

    def move(self, address: str) -> None:
        """Have the name at another address, and wait until that is found."""
        self.addresses["api.test"] = address
        until = time.monotonic() + PATIENCE_S
        while not self.keeper.has_news:
            assert time.monotonic() < until
            time.sleep(0.01)

    def says(self, words: str) -> bool:
        """Say whether the policy file has some words."""
        return words.encode() in self.places.policy_file.read_bytes()


@pytest.fixture
def world(tmp_path):
    made = World(tmp_path)
    yield made
    made.lookups.stop()
    made.keeper.close()


def test_new_addresses_are_a_new_generation(world):
    """The sources are not read for it, and nothing else changes."""
    assert world.says('"10.0.0.1"')
    world.move("10.0.0.2")
    world.keeper.refresh()
    assert world.says('"10.0.0.2"')
    assert world.announced.events == [("published", 1), ("refreshed", 2)]
    assert world.keeper.current_figures().dns.names == 1
    world.keeper.refresh()
    assert len(world.announced.events) == 2


def test_addresses_that_cannot_be_written_are_written_later(world, monkeypatch):
    """A disk that is full for a while; the answer is not looked up again for it."""

    def full(*_arguments, **_options):
        raise OSError(28, "No space left on device")

    world.move("10.0.0.2")
    with monkeypatch.context() as broken:
        broken.setattr(publish, "replace_file", full)
        with pytest.raises(OSError, match="No space"):
            world.keeper.refresh()
        assert world.says('"10.0.0.1"')
    world.keeper.refresh()
    assert world.says('"10.0.0.2"')


def test_policy_that_is_refused_when_it_is_written_leaves_the_names_of_what_stays(
    world, monkeypatch
):
    """Else those would be looked up no more, while calls still go to them."""
    world.source.write_text(entry(8080, "other.test"), encoding="utf-8")
    with monkeypatch.context() as small:
        small.setattr(publish, "MAX_BYTES", 10)
        assert not world.keeper.read().ok
    world.move("10.0.0.2")
    world.keeper.refresh()
    assert world.says('"10.0.0.2"')
    assert world.says("api.test")
    assert not world.says("other.test")
