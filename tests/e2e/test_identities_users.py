"""Three Unix users on one node: each has the keys of its own workloads, and of no other."""

from __future__ import annotations

import json
import os
import time

import pytest
from ca_world import TRUST_DOMAIN, mesh_policy, mode_of, needs_root, users
from command_forge import PATIENCE_S, forging
from sync_runs import daemon, write

pytestmark = needs_root

NAMES = ("web", "orders", "mail")

# Tries everything that is there to be read, as the user that it is.
LOOKER = """
import json, os, sys
from pathlib import Path

found = []
for top in sys.argv[1:]:
    for path, directories, files in os.walk(top):
        for name in files:
            place = os.path.join(path, name)
            try:
                if b"PRIVATE KEY" in Path(place).read_bytes():
                    found.append(place)
            except PermissionError:
                pass
for name in ("web", "orders", "mail"):
    place = f"run/identity/default/{name}/svid.pem"
    try:
        Path(place).read_bytes()
        found.append(place)
    except PermissionError:
        pass
print(json.dumps(sorted(set(found))), flush=True)
"""

# A workload that serves others and calls one of them, whose port it is told.
WORKLOAD = """
import socket, sys, threading, time
from meshware.identity.tls import verified_peer
from meshware.runtime.mesh import Mesh

mesh = Mesh.from_env()
mesh.start()
listener = socket.create_server(("127.0.0.1", 0))
print(listener.getsockname()[1], flush=True)
while True:
    connection, _ = listener.accept()
    with connection:
        try:
            with mesh.identity.server_context().wrap_socket(connection, server_side=True) as tls:
                tls.sendall(str(verified_peer(tls).id).encode())
        except OSError:
            pass
"""

CALLER = """
import socket, sys, time
from meshware.runtime.mesh import Mesh

port, server = int(sys.argv[1]), sys.argv[2]
mesh = Mesh.from_env()
mesh.start()
context = mesh.identity.client_context(frozenset({server}))
with socket.create_connection(("127.0.0.1", port)) as connection:
    with context.wrap_socket(connection) as tls:
        print(tls.recv(2048).decode(), flush=True)
"""


@pytest.fixture
def three():
    """A user for each service account."""
    return dict(zip(NAMES, users(3), strict=True))


@pytest.fixture
def forge(tmp_path, three):
    """A maker of processes, at a place with a policy for three users."""
    bound = ", ".join(
        f"{{serviceAccount: default/{name}, user: {user.pw_name}}}" for name, user in three.items()
    )
    (tmp_path / "mesh").mkdir()
    write(
        tmp_path / "mesh" / "mesh.yaml", mesh_policy(*NAMES, spec=f"  nodeIdentities: [{bound}]\n")
    )
    with forging(tmp_path) as made:
        yield made


def environ(name):
    return {"MESH_CONFIG": "run/policy.mesh", "MESH_WORKLOAD": f"default/{name}"}


def spiffe_id(name):
    return f"spiffe://{TRUST_DOMAIN}/ns/default/sa/{name}"


def wait_for(condition):
    until = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.02)


def test_each_user_can_read_its_own_key_and_no_other(tmp_path, forge, three):
    """Not by walking, and not by knowing the path; nor is the authority's key anybody's."""
    with daemon(forge) as made:
        made.wait_for(lambda: len(list((tmp_path / "run").rglob("svid.pem"))) == 3)
        for name, user in three.items():
            place = tmp_path / "run" / "identity" / "default" / name
            assert {path.stat().st_uid for path in (place, *place.iterdir())} == {user.pw_uid}
            assert mode_of(place) == 0o700
            looked = forge.run("run", "state", program=LOOKER, user=user.pw_uid)
            assert looked.json() == [f"run/identity/default/{name}/svid.pem"], looked.err
    assert os.geteuid() == 0


def test_workloads_of_three_users_talk_and_a_change_of_root_waits_for_them(forge, three):
    """Their reports lie in places of their own, where each says which bundle it has."""
    with daemon(forge) as made:
        made.wait_for(lambda: len(list((made.run_dir).rglob("svid.pem"))) == 3)
        serving = {
            name: forge.start(program=WORKLOAD, environ=environ(name), user=user.pw_uid)
            for name, user in three.items()
        }
        for started in serving.values():
            wait_for(lambda started=started: started.out() or not started.is_running())
        for caller, server in (("web", "orders"), ("orders", "mail"), ("mail", "web")):
            said = forge.run(
                serving[server].out().strip(),
                spiffe_id(server),
                program=CALLER,
                environ=environ(caller),
                user=three[caller].pw_uid,
            )
            assert (said.out.strip(), said.code) == (spiffe_id(caller), 0), said.err
        reports = made.run_dir / "reports" / "default"
        wait_for(lambda: len(list(reports.glob("*/*.json"))) == 3)
        for name, user in three.items():
            assert (reports / name).stat().st_uid == user.pw_uid
        done = forge.run("cert", "rotate-root", "--run-dir", "run", "--format", "json")
        said = json.loads(done.out)
        assert (done.code, said["phase"], said["workers"]) == (0, "issuing", 3), done
        listed = forge.run("cert", "list", "--run-dir", "run", "--format", "json")
        assert {each["user"] for each in json.loads(listed.out)} == {
            user.pw_name for user in three.values()
        }
