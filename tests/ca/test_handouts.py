"""What a Unix user is handed, from files that may be out of reach for a moment."""

from __future__ import annotations

import os

import pytest
from ca_world import NOW, authority, plan
from descriptors import no_descriptors

from meshware.ca import handouts
from meshware.ca.handouts import Handouts
from meshware.ca.identities import IdentityFiles
from meshware.ca.plan import write_plan
from meshware.policy.file import encode
from meshware.testing import FakeClock

OWN = os.geteuid()
STRANGER = 4_000_000


class World:
    """A run directory in which `web` has been issued an identity, and a clock at that time."""

    def __init__(self, root) -> None:
        self.run, self.plan_file = root / "run", root / "identities.json"
        self.run.mkdir()
        self.clock = FakeClock(NOW)
        IdentityFiles(self.run).keep(plan("web"), authority(root), NOW, lambda: True)
        policy = encode({"mesh": b"{}"}, generation=1, trust_domain="shop.test")
        (self.run / "policy.mesh").write_bytes(policy)
        write_plan(self.plan_file, plan("web"))
        self.handouts = Handouts(self.run, self.plan_file, self.clock)

    def names(self, uid: int = OWN) -> list[str]:
        """The accounts that a user is handed, a while later."""
        self.clock.advance(1.0)
        return [svid.id.service_account for svid in self.handouts.of(uid).svids]


@pytest.fixture
def world(tmp_path):
    return World(tmp_path)


def test_each_gets_its_own_and_a_stranger_nothing(world):
    assert (world.names(), world.names(STRANGER)) == (["web"], [])


def test_what_could_not_be_opened_for_want_of_descriptors_is_read_later(world):
    """Neither the plan nor an SVID has changed since."""
    with no_descriptors():
        assert world.names() == []
    assert world.names() == ["web"]


def test_a_plan_that_is_gone_or_damaged_leaves_the_last_one(world):
    """The daemon puts it back; meanwhile nobody loses what is theirs."""
    assert world.names() == ["web"]
    world.plan_file.write_text("{")
    assert world.names() == ["web"]
    world.plan_file.unlink()
    assert world.names() == ["web"]
    write_plan(world.plan_file, plan("mail"))
    assert world.names() == []


def test_a_bundle_that_cannot_be_read_ends_nothing(world, caplog):
    """Policy is refused by workers, too, and what was read before stays."""
    before = world.handouts.of(OWN).bundles
    record = b'{"trust_domain": "shop.test", "roots": ["no PEM"]}'
    policy = encode(
        {"mesh": b'{"trust_domain": "shop.test"}', "bundle/shop.test": record},
        generation=2,
        trust_domain="shop.test",
    )
    (world.run / "policy.mesh").write_bytes(policy)
    assert world.names() == ["web"]
    assert world.handouts.of(OWN).bundles == before
    assert "policy.mesh cannot be read" in caplog.text


def test_strangers_who_ask_often_look_up_no_users(world, monkeypatch):
    """The machine's users may be a directory on the network: policy's are asked for seldom."""
    looked_up = []

    def spied(user):
        looked_up.append(user)

    monkeypatch.setattr(handouts, "owner_of", spied)
    for uid in range(STRANGER, STRANGER + 500):
        assert world.handouts.of(uid).svids == ()
    assert len(looked_up) == 1
    world.clock.advance(10.0)
    assert world.names(STRANGER) == []
    assert len(looked_up) == 2
