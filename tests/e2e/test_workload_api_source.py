"""`identity.provider: workload-api`: a Mesh gets its SVID from an agent's socket.

The agent is another daemon of ours, which serves the Workload API of its own mesh.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time

import pytest
from ca_world import mesh_policy
from daemons import clean_environ, meshware
from identity_world import Caller, Server, made_mesh, wait_until
from secured_apps import SUPPORT, Authority, free_port, running
from workload_api_world import TD, place, serving, spiffe_id

from meshware.runtime.mesh import Mesh

__all__ = ["place"]

STRICT = """
---
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: it}
spec: {mtls: {mode: STRICT}}
"""
AGENT = "  identity: {provider: workload-api}\n"


def environ_of(place, path, workload="web", accounts=("web", "orders"), spec=AGENT):
    """The environment of a workload whose policy names an agent."""
    policy = place / f"{workload}.yaml"
    policy.write_text(mesh_policy(*accounts, spec=spec), encoding="utf-8")
    return {
        "MESH_CONFIG": str(policy),
        "MESH_RUN_DIR": str(place / "apps"),
        "MESH_WORKLOAD": f"default/{workload}",
        "SPIFFE_ENDPOINT_SOCKET": f"unix:{path}",
    }


@contextlib.contextmanager
def mesh_of(environ):
    """A mesh in this process."""
    mesh = Mesh.from_env(environ)
    mesh.start()
    try:
        yield mesh
    finally:
        mesh.stop()


@pytest.fixture
def agents(monkeypatch):
    """Servers and callers of `identity_world`, under an agent instead of files."""

    def use(place, path):
        def environ(_run_dir, workload):
            return environ_of(place, path, workload)

        monkeypatch.setattr("identity_world.environ_of", environ)

    return use


def test_two_workloads_shake_hands_by_what_the_agent_gave_them(place, agents):
    """Own IDs, own keys, and each other's bundle; through rotations."""
    made_mesh(place, spec="  identity: {leafLife: 6s}\n")
    with serving(place) as (_, path), contextlib.ExitStack() as stack:
        agents(place, path)
        (place / "apps").mkdir()
        server = Server(place / "apps" / "none", "web")
        stack.callback(server.close)
        caller = Caller(place / "apps", "orders")
        stack.callback(caller.close)
        wait_until(lambda: caller.can_call(server))
        assert caller.call(server) == spiffe_id("orders")
        first = caller.mesh.identity.svid()
        until = time.monotonic() + 8  # longer than the first one lives
        while time.monotonic() < until:
            assert caller.call(server) == spiffe_id("orders")
            time.sleep(0.2)
        assert caller.mesh.identity.svid().digest != first.digest


def test_an_agent_that_is_away_is_not_waited_for_and_found_again(place):
    """What came last stays; a new agent is found within its pause."""
    made_mesh(place)
    agent = place / "api" / "agent.sock"
    with mesh_of(environ_of(place, agent)) as mesh:
        began = time.monotonic()
        assert mesh.identity.svid() is None
        assert time.monotonic() - began < 0.1
        with serving(place) as (daemon, _):
            wait_until(mesh.identity.svid)
            first = mesh.identity.svid()
            assert str(first.id) == spiffe_id("web")
            daemon.end(signal.SIGKILL)
        time.sleep(1)
        assert mesh.identity.svid() is first
        for svid in (place / "run" / "identity").rglob("svid.pem"):
            svid.unlink()  # the next daemon issues others
        with serving(place):
            wait_until(lambda: mesh.identity.svid().digest != first.digest, 12)


def test_who_the_agent_does_not_know_has_no_identity(place, caplog):
    """Policy names the ID; an agent that has only others gives none, and one line says so."""
    made_mesh(place)
    accounts = ("mail", "web", "orders")
    with (
        serving(place) as (_, path),
        caplog.at_level(logging.ERROR),
        mesh_of(environ_of(place, path, "mail", accounts)) as mesh,
    ):
        wait_until(lambda: mesh.identity.svid() or "policy says that this is" in caplog.text)
        for _ in range(3):
            assert mesh.identity.svid() is None
    assert caplog.text.count("policy says that this is") == 1


@pytest.mark.parametrize(
    ("endpoint", "words"),
    [("", "SPIFFE_ENDPOINT_SOCKET is not set"), ("unix:/no/such", "/no/such")],
)
def test_without_an_agent_there_is_one_line_and_no_identity(place, caplog, endpoint, words):
    """No traceback, and nothing is guessed."""
    environ = {**environ_of(place, "x"), "SPIFFE_ENDPOINT_SOCKET": endpoint}
    with mesh_of(environ) as mesh, caplog.at_level(logging.ERROR):
        mesh.identity.svid()
        wait_until(lambda: words in caplog.text)
        time.sleep(1)
        assert mesh.identity.svid() is None
    assert (caplog.text.count(words), "Traceback" in caplog.text) == (1, False)


def test_without_the_library_there_is_one_line_and_no_identity(place):
    """It is an extra."""
    program = (
        "import sys, time; sys.modules['spiffe'] = None\n"
        "from meshware.runtime.mesh import Mesh\n"
        "mesh = Mesh.from_env(); mesh.start(); mesh.identity.svid(); time.sleep(0.5)\n"
        "assert mesh.identity.svid() is None"
    )
    done = run(program, environ_of(place, "x"))
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("meshware[spiffe]") == 1
    assert "Traceback" not in done.stderr


def test_federated_bundles_of_the_agent_are_believed(place):
    """And policy's own bundle of a domain is believed in place of the agent's."""
    partner = Authority("partner.test")
    pem = partner.pem.replace("\n", "\n      ")
    made_mesh(
        place,
        spec=f"  caCertificates:\n  - trustDomains: [partner.test]\n    pem: |\n      {pem}\n",
    )
    with serving(place) as (_, path), mesh_of(environ_of(place, path)) as mesh:
        wait_until(lambda: set(mesh.identity.bundles()) == {TD, "partner.test"})
        assert mesh.identity.bundles() is mesh.identity.bundles()
        assert mesh.identity.bundles()["partner.test"].roots == (partner.root.certificate,)
        other = Authority("partner.test")
        pem = other.pem.replace("\n", "\n      ")
        spec = (
            f"{AGENT}  caCertificates:\n  - trustDomains: [partner.test]\n    pem: |\n      {pem}\n"
        )
        with mesh_of(environ_of(place, path, "orders", spec=spec)) as own:
            wait_until(lambda: set(own.identity.bundles()) == {TD, "partner.test"})
            assert own.identity.bundles()["partner.test"].roots == (other.root.certificate,)


def test_a_probe_goes_by_the_agent_too(place):
    """`meshware probe` waits for it, as long as its time-out says."""
    made_mesh(place)
    with serving(place) as (_, path), contextlib.ExitStack() as stack:
        environ = environ_of(place, path)
        port = free_port()
        app = [sys.executable, "-m", "meshware", "run", "--", sys.executable, "-m", "uvicorn"]
        environ["PYTHONPATH"] = str(SUPPORT)
        (place / "web.yaml").write_text(mesh_policy("web", spec=AGENT) + STRICT)
        command = [*app, "--port", str(port), "telling:asgi"]
        stack.enter_context(running(command, port, clean_environ(environ), place / "log"))
        asked = ("probe", f"https://127.0.0.1:{port}/healthz", "--format", "json")
        wait_until(lambda: meshware(*asked, environ=environ).returncode == 0)  # the app's is there
        done = meshware(*asked, environ=environ)
        assert (done.returncode, json.loads(done.stdout)["status"]) == (0, 200), done
        environ["SPIFFE_ENDPOINT_SOCKET"] = ""
        done = meshware(*asked, "--timeout", "0.3", environ=environ)
        assert (done.returncode, "no identity" in str(done.stderr)) == (2, True), done


FORKER = """
import os, sys, time
from meshware.runtime.mesh import Mesh

mesh = Mesh.from_env()
mesh.start()

def has_new(old):
    until = time.monotonic() + 25
    while time.monotonic() < until:
        found = mesh.identity.svid()
        if found is not None and (old is None or found.digest != old.digest):
            return found
        time.sleep(0.05)
    os._exit(7)

first = has_new(None)
children = []
for _ in range(3):
    pid = os.fork()
    if pid == 0:
        at_once = mesh.identity.svid()
        assert at_once is not None  # and what comes later it hears by itself
        has_new(has_new(at_once))
        os._exit(0)
    children.append(pid)
has_new(has_new(first))
sys.exit(max(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in children))
"""


def test_children_that_were_forked_after_use_follow_the_agent_on_their_own(place):
    """And the parent goes on."""
    made_mesh(place, spec="  identity: {leafLife: 3s}\n")
    with serving(place) as (_, path):
        done = run(FORKER, environ_of(place, path))
        assert done.returncode == 0, done.stderr[-3000:]


GEVENT = """
from gevent import monkey; monkey.patch_all()
import gevent, time
from meshware.runtime.mesh import Mesh

mesh = Mesh.from_env()
mesh.start()
ticks = []
def tick():
    while True:
        ticks.append(time.monotonic())
        gevent.sleep(0.01)
gevent.spawn(tick)
until = time.monotonic() + 25
while mesh.identity.svid() is None and time.monotonic() < until:
    time.sleep(0.05)
assert mesh.identity.svid() is not None
while len(ticks) < 100 and time.monotonic() < until:
    time.sleep(0.05)
longest = max(b - a for a, b in zip(ticks[-60:], ticks[-59:]))
assert len(ticks) >= 100 and longest < 0.5, (len(ticks), longest)
"""


def test_gevent_goes_on_while_the_agent_is_followed(place):
    """A wait inside of gRPC's core must not stop the greenlets."""
    made_mesh(place)
    with serving(place) as (_, path):
        done = run(GEVENT, environ_of(place, path))
        assert done.returncode == 0, done.stderr[-3000:]


def test_a_mesh_of_files_imports_nothing_of_it(place):
    """gRPC is for those who ask for it."""
    program = (
        "import sys\nfrom meshware.runtime.mesh import Mesh\nmesh = Mesh.from_env()\n"
        "mesh.start(); mesh.identity.svid(); import meshware.asgi\n"
        "assert not {'grpc', 'spiffe', 'google.protobuf'} & set(sys.modules)"
    )
    done = run(program, environ_of(place, "x", spec=""))
    assert done.returncode == 0, done.stderr


def test_threads_that_ask_at_once_start_one_stream(place):
    """Not one for each."""
    made_mesh(place)
    with serving(place) as (_, path), mesh_of(environ_of(place, path)) as mesh:
        threads = [threading.Thread(target=mesh.identity.svid) for _ in range(32)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        wait_until(mesh.identity.svid)
        names = [each.name for each in threading.enumerate()]
        mine = names.count("meshware-workload-api")
        assert mine >= 1
        with mesh_of(environ_of(place, path)) as more:
            wait_until(more.identity.svid)
            names = [each.name for each in threading.enumerate()]
            assert names.count("meshware-workload-api") == mine + 1


def run(program, environ):
    """A process under an agent."""
    return subprocess.run(
        [sys.executable, "-c", program],
        env=clean_environ(environ),
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
        cwd=os.fspath("/"),
    )
