"""The daemon and its authority: made once, kept, put back, and never where policy wants none."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time

import msgspec
import pytest
from ca_world import TRUST_DOMAIN, mesh_policy, mode_of, needs_root, svid_in, users
from daemons import meshware, running
from identity_world import daemon_of, made_mesh, pair, wait_until
from sync_world import service

from meshware.ca.files import make_intermediate, make_root
from meshware.clock import SystemClock
from meshware.identity.bundle import read_certificates
from meshware.identity.issue import issue_intermediate, issue_root, issue_svid, new_key
from meshware.identity.spiffe import workload_id
from meshware.policy.record_types import BundleRecord
from meshware.runtime.policy_file import open_policy_file


def once(root, *arguments):
    """One run of the daemon."""
    places = ["--run-dir", root / "run", "--state-dir", root / "state"]
    return meshware("sync", "--source", root / "mesh", *places, "--once", *arguments)


def bundle(root) -> BundleRecord | None:
    """The published bundle of the own trust domain."""
    records = open_policy_file(root / "run" / "policy.mesh", frozenset({os.geteuid()}))
    data = records.get(f"bundle/{TRUST_DOMAIN}")
    return None if data is None else msgspec.json.decode(data, type=BundleRecord)


def keys_of(root):
    """The files of the authority."""
    return sorted(path for path in (root / "state").rglob("*.pem"))


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
        daemon.wait_for(lambda: daemon.status() and daemon.status().refused)
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


# --- other providers ------------------------------------------------------------------------------


def foreign(root, *, roots_name: str) -> None:
    """What cert-manager, or a Vault agent, writes for `web`."""
    now = SystemClock().now()
    top = issue_root(TRUST_DOMAIN, new_key(), now, 3600)
    issuer = issue_intermediate(top, new_key(), now, 3600)
    svid = issue_svid(issuer, workload_id(TRUST_DOMAIN, "default", "web"), new_key(), now, 3600)
    place = root / "run" / "identity" / "default" / "web"
    place.mkdir(parents=True)
    (place / "tls.crt").write_text(svid.cert_pem, encoding="ascii")
    (place / "tls.key").touch(mode=0o600)
    (place / "tls.key").write_text(svid.key_pem, encoding="ascii")
    (place / roots_name).write_text(issuer.cert_pem.split("\n-----BEGIN")[-1], encoding="ascii")
    text = (place / roots_name).read_text("ascii")
    if not text.startswith("-----BEGIN"):
        (place / roots_name).write_text(f"-----BEGIN{text}", encoding="ascii")


@pytest.mark.parametrize("roots_name", ["bundle.pem", "ca.crt"])
def test_files_of_somebody_else_are_published_and_left_alone(tmp_path, roots_name):
    """With `provider: files` nothing is written below identity/, and roots are followed."""
    made_mesh(tmp_path, spec="  identity: {provider: files}\n")
    foreign(tmp_path, roots_name=roots_name)
    identity = tmp_path / "run" / "identity"

    def seen():
        """What lies there, and when it was changed."""
        return {
            path: (path.stat().st_mtime_ns, path.stat().st_mode, path.stat().st_ino)
            for path in (identity, *identity.rglob("*"))
        }

    before = seen()
    with running(tmp_path) as daemon:
        daemon.wait_for(daemon.generation)
        found = bundle(tmp_path)
        assert found is not None
        assert len(found.roots) == len(found.intermediates) == 1
        assert seen() == before
        assert keys_of(tmp_path) == []

        now = SystemClock().now()
        more = issue_root(TRUST_DOMAIN, new_key(), now, 3600).cert_pem
        path = identity / "default" / "web" / roots_name
        path.write_text(path.read_text("ascii") + more, encoding="ascii")
        daemon.wait_for(lambda: len(bundle(tmp_path).roots) == 2)
        [added] = read_certificates(more, "it")
        assert added in read_certificates("".join(bundle(tmp_path).roots), "it")


def test_a_workload_api_provider_makes_no_authority(tmp_path):
    """An agent has it; the daemon publishes no bundle of its own."""
    made_mesh(tmp_path, spec="  identity: {provider: workload-api}\n")
    assert once(tmp_path).returncode == 0
    assert not (tmp_path / "run" / "identity").exists()
    assert keys_of(tmp_path) == []
    assert bundle(tmp_path) is None


# --- several machines -----------------------------------------------------------------------------


def test_a_lost_nodes_intermediate_is_denied_by_policy(tmp_path):
    """Two nodes below one offline root trust each other, until policy denies one of them."""
    now = SystemClock().now()
    make_root(tmp_path / "root", TRUST_DOMAIN, now, 1e6)
    fingerprints = {}
    for node in ("a", "b"):
        place = tmp_path / node
        made_mesh(place)
        make_intermediate(tmp_path / "root", node, place / "authority", now, 1e5)
        shown = meshware("cert", "show", "--ca-dir", place / "authority", "--format", "json")
        [of_node] = json.loads(shown.stdout)["authorities"]
        fingerprints[node] = of_node["intermediates"][0]["fingerprint"]
    a, b = tmp_path / "a", tmp_path / "b"
    with (
        daemon_of(a, "--ca-dir", str(a / "authority")),
        daemon_of(b, "--ca-dir", str(b / "authority")) as lost,
        pair(a / "run", b / "run") as (caller, server),
    ):
        wait_until(lambda: caller.can_call(server))
        assert caller.call(server) == f"spiffe://{TRUST_DOMAIN}/ns/default/sa/orders"
        lost.end(signal.SIGKILL)
        made_mesh(a, spec=f"  identity: {{deniedAuthorities: [{fingerprints['b']}]}}\n")
        wait_until(lambda: not caller.can_call(server))
        with pytest.raises(OSError, match="policy denies an authority"):
            caller.call(server)
