"""`identity.provider: files`: files that cert-manager, Vault agent and istio-agent write."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import threading
import time

import pytest
from ca_world import let_through, mesh_policy, needs_root, users
from daemons import clean_environ
from identity_world import Caller, Server, wait_until
from secured_apps import Authority

TD = "shop.test"
FILES = "  identity: {provider: files}\n"


def kubernetes(place, authority, name):
    """A secret of cert-manager's as the kubelet mounts it: a new directory, one link swapped."""
    svid = authority.issue(f"spiffe://{TD}/ns/default/sa/{name}")
    version = place / f"..{time.time_ns()}"
    version.mkdir(parents=True)
    for file, text in (
        ("tls.crt", svid.cert_pem),
        ("tls.key", svid.key_pem),
        ("ca.crt", authority.pem),
    ):
        (version / file).write_text(text, encoding="ascii")
        (version / file).chmod(0o400)
        if not (place / file).is_symlink():
            (place / file).symlink_to(f"..data/{file}")
    old = (place / "..data").resolve() if (place / "..data").exists() else None
    (place / "..data_tmp").symlink_to(version.name)
    (place / "..data_tmp").rename(place / "..data")
    if old is not None:
        shutil.rmtree(old)
    return svid


def vault(place, authority, name):
    """One template a file, written in place: for a moment there is half of it, or no pair."""
    svid = authority.issue(f"spiffe://{TD}/ns/default/sa/{name}")
    place.mkdir(parents=True, exist_ok=True)
    (place / "ca.crt").write_text(authority.pem, encoding="ascii")
    for file, text in (("tls.key", svid.key_pem), ("tls.crt", svid.cert_pem)):
        with (place / file).open("w", encoding="ascii") as out:
            (place / file).chmod(0o600)
            out.write(text[:100])
            out.flush()
            time.sleep(0.02)
            out.write(text[100:])
        time.sleep(0.02)
    return svid


def istio_agent(place, authority, name):
    """OUTPUT_CERTS: names of its own, to which links of ours lead."""
    svid = authority.issue(f"spiffe://{TD}/ns/default/sa/{name}")
    certs = place.parent / f"istio-certs-{name}"
    certs.mkdir(parents=True, exist_ok=True)
    place.mkdir(parents=True, exist_ok=True)
    for file, link, text in (
        ("key.pem", "tls.key", svid.key_pem),
        ("cert-chain.pem", "tls.crt", svid.cert_pem),
        ("root-cert.pem", "ca.crt", authority.pem),
    ):
        temporary = certs / f".{file}"
        temporary.write_text(text, encoding="ascii")
        temporary.chmod(0o600)
        temporary.rename(certs / file)
        if not (place / link).is_symlink():
            (place / link).symlink_to(certs / file)
    return svid


@contextlib.contextmanager
def workloads(tmp_path, monkeypatch):
    """`orders`, in this process, which may call `web`, in another."""
    policy = tmp_path / "policy.yaml"
    policy.write_text(mesh_policy("web", "orders", spec=FILES), encoding="utf-8")

    def environ(run_dir, workload):
        return {
            "MESH_CONFIG": str(policy),
            "MESH_RUN_DIR": str(run_dir),
            "MESH_WORKLOAD": f"default/{workload}",
        }

    monkeypatch.setattr("identity_world.environ_of", environ)
    with contextlib.ExitStack() as stack:
        server = Server(tmp_path / "run")
        stack.callback(server.close)
        caller = Caller(tmp_path / "run")
        stack.callback(caller.close)
        yield caller, server


@pytest.mark.parametrize("write", [kubernetes, vault, istio_agent])
def test_what_others_write_is_used_and_followed(tmp_path, monkeypatch, write):
    """Handshakes succeed all the time, and each side comes to show what was written last."""
    authority = Authority(TD)
    identity = tmp_path / "run" / "identity" / "default"
    for name in ("web", "orders"):
        write(identity / name, authority, name)
    with workloads(tmp_path, monkeypatch) as (caller, server):
        wait_until(lambda: caller.can_call(server))
        ended = threading.Event()
        last = {}
        rewritten = 0

        def rewrite():
            nonlocal rewritten
            while not ended.wait(0.2):
                for name in ("web", "orders"):
                    last[name] = write(identity / name, authority, name)
                rewritten += 1

        thread = threading.Thread(target=rewrite)
        thread.start()
        try:
            calls = 0
            while calls < 20 or rewritten < 6:
                assert thread.is_alive()
                assert caller.call(server) == f"spiffe://{TD}/ns/default/sa/orders"
                calls += 1
                time.sleep(0.01)
        finally:
            ended.set()
            thread.join()
        wait_until(lambda: caller.mesh.identity.svid().digest == last["orders"].digest)


READER = """
import os, sys
from pathlib import Path
from meshware.runtime.svid_files import SVIDFiles
directory, uid, gid = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
os.setgroups([gid])
os.setgid(uid)
os.setuid(uid)
print(SVIDFiles(Path(directory)).svid() is not None)
"""


@needs_root
@pytest.mark.parametrize(
    ("mode", "owner", "usable"),
    [
        (0o440, "root", True),  # what the kubelet makes of a secret for a pod with fsGroup
        (0o640, "root", True),
        (0o660, "root", False),
        (0o444, "root", False),
        (0o440, "user", False),
    ],
)
def test_a_secret_mounted_for_a_group_of_ours_is_used(tmp_path, mode, owner, usable):
    """Root's file, read through the pod's group; no file that others could read or write."""
    user = users(1)[0]
    place = tmp_path / "secret"
    svid = Authority(TD).issue(f"spiffe://{TD}/ns/default/sa/web")
    place.mkdir()
    place.chmod(0o755)
    (place / "tls.crt").write_text(svid.cert_pem)
    (place / "tls.key").write_text(svid.key_pem)
    gid = 54321
    os.chown(place / "tls.key", 0 if owner == "root" else user.pw_uid, gid)
    (place / "tls.key").chmod(mode)
    let_through(place)
    done = subprocess.run(
        [sys.executable, "-c", READER, str(place), str(user.pw_uid), str(gid)],
        capture_output=True,
        text=True,
        check=False,
        env=clean_environ(),
    )
    assert done.stdout.strip() == str(usable), done.stderr
