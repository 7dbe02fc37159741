"""Identities follow policy that is in force: not what was refused, not what was lost or is old."""

from __future__ import annotations

import pytest
from ca_world import mesh_policy, svid_in
from sync_world import Recorded, made_places

from meshware.clock import SystemClock
from meshware.runtime.lookups import Lookups
from meshware.syncd import publish
from meshware.syncd.directory import DirectorySource
from meshware.syncd.keeper import Keeper

BROKEN = "kind: [\n"


class World:
    """A source, and daemons that come and go over it."""

    def __init__(self, root) -> None:
        self.root = root
        self.places = made_places(root)
        for path in (root / "mesh").iterdir():
            path.unlink()
        self._keeper: Keeper | None = None

    def write(self, text: str) -> None:
        (self.root / "mesh" / "mesh.yaml").write_text(text, encoding="utf-8")

    def start(self) -> Keeper:
        """Start a daemon, as `run_daemon` does."""
        self.stop()
        announced = Recorded()
        keeper = self._keeper = Keeper(
            self.places,
            DirectorySource([self.root / "mesh"]),
            announced,
            SystemClock(),
            Lookups(lambda: pytest.fail, announced.note),
        )
        if not keeper.read(0.0).ok:
            keeper.restore()
        keeper.keep_identities()
        return keeper

    def stop(self) -> None:
        if self._keeper is not None:
            self._keeper.close()

    def issued(self) -> set[str]:
        """The accounts that have a key."""
        return {path.parent.name for path in self.root.glob("run/identity/default/*/svid.pem")}


@pytest.fixture
def world(tmp_path):
    made = World(tmp_path)
    yield made
    made.stop()


@pytest.mark.parametrize("accounts", [(), ("mail",)], ids=["none", "another"])
def test_an_account_that_policy_removed_does_not_come_back(world, accounts):
    """Not when the sources break later and the daemon starts by what it kept."""
    world.write(mesh_policy("web"))
    world.start()
    assert world.issued() == {"web"}
    world.write(mesh_policy(*accounts))
    world.start()
    assert world.issued() == set(accounts)
    world.write(BROKEN)
    world.start()
    assert world.issued() == set(accounts)


@pytest.mark.parametrize("harm", ["removed", "damaged"])
def test_a_lost_plan_takes_nobodys_key(world, harm):
    """Nobody has said that they are to have none."""
    world.write(mesh_policy("web"))
    world.start()
    before = svid_in(world.root / "run").digest
    world.write(BROKEN)
    if harm == "removed":
        world.places.plan_file.unlink()
    else:
        world.places.plan_file.write_text("{")
    keeper = world.start()
    assert svid_in(world.root / "run").digest == before
    world.write(mesh_policy("web", "mail"))
    assert keeper.read(0.0).ok
    keeper.keep_identities()
    assert world.issued() == {"web", "mail"}
    assert svid_in(world.root / "run").digest == before
    assert world.places.plan_file.exists()


def test_policy_that_could_not_be_published_changes_no_identity(world, monkeypatch):
    """Else some would follow policy that no worker has."""
    world.write(mesh_policy("web"))
    keeper = world.start()
    generation = keeper.read(0.0).generation

    def full(*_arguments, **_options):
        raise OSError(28, "No space left on device")

    world.write(mesh_policy("mail"))
    with monkeypatch.context() as broken:
        broken.setattr(publish, "replace_file", full)
        with pytest.raises(OSError, match="No space"):
            keeper.read(0.0)
    keeper.keep_identities()
    assert world.issued() == {"web"}
    outcome = keeper.read(0.0)
    assert outcome.ok and outcome.generation > generation
    keeper.keep_identities()
    assert world.issued() == {"mail"}
