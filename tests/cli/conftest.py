"""Fixtures of the command tests."""

from __future__ import annotations

import io
import json

import pytest
from explained import RULES, SERVICE

from meshware.cli.main import run


@pytest.fixture
def explain(tmp_path, monkeypatch, capsys):
    """Ask about a call of a policy; return what is said, with the exit code under `code`."""

    def explain(question, policy=SERVICE + RULES, *arguments):
        place = tmp_path / "mesh.yaml"
        place.write_text(policy, encoding="utf-8")
        text = json.dumps({"direction": "outbound", "host": "orders", **question})
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(text.encode())))
        monkeypatch.chdir(tmp_path)
        given = arguments or ("--format", "json")
        code = run(["explain", "--policy", "mesh.yaml", "--workload", "app", *given])
        captured = capsys.readouterr()
        if code == 2 or arguments:
            return code, captured.out, captured.err
        return {**json.loads(captured.out)["outbound"], "code": code}

    return explain
