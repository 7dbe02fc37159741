"""Which mode a port has, and whether a server has anything to do for it."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from meshware.policy.record_types import PeerModes
from meshware.runtime.mesh import Mesh
from meshware.servers.accepted import minds
from meshware.servers.modes import mode_of


def _mesh(peer: PeerModes | None, *, has_account: bool = True) -> Mesh:
    mesh = Mesh()
    inbound = None if peer is None else SimpleNamespace(peer=peer)
    account = object() if has_account else None
    mesh.cell = SimpleNamespace(current=SimpleNamespace(inbound=inbound, id=account))
    return mesh


PERMISSIVE = PeerModes()
PORTS = PeerModes(mode="PERMISSIVE", ports={"8080": "DISABLE", "8443": "STRICT"})


@pytest.mark.parametrize(
    ("peer", "port", "mode"),
    [
        (PERMISSIVE, 80, "PERMISSIVE"),
        (PERMISSIVE, None, "PERMISSIVE"),
        (PORTS, 80, "PERMISSIVE"),
        (PORTS, 8080, "DISABLE"),
        (PORTS, 8443, "STRICT"),
        (PORTS, None, "STRICT"),
        (PeerModes(mode="DISABLE", ports={"1": "PERMISSIVE"}), None, "PERMISSIVE"),
        (None, 80, "PERMISSIVE"),
    ],
)
def test_the_mode_is_the_ports_and_the_strictest_where_that_is_unknown(peer, port, mode):
    assert mode_of(_mesh(peer), port) == mode


def test_without_any_policy_calls_are_taken_to_be_answered_503():
    assert mode_of(Mesh(), 80) == "PERMISSIVE"
    assert not minds(Mesh(), 80)


@pytest.mark.parametrize(
    ("mode", "has_account", "does"),
    [
        ("STRICT", True, True),
        ("STRICT", False, True),
        ("PERMISSIVE", True, True),
        ("PERMISSIVE", False, False),
        ("DISABLE", True, False),
    ],
)
def test_permissive_without_an_identity_is_no_matter_of_the_mesh(mode, has_account, does):
    assert minds(_mesh(PeerModes(mode=mode), has_account=has_account), 80) is does
