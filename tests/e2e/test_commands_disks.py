"""Disks that are full and places of somebody else: the place is told, and nothing is lost."""

from __future__ import annotations

import os
import shutil
import subprocess

import pytest
from command_forge import NOBODY, forging
from sync_runs import SYNC, daemon, write
from sync_world import service

from meshware.runtime.policy_file import open_policy_file, trusted_owners

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to mount and to act for all")

TOO_MUCH = "---\n".join(service(f"s{number}") for number in range(150))


@pytest.fixture
def place(tmp_path):
    """A directory with a source of one service."""
    (tmp_path / "mesh").mkdir()
    write(tmp_path / "mesh" / "shop.yaml", service("shop"))
    return tmp_path


@pytest.fixture
def forge(place):
    """A maker of commands."""
    with forging(place) as made:
        yield made


@pytest.fixture
def tiny(place):
    """A disk with room for a small policy file and not for a large one."""
    path = place / "tiny"
    path.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=20k", "tmpfs", path],
        check=False,
        capture_output=True,
        timeout=20,
    )
    if mounted.returncode:
        pytest.skip(f"no file system can be mounted here: {mounted.stderr.decode().strip()}")
    yield path
    subprocess.run(["umount", "--lazy", path], check=True, timeout=20)


def temporaries(place) -> list:
    """Temporary files that were left."""
    return list(place.rglob(".*.tmp"))


# --- full disks -----------------------------------------------------------------------------------


@pytest.mark.parametrize("is_run_dir", [True, False], ids=["run directory", "state directory"])
def test_once_on_a_full_disk_names_the_file_and_leaves_nothing(tiny, place, forge, is_run_dir):
    """The policy of before stays whole."""
    run, state = ("tiny/run", "state") if is_run_dir else ("run", "tiny/state")
    file = "policy.mesh" if is_run_dir else "last.mesh"
    words = ("sync", "--source", "mesh", "--run-dir", run, "--state-dir", state, "--once")
    assert forge.run(*words).code == 0
    write(place / "mesh" / "many.yaml", TOO_MUCH)
    ended = forge.run(*words)
    assert (ended.code, ended.out) == (2, "")
    [line] = ended.err.splitlines()
    assert file in line and "no space left on device" in line
    records = open_policy_file(place / run / "policy.mesh", trusted_owners(None))
    assert list(records.keys("svc/shop"))
    assert temporaries(place) == []


def test_a_daemon_on_a_full_disk_goes_on_and_publishes_when_there_is_room(tiny, place, forge):
    """It says so once, keeps the policy of before, and needs no help afterwards."""
    words = ("sync", "--source", "mesh", "--run-dir", "tiny/run", "--state-dir", "state")
    with daemon(forge, *words, run_dir="tiny/run") as made:
        before = made.policy_file.read_bytes()
        write(place / "mesh" / "many.yaml", TOO_MUCH)
        made.wait_for(lambda: "no space left on device; trying again" in made.err())
        assert made.policy_file.read_bytes() == before
        subprocess.run(["mount", "-o", "remount,size=2m", tiny], check=True, timeout=20)
        made.wait_for(lambda: made.says("s149.example.com"))
        assert made.err().count("trying again") <= 2, "once for the policy, once for the status"
    assert temporaries(place) == []


def test_init_on_a_full_disk_leaves_no_half_of_an_example(tiny, forge):
    """Else the next try would be told that the files exist already."""
    (tiny / "ballast").write_bytes(b"x" * 12_000)
    ended = forge.run("init", "tiny/mesh")
    assert (ended.code, ended.out) == (2, "")
    [line] = ended.err.splitlines()
    assert "tiny/mesh/" in line and "no space left on device" in line
    assert list((tiny / "mesh").glob("*.yaml")) == []
    (tiny / "ballast").unlink()
    assert forge.run("init", "tiny/mesh").code in (0, 2)


# --- other users ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A maker of commands, where root has published, and others may enter but one directory."""
    place = tmp_path_factory.mktemp("others")
    for name in ("mesh", "secret"):
        (place / name).mkdir()
        write(place / name / "shop.yaml", service("shop"))
    (place / "secret").chmod(0o700)
    (place / "theirs").mkdir()
    (place / "theirs").chmod(0o777)
    with forging(place) as made:
        assert made.run(*SYNC, "--once").code == 0
        shutil.copy(place / "run" / "policy.mesh", place / "foreign.mesh")
        os.chown(place / "foreign.mesh", 12345, 12345)
        yield made


@pytest.mark.parametrize(
    ("words", "names"),
    [
        ("check secret", "secret"),
        ("check secret/shop.yaml", "secret/shop.yaml"),
        ("init secret", "secret/mesh.yaml"),
        ("init secret/x", "secret/x"),
        ("init mesh/x", "mesh/x"),
        ("status --run-dir secret", "secret"),
        ("status --run-dir secret/run", "secret/run"),
        ("explain --policy secret --workload web", "secret"),
        ("explain --policy secret/policy.mesh --workload web", "secret/policy.mesh"),
        ("sync --once --source secret --run-dir theirs/run --state-dir theirs/s", "secret"),
        ("sync --once --source mesh --run-dir mesh2 --state-dir theirs/s", "mesh2"),
        ("sync --once --source mesh --run-dir secret/run --state-dir theirs/s", "secret/run"),
        ("sync --once --source mesh --run-dir theirs/run --state-dir secret/s", "secret/s"),
        ("sync --once --source mesh --run-dir run --state-dir theirs/s", "run"),
    ],
)
def test_what_another_user_may_not_do_is_one_sentence(root, words, names):
    """It names the place and the reason."""
    ended = root.run(*words.split(), user=NOBODY, stdin=b'{"direction": "inbound"}')
    assert (ended.code, ended.out) == (2, ""), ended
    [line] = ended.err.splitlines()
    assert names in line and "permission denied" in line.lower()
    assert "Traceback" not in ended.err


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        ("secret", "secret:1: error: cannot be read: Permission denied"),
        ("secret/policy.mesh", "secret/policy.mesh cannot be read: Permission denied"),
        ("foreign.mesh", "foreign.mesh belongs to user 12345"),
        ("x" * 300, "cannot be read: File name too long"),
    ],
    ids=["directory", "file within", "of a third user", "too long a name"],
)
def test_an_app_that_may_not_read_its_policy_says_so_and_lives(root, config, reason):
    """Following policy must never throw into a call, or into an app's start."""
    program = """
from meshware.runtime.mesh import Mesh

mesh = Mesh.from_env()
mesh.start()
print(mesh.cell.current)
"""
    ended = root.run(
        program=program, environ={"MESH_CONFIG": config, "MESH_RUN_DIR": "run"}, user=NOBODY
    )
    assert (ended.code, ended.out) == (0, "None\n"), ended.err
    assert reason in ended.err and "Traceback" not in ended.err
    assert "every call is refused" in ended.err


def test_a_policy_file_of_a_third_user_is_taken_where_it_is_named(root):
    """MESH_POLICY_OWNER says whom else to trust."""
    program = (
        "from meshware.runtime.mesh import Mesh; mesh = Mesh.from_env(); mesh.start(); "
        "print(mesh.cell.current.generation)"
    )
    environ = {"MESH_CONFIG": "foreign.mesh", "MESH_POLICY_OWNER": "12345"}
    ended = root.run(program=program, environ=environ, user=NOBODY)
    assert (ended.code, ended.out) == (0, "1\n"), ended.err
