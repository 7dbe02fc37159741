"""The daemon and its authority: made once, kept, put back, and never where policy wants none."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time

import pytest
from ca_world import TRUST_DOMAIN, mesh_policy, mode_of, needs_root, svid_in, users
from daemons import meshware, running
from identity_world import bundle, daemon_of, keys_of, made_mesh, once, pair, wait_until
from sync_world import service

# --- the first start, and the next ----------------------------------------------------------------


def test_the_first_start_makes_an_authority_and_the_next_takes_it(tmp_path):
    """Modes 0700 and 0600 below the state directory; nothing is issued again without need."""
    made_mesh(tmp_path)
    done = once(tmp_path)
    assert (done.returncode, done.stderr) == (0, b"")
    for path in (tmp_path / "state").rglob("*"):
        assert mode_of(path) == (0o700 if path.is_dir() else 0o600), path
    keys = {path: path.read_bytes() for path in keys_of(tmp_path)}
    assert len(keys) == 2
    before = {name: svid_in(tmp_path / "run", name).digest for name in ("web", "orders")}

    done = once(tmp_path)
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"up to date" in done.stdout
    assert {path: path.read_bytes() for path in keys_of(tmp_path)} == keys
    assert {name: svid_in(tmp_path / "run", name).digest for name in before} == before


def test_a_mesh_without_service_accounts_has_no_authority(tmp_path):
    """It behaves as it did before there were identities: no key is anywhere."""
    (tmp_path / "mesh").mkdir()
    (tmp_path / "mesh" / "shop.yaml").write_text(service("shop"), encoding="utf-8")
    assert once(tmp_path).returncode == 0
    assert not (tmp_path / "run" / "identity").exists()
    assert {path.name for path in (tmp_path / "state").rglob("*") if path.is_file()} == {
        "last.mesh"
    }
    assert bundle(tmp_path) is None


def test_an_account_that_an_edit_brings_has_its_identity_at_once(tmp_path):
    """And with the first of them comes the authority."""
    (tmp_path / "mesh").mkdir()
    (tmp_path / "mesh" / "shop.yaml").write_text(service("shop"), encoding="utf-8")
    with running(tmp_path) as daemon:
        daemon.wait_for(daemon.generation)
        made_mesh(tmp_path, "web")
        svid = tmp_path / "run" / "identity" / "default" / "web" / "svid.pem"
        daemon.wait_for(svid.exists)
        assert bundle(tmp_path) is not None
        made_mesh(tmp_path, "mail")
        mail = svid.parents[1] / "mail" / "svid.pem"
        daemon.wait_for(lambda: mail.exists() and not svid.exists())
        assert svid_in(tmp_path / "run", "mail").id.service_account == "mail"
        (tmp_path / "mesh" / "mesh.yaml").unlink()
        daemon.wait_for(lambda: not mail.exists() and bundle(tmp_path) is None)


@pytest.mark.parametrize("left", ["run", "identity", "policy"])
def test_no_new_root_is_made_where_a_bundle_is_already(tmp_path, left):
    """The state directory is lost: workloads would not believe what a new root vouches for."""
    made_mesh(tmp_path)
    assert once(tmp_path).returncode == 0
    shutil.rmtree(tmp_path / "state")
    if left == "identity":
        (tmp_path / "run" / "policy.mesh").unlink()
    elif left == "policy":
        shutil.rmtree(tmp_path / "run" / "identity")
    before = {path: path.read_bytes() for path in (tmp_path / "run").rglob("*.mesh")}
    done = once(tmp_path)
    assert done.returncode == 2
    [said] = done.stderr.decode().splitlines()
    assert f"there is a bundle of {TRUST_DOMAIN} already, in {tmp_path / 'run'}" in said
    assert "bring the state directory back from a backup" in said
    assert keys_of(tmp_path) == []
    assert {path: path.read_bytes() for path in (tmp_path / "run").rglob("*.mesh")} == before


def test_another_trust_domain_is_another_authority(tmp_path):
    """The root of one vouches for nobody in the other; the first is kept for the way back."""
    path = made_mesh(tmp_path)
    assert once(tmp_path).returncode == 0
    first = bundle(tmp_path)
    path.write_text(path.read_text("utf-8").replace("shop.test", "b.test"), encoding="utf-8")
    done = once(tmp_path)
    assert (done.returncode, done.stderr) == (0, b"")
    assert str(svid_in(tmp_path / "run").id) == "spiffe://b.test/ns/default/sa/web"
    made_mesh(tmp_path)
    assert once(tmp_path).returncode == 0
    assert bundle(tmp_path) == first


# --- what goes missing ----------------------------------------------------------------------------


def test_identities_that_are_deleted_or_damaged_are_put_back(tmp_path):
    """Within a second or so, and the whole directory, too."""
    made_mesh(tmp_path)
    with daemon_of(tmp_path) as daemon:
        web = tmp_path / "run" / "identity" / "default" / "web" / "svid.pem"
        before = svid_in(tmp_path / "run").digest
        web.write_bytes(web.read_bytes()[:200])
        waited = daemon.wait_for(lambda: b"CERTIFICATE" in web.read_bytes())
        assert waited < 3.0
        assert svid_in(tmp_path / "run").digest != before
        shutil.rmtree(tmp_path / "run" / "identity")
        assert daemon.wait_for(web.exists) < 3.0
        shutil.rmtree(tmp_path / "state")
        daemon.wait_for(lambda: len(keys_of(tmp_path)) == 2)
        daemon.wait_for(web.exists)
        with pair(tmp_path / "run") as (caller, server):
            wait_until(lambda: caller.can_call(server))


def test_what_cannot_be_written_is_told_once_and_tried_again(tmp_path):
    """A file in the place of a directory, as a full disk: policy is published all the same."""
    path = made_mesh(tmp_path)
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "identity").write_text("in the way", encoding="utf-8")
    with running(tmp_path) as daemon:
        daemon.wait_for(lambda: "trying again" in daemon.err())
        generation = daemon.generation()
        path.write_text(mesh_policy("web", "orders", "mail"), encoding="utf-8")
        daemon.wait_for(lambda: daemon.generation() > generation)
        time.sleep(2.5)
        [said] = daemon.err().splitlines()
        assert said == f"{tmp_path / 'run' / 'identity'}: not a directory; trying again"
        (tmp_path / "run" / "identity").unlink()
        svid = tmp_path / "run" / "identity" / "default" / "mail" / "svid.pem"
        daemon.wait_for(svid.exists)


@needs_root
def test_a_user_that_is_not_there_keeps_no_other_from_its_identity(tmp_path):
    """It is told once, and mended by an edit."""
    [user] = users(1)
    bound = (
        "{serviceAccount: default/orders, user: no-such-user}, "
        f"{{serviceAccount: default/web, user: {user.pw_name}}}"
    )
    made_mesh(tmp_path, spec=f"  nodeIdentities: [{bound}]\n")
    web = tmp_path / "run" / "identity" / "default" / "web" / "svid.pem"
    with running(tmp_path) as daemon:
        daemon.wait_for(web.exists)
        daemon.wait_for(lambda: "there is no Unix user 'no-such-user'" in daemon.err())
        assert (tmp_path / "run" / "reports" / "default" / "web").stat().st_uid == user.pw_uid
        bound = bound.replace("no-such-user", user.pw_name)
        made_mesh(tmp_path, spec=f"  nodeIdentities: [{bound}]\n")
        daemon.wait_for((web.parents[1] / "orders" / "svid.pem").exists)
        assert daemon.err().count("no-such-user") == 1


@pytest.fixture
def tiny(tmp_path):
    """A file system without room for a key, in the place of identities."""
    path = tmp_path / "run" / "identity"
    path.mkdir(parents=True)
    if os.geteuid() != 0:
        pytest.skip("only root can mount")
    words = ["mount", "-t", "tmpfs", "-o", "size=4k,mode=711", "tmpfs", str(path)]
    mounted = subprocess.run(words, capture_output=True, check=False)
    if mounted.returncode:
        pytest.skip(f"no file system can be mounted here: {mounted.stderr.decode().strip()}")
    yield path
    subprocess.run(["umount", "--lazy", str(path)], check=True, timeout=20)


def test_a_full_disk_is_told_once_and_identities_come_when_there_is_room(tmp_path, tiny):
    """No half of a key is left, and policy is published meanwhile."""
    made_mesh(tmp_path)
    with running(tmp_path) as daemon:
        daemon.wait_for(lambda: "no space left on device; trying again" in daemon.err())
        assert daemon.generation() == 1
        time.sleep(2.5)
        assert len(daemon.err().splitlines()) == 1
        assert [path for path in tiny.rglob("*") if path.name.endswith(".tmp")] == []
        subprocess.run(["mount", "-o", "remount,size=1m", str(tiny)], check=True, timeout=20)
        daemon.wait_for((tiny / "default" / "web" / "svid.pem").exists)
        daemon.wait_for((tiny / "default" / "orders" / "svid.pem").exists)


def test_a_daemon_whose_sources_are_refused_goes_on_renewing(tmp_path):
    """Certificates do not wait until somebody mends a policy, not even over a restart."""
    path = made_mesh(tmp_path, spec="  identity: {leafLife: 3s}\n")
    assert once(tmp_path).returncode == 0
    path.write_text("kind: [", encoding="utf-8")
    with running(tmp_path) as daemon:
        daemon.wait_for(lambda: daemon.status_yet() and daemon.status_yet().refused)
        before = svid_in(tmp_path / "run").digest
        daemon.wait_for(lambda: svid_in(tmp_path / "run").digest != before, most_s=5.0)


# --- where keys are not ---------------------------------------------------------------------------


def test_no_key_is_anywhere_but_in_the_files_that_are_for_it(tmp_path):
    """Not in policy, reports, status or logs; and nobody else may read those that have one."""
    made_mesh(tmp_path, spec="  identity: {leafLife: 2s}\n")
    with daemon_of(tmp_path, "--format", "json") as daemon, pair(tmp_path / "run") as (_, server):
        reports = tmp_path / "run" / "reports" / "default" / "web"
        daemon.wait_for(lambda: reports.is_dir() and list(reports.glob("*.json")))
        before = svid_in(tmp_path / "run").digest
        daemon.wait_for(lambda: svid_in(tmp_path / "run").digest != before)
        web = tmp_path / "run" / "identity" / "default" / "web" / "svid.pem"
        web.write_text(web.read_text("ascii").replace("MI", "IM"), encoding="ascii")
        daemon.wait_for(lambda: "KEY-----\nMI" in web.read_text("ascii"))
        assert server.popen.poll() is None
        for word in ("show", "list"):
            state = ["--state-dir", str(tmp_path / "state")] if word == "show" else []
            done = meshware("cert", word, "--run-dir", tmp_path / "run", *state)
            assert b"PRIVATE" not in done.stdout + done.stderr
        daemon.end(signal.SIGTERM)
        with_key = {
            path
            for path in tmp_path.rglob("*")
            if path.is_file() and b"PRIVATE KEY" in path.read_bytes()
        }
    assert {path.name for path in with_key} == {"svid.pem", "root.pem", "intermediate-1.pem"}
    assert {mode_of(path) for path in with_key} == {0o600}
