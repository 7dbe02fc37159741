"""`meshware probe`: an exec probe with the workload's own certificate, against a real server."""

from __future__ import annotations

import json
import subprocess

import pytest
from secured_apps import PYTHON, RunDir, free_port, policy_text, running

CLOSED = """
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: closed}
spec: {rules: [{from: [{source: {principals: ["*/sa/nobody"]}}]}]}
"""
PROBED = """
apiVersion: meshware.dev/v1alpha1
kind: WorkloadPolicy
metadata: {name: probes}
spec: {probePaths: [/healthz]}
"""


@pytest.fixture(scope="module")
def app(tmp_path_factory):
    """A server under STRICT that lets nobody in but probes."""
    place = tmp_path_factory.mktemp("probe")
    run = RunDir(place / "run")
    run.policy(policy_text("STRICT", CLOSED, PROBED))
    port = free_port()
    command = [PYTHON, "-m", "meshware", "run", "--", PYTHON, "-m", "uvicorn", "--port", str(port)]
    with running([*command, "telling:asgi"], port, run.environ(), place / "log"):
        yield port, run


def probe(run, *arguments):
    """Its exit code, and what it prints."""
    done = subprocess.run(
        [PYTHON, "-m", "meshware", "probe", *arguments],
        capture_output=True,
        text=True,
        env=run.environ(),
        timeout=30,
        check=False,
    )
    assert "Traceback" not in done.stderr
    return done.returncode, done.stdout + done.stderr


def test_what_is_declared_is_probed_in_the_workloads_own_name(app):
    """And nothing else is open to it; plaintext is not answered."""
    port, run = app
    code, said = probe(run, f"https://127.0.0.1:{port}/healthz", "--format", "json")
    assert (code, json.loads(said)["status"]) == (0, 200)
    code, said = probe(run, f"https://127.0.0.1:{port}/orders")
    assert (code, "answered 403" in said) == (1, True)
    code, said = probe(run, f"http://127.0.0.1:{port}/healthz")
    assert (code, "no answer" in said) == (1, True)
    assert probe(run, f"https://127.0.0.1:{port}/healthz", "--expect", "204")[0] == 1


def test_whoever_else_listens_there_is_not_well(app, tmp_path):
    """Another identity at that port is not this workload."""
    port, run = app
    other = RunDir(tmp_path / "run")
    other.policy(policy_text("STRICT", PROBED))
    code, said = probe(other, f"https://127.0.0.1:{port}/healthz")
    assert (code, "no answer" in said) == (1, True)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["ftp://x/"], "is no URL"),
        (["https://127.0.0.1:1/", "--workload", "default/nobody"], "no service account"),
        (["https://127.0.0.1:1/", "--run-dir", "/nowhere"], "no identity"),
        (["https://127.0.0.1:1/", "--policy", "/nowhere"], "/nowhere"),
        (["https://127.0.0.1:x/"], "is no URL"),
    ],
)
def test_a_mistake_is_told_in_a_sentence(app, arguments, words):
    """Exit code 2: the probe itself is wrong, not the workload."""
    code, said = probe(app[1], *arguments)
    assert (code, words in said) == (2, True), said
