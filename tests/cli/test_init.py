"""`meshware init`: the example that a user starts from."""

from __future__ import annotations

import json

from meshware.cli.main import run
from meshware.policy.load import load


def test_the_example_has_no_problem_at_all(tmp_path, capsys):
    """What we hand out passes `meshware check --strict`."""
    assert run(["init", str(tmp_path / "mesh")]) == 0
    loaded = load([tmp_path / "mesh"])
    assert list(loaded.problems) == []
    assert {resource.kind for resource in loaded.resources} == {
        "MeshConfig",
        "ServiceEntry",
        "WorkloadEntry",
        "VirtualService",
        "AuthorizationPolicy",
    }
    assert f"meshware check {tmp_path / 'mesh'}" in capsys.readouterr().out


def test_json_names_the_files(tmp_path, capsys):
    """A program learns what was written."""
    assert run(["init", str(tmp_path), "--format", "json"]) == 0
    written = json.loads(capsys.readouterr().out)["files"]
    assert sorted(str(path) for path in tmp_path.iterdir()) == written


def test_nothing_is_overwritten(tmp_path, capsys):
    """A file of the user stays, and then none of ours is written beside it."""
    (tmp_path / "rules.yaml").write_text("mine", encoding="utf-8")
    assert run(["init", str(tmp_path)]) == 2
    assert [path.name for path in tmp_path.iterdir()] == ["rules.yaml"]
    assert (tmp_path / "rules.yaml").read_text(encoding="utf-8") == "mine"
    assert "exists already" in capsys.readouterr().err


def test_a_file_in_the_way_is_one_sentence(tmp_path, capsys):
    """DIRECTORY may be anything that a user types."""
    (tmp_path / "mesh").write_text("", encoding="utf-8")
    assert run(["init", str(tmp_path / "mesh")]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"meshware: {tmp_path / 'mesh'}") and error.count("\n") == 1
