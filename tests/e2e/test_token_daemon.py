"""The daemon issues identity tokens where some workload takes them, and publishes their keys."""

from __future__ import annotations

import json
import stat
import subprocess

from secured_apps import PYTHON

POLICY = """
apiVersion: networking.istio.io/v1
kind: WorkloadGroup
metadata: {name: app}
spec: {metadata: {labels: {app: app}}, template: {serviceAccount: app}}
---
apiVersion: networking.istio.io/v1
kind: WorkloadGroup
metadata: {name: web}
spec: {metadata: {labels: {app: web}}, template: {serviceAccount: web}}
"""
TOKENS = """---
apiVersion: meshware.dev/v1alpha1
kind: WorkloadPolicy
metadata: {name: app}
spec: {selector: {matchLabels: {app: app}}, tokenIdentity: {mode: ACCEPT}}
"""


def test_tokens_are_issued_where_policy_takes_them(tmp_path):
    """Each with a key of its own, for its owner's eyes; the public keys alone are published."""
    source, run = tmp_path / "mesh", tmp_path / "run"
    source.mkdir()
    command = [
        PYTHON, "-m", "meshware", "sync", "--source", source, "--run-dir", run,
        "--state-dir", tmp_path / "state", "--once",
    ]  # fmt: skip

    def sync(text):
        (source / "policy.yaml").write_text(text)
        subprocess.run(command, check=True, capture_output=True, timeout=60)
        return (run / "policy.mesh").read_text()

    tokens = [run / "identity/default" / name / "token.json" for name in ("app", "web")]
    assert '"kty"' not in sync(POLICY)
    assert not any(path.exists() for path in tokens)

    published = sync(POLICY + TOKENS)
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
    assert sync(POLICY + TOKENS).count('"kty"') == published.count('"kty"')
    assert tokens[0].read_text() != before[0]
