"""What a port speaks, by policy and by what is known of it."""

from __future__ import annotations

import msgspec
import pytest
from inbound_servers import records_of

from meshware.clock import SystemClock
from meshware.policy.record_types import PeerModes, WorkloadRecord
from meshware.policy.snapshot import SnapshotCell, build_snapshot
from meshware.policy.view import Client
from meshware.runtime.mesh import Mesh
from meshware.servers.modes import mode_of, spoken

KEY = "workload/default/app"


class Found:
    """Records, as a policy file hands them out."""

    def __init__(self, records):
        self._records = records

    def get(self, key):
        return self._records.get(key)

    def digest(self, key):
        return str(hash(self._records.get(key)))

    def keys(self):
        return self._records.keys()


def mesh_with(modes, account="app", name="app"):
    """A mesh in which the workload `default/app` has these modes."""
    records = records_of()
    workload = msgspec.json.decode(records[KEY], type=WorkloadRecord)
    changed = msgspec.structs.replace(workload, service_account=account, peer=modes)
    client = Client(namespace="default", name=name)
    snapshot = build_snapshot(
        Found({**records, KEY: msgspec.json.encode(changed)}),
        client,
        generation=1,
        on_refusal=lambda name, error: None,
    )
    return Mesh(client=client, cell=SnapshotCell(snapshot), clock=SystemClock())


@pytest.mark.parametrize(
    ("modes", "port", "then"),
    [
        pytest.param(PeerModes(), 80, "PERMISSIVE", id="nothing is said"),
        pytest.param(PeerModes(mode="STRICT"), 80, "STRICT", id="of the workload"),
        pytest.param(PeerModes(mode="DISABLE"), None, "DISABLE", id="no port known"),
        pytest.param(
            PeerModes(mode="STRICT", ports={"81": "DISABLE"}), 81, "DISABLE", id="of the port"
        ),
        pytest.param(
            PeerModes(mode="STRICT", ports={"81": "DISABLE"}), 80, "STRICT", id="of another port"
        ),
        pytest.param(
            PeerModes(mode="DISABLE", ports={"81": "STRICT", "82": "PERMISSIVE"}),
            None,
            "STRICT",
            id="no port known, so the strictest of all",
        ),
        pytest.param(
            PeerModes(mode="DISABLE", ports={"1": "PERMISSIVE"}),
            None,
            "PERMISSIVE",
            id="no port known, and none is strict",
        ),
    ],
)
def test_a_port_has_the_mode_that_policy_gives_it(modes, port, then):
    assert mode_of(mesh_with(modes), port) == then


def test_without_policy_a_port_takes_calls_to_answer_them_503():
    assert mode_of(Mesh(), 80) == "PERMISSIVE"
    assert spoken(Mesh(), 80) == "DISABLE"


def test_so_it_does_for_a_workload_that_policy_does_not_know():
    assert mode_of(mesh_with(PeerModes(mode="DISABLE"), name="unknown"), 80) == "PERMISSIVE"


@pytest.mark.parametrize(
    ("mode", "account", "then"),
    [
        ("PERMISSIVE", "app", "PERMISSIVE"),
        ("PERMISSIVE", None, "DISABLE"),
        ("STRICT", "app", "STRICT"),
        ("STRICT", None, "STRICT"),
        ("DISABLE", "app", "DISABLE"),
    ],
)
def test_who_has_no_service_account_cannot_take_tls_and_need_not(mode, account, then):
    assert spoken(mesh_with(PeerModes(mode=mode), account), 80) == then
