"""Policy in a Kubernetes ConfigMap: each swap of `..data` is followed, and none by half."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest
from command_forge import PATIENCE_S, forging
from sync_runs import SYNC, daemon
from sync_world import BROKEN, service

from meshware.policy.file import decode

SWAPS = 6

# An app that reads the YAML by itself. It prints what two services of two files say, whenever that
# has changed; both answers are of the one snapshot that was read.
APP = """
import json, time
from meshware.runtime.mesh import Mesh

mesh, said = Mesh.from_env(), None
mesh.start()
while True:
    snapshot = mesh.cell.current
    if snapshot is not None:
        clusters = [snapshot.cluster((f"{name}.example.com", 80, "")) for name in ("one", "two")]
        found = [cluster.endpoints[0].address for cluster in clusters]
        if found != said:
            said = found
            print(json.dumps(found), flush=True)
    time.sleep(0.005)
"""


class ConfigMap:
    """A mounted ConfigMap, swapped as the kubelet does it.

    Source: Kubernetes, pkg/volume/util/atomic_writer.go.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.version = 0
        path.mkdir()
        self.swap()
        for name in ("one.yaml", "two.yaml"):
            (path / name).symlink_to(f"..data/{name}")

    def swap(self, broken: str | None = None) -> str:
        """Put the next version in place, and return the address that it says."""
        self.version += 1
        address = f"10.0.0.{self.version}"
        fresh = self.path / f"..2030_01_01_{self.version:03}"
        fresh.mkdir()
        (fresh / "one.yaml").write_text(service("one", address), encoding="utf-8")
        (fresh / "two.yaml").write_text(broken or service("two", address), encoding="utf-8")
        link = self.path / "..data"
        before = link.resolve() if link.exists() else None
        (self.path / "..data_tmp").symlink_to(fresh.name)
        os.replace(self.path / "..data_tmp", link)
        if before is not None:
            for file in before.iterdir():
                file.unlink()
            before.rmdir()
        return address


@pytest.fixture
def mounted(tmp_path):
    """A ConfigMap, mounted at `mesh`."""
    return ConfigMap(tmp_path / "mesh")


@pytest.fixture
def forge(mounted, tmp_path):
    """A maker of processes."""
    with forging(tmp_path) as made:
        yield made


def test_the_daemon_follows_every_swap(mounted, forge):
    """No event of a file tells of it, only one of the link; and each is one whole version."""
    with daemon(forge) as made:
        for _ in range(SWAPS):
            address = mounted.swap()
            made.wait_for(lambda address=address: made.says(f'"{address}"'))
            _header, records = decode(made.policy_file.read_bytes())
            endpoints = [value for key, value in records.items() if key.startswith("ep/")]
            assert len(endpoints) == 2
            assert all(f'"{address}"'.encode() in record for record in endpoints)
        assert made.err() == ""
        assert made.generation() == SWAPS + 1


def test_a_swap_to_something_broken_is_refused_and_the_next_one_goes_through(mounted, forge):
    """With the name of the file as it is seen in the mount, not in a hidden directory."""
    with daemon(forge) as made:
        before = made.policy_file.read_bytes()
        mounted.swap(broken=BROKEN)
        made.wait_for(lambda: "refused" in made.err())
        assert made.err().startswith("mesh/two.yaml:6: error: ")
        assert made.policy_file.read_bytes() == before
        address = mounted.swap()
        made.wait_for(lambda: made.says(f'"{address}"'))


def test_once_reads_each_file_of_a_config_map_once(mounted, forge):
    """The files are seen by their links, and their hidden directories are not looked into."""
    assert forge.run(*SYNC, "--once").out == "published generation 1: 2 resources\n"
    assert forge.run("check", "mesh", "--strict").code == 0


def test_an_app_without_a_daemon_follows_every_swap(mounted, forge):
    """MESH_CONFIG names the mount itself; both files change in one step for every call."""
    app = forge.start(program=APP, environ={"MESH_CONFIG": "mesh"})
    try:
        expected = ["10.0.0.1"]
        for turn in range(SWAPS):
            broken = turn == SWAPS // 2
            give_up = time.monotonic() + PATIENCE_S
            while len(app.out().splitlines()) < len(expected):
                assert time.monotonic() < give_up, f"{expected}: {app.out()}{app.err()}"
                assert app.is_running(), app.err()
                time.sleep(0.01)
            if broken:
                mounted.swap(broken=BROKEN)  # refused, and said; the last good one stays
                while "mesh/two.yaml:6" not in app.err():
                    assert time.monotonic() < give_up, app.err()
                    time.sleep(0.01)
            expected.append(mounted.swap())
        give_up = time.monotonic() + PATIENCE_S
        while len(app.out().splitlines()) < len(expected) and time.monotonic() < give_up:
            time.sleep(0.01)
        assert [json.loads(line) for line in app.out().splitlines()] == [
            [address, address] for address in expected
        ]
    finally:
        app.end()
