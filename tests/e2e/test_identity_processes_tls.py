"""One identity in one process: its contexts under rotation by threads, and in a child of a fork."""

from __future__ import annotations

import os
import threading
import time

import pytest
from descriptors import no_descriptors
from identities import MeshAuthority, RunDirectory
from raw_tls import ask, serving

from meshware.errors import IdentityError, PeerIdentityError
from meshware.runtime.mesh import Mesh
from meshware.servers.context import front_context

APP = frozenset(["spiffe://cluster.local/ns/default/sa/app"])


@pytest.fixture
def world(tmp_path, monkeypatch):
    authority = MeshAuthority()
    run = RunDirectory(tmp_path / "run")
    run.write_policy("STRICT")
    run.write_identity(authority.issue("default/app"), authority.bundle_pem)
    mesh = Mesh.from_env(
        {
            "MESH_CONFIG": str(run.policy_file),
            "MESH_WORKLOAD": "default/app",
            "MESH_RUN_DIR": str(run.path),
        }
    )
    mesh.start()
    yield mesh, run, authority
    mesh.stop()


def test_threads_on_one_identity_get_contexts_that_work_while_it_rotates(world):
    mesh, run, authority = world
    stop, failures = threading.Event(), []
    contexts: set[int] = set()

    def handshakes(address):
        while not stop.is_set():
            try:
                client = mesh.identity.client_context(APP)
                contexts.add(id(mesh.identity.server_context()))
                assert ask(address, client)[0] == b"heard"
            except Exception as error:
                failures.append(error)

    with serving(front_context(mesh)) as server:
        threads = [threading.Thread(target=handshakes, args=(server.address,)) for _ in range(32)]
        for thread in threads:
            thread.start()
        for _ in range(8):
            run.write_identity(authority.issue("default/app"), authority.bundle_pem)
            time.sleep(0.3)  # files are looked at each quarter of a second
        stop.set()
        for thread in threads:
            thread.join(30)
    assert not failures, failures[:3]


def test_a_child_of_a_fork_has_contexts_of_its_own(world):
    mesh, *_ = world
    client, own = mesh.identity.client_context(APP), mesh.identity.server_context()
    with serving(front_context(mesh)) as server:
        assert ask(server.address, client)[0] == b"heard"
    readable, writable = os.pipe()
    child = os.fork()
    if child == 0:
        said = b"failed"
        try:
            is_new = mesh.identity.client_context(APP) is not client
            is_new = is_new and mesh.identity.server_context() is not own
            with serving(front_context(mesh)) as server:
                answer, _ = ask(server.address, mesh.identity.client_context(APP))
                try:
                    ask(server.address, mesh.identity.client_context(frozenset(["spiffe://a/b"])))
                except PeerIdentityError:
                    said = b"new" if is_new and answer == b"heard" else b"old"
        finally:
            os.write(writable, said)
            os._exit(0)
    os.close(writable)
    with open(readable, "rb") as told:
        assert told.read() == b"new"
    os.waitpid(child, 0)
    assert mesh.identity.client_context(APP) is client


def test_a_key_that_tls_cannot_use_is_an_identity_error(world, monkeypatch):
    """And so is a want of descriptors: handshakes fail until it passes, and nothing is kept."""

    mesh, *_ = world
    assert mesh.identity.svid() is not None
    with no_descriptors(), pytest.raises(IdentityError, match="cannot be used for TLS"):
        mesh.identity.server_context()
    assert mesh.identity.server_context() is mesh.identity.server_context()
