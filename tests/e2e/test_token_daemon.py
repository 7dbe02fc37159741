"""The daemon issues identity tokens where some workload takes them, and publishes their keys."""

from __future__ import annotations

import json
import stat

import pytest
from secured_apps import PYTHON, SUPPORT, ask, free_port, running
from token_callers import TOKENS, WORKLOADS, apply, served, web_session


def test_tokens_are_issued_where_policy_takes_them(tmp_path):
    """Each with a key of its own, for its owner's eyes; the public keys alone are published."""
    run = tmp_path / "run"

    def sync(*texts):
        return (apply(tmp_path, *texts) / "policy.mesh").read_text()

    tokens = [run / "identity/default" / name / "token.json" for name in ("app", "web")]
    assert '"kty"' not in sync(WORKLOADS)
    assert not any(path.exists() for path in tokens)

    published = sync(WORKLOADS, TOKENS)
    record = next(line for line in published.splitlines() if '"kty"' in line)
    keys = json.loads(record)["tokens"]
    assert {key["kty"] for key in keys} == {"EC"}
    assert not any("d" in key for key in keys)
    for path in tokens:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        content = json.loads(path.read_text())
        assert "PRIVATE KEY" in content["key"]
        assert content["wit"] not in published
    assert "PRIVATE KEY" not in published

    before = [path.read_text() for path in tokens]
    tokens[0].unlink()
    assert sync(WORKLOADS, TOKENS).count('"kty"') == published.count('"kty"')
    assert tokens[0].read_text() != before[0]


@pytest.mark.parametrize(
    "server",
    [
        ["granian", "--interface", "asgi", "--port", "{}", "telling:asgi"],
        ["granian", "--interface", "wsgi", "--port", "{}", "telling:wsgi"],
        ["waitress", "--host", "127.0.0.1", "--port", "{}", "telling:wsgi"],
    ],
    ids=["granian asgi", "granian wsgi", "waitress"],
)
def test_a_server_that_hides_certificates_knows_its_callers(tmp_path, server):
    """STRICT holds there too: who proves itself by tokens is known, and nobody else is let in."""
    port = free_port()
    run = apply(tmp_path, WORKLOADS, TOKENS, served(port))
    environ = {
        "PATH": "/usr/bin:/bin",
        "PYTHONPATH": str(SUPPORT),
        "MESH_CONFIG": str(run / "policy.mesh"),
        "MESH_WORKLOAD": "default/app",
    }
    with (
        running([PYTHON, "-m", *(w.format(port) for w in server)], port, environ, tmp_path / "log"),
        web_session(run) as session,
    ):
        for _ in range(3):
            response = session.get("http://app/orders?x=1")
            assert (response.status_code, response.meshware.flags) == (200, "-")
            told = response.json()
            assert told["peer"] == "spiffe://cluster.local/ns/default/sa/web"
            assert told["by"] == "token"
        assert ask(port)[0] == 403
        status, said = ask(port, None, Workload_Identity_Token="x", Workload_Proof_Token="y")
        assert (status, said) == (401, "Workload token is not valid")
