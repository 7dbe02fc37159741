"""What `meshware run` says before it starts anything: each mistake of the user in one sentence."""

from __future__ import annotations

import os
import sys

import pytest

from meshware.cli.main import run


@pytest.fixture
def environment(monkeypatch, tmp_path):
    """An environment without a mistake, and nothing that is executed."""
    (tmp_path / "policy.yaml").write_text("")
    for name in [name for name in os.environ if name.startswith("MESH")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("MESH_CONFIG", str(tmp_path / "policy.yaml"))
    started = []
    monkeypatch.setattr(os, "execve", lambda *arguments: started.append(arguments))
    return started


def error_of(arguments, capsys):
    """The one line on standard error, of a command line that exits with 2."""
    assert run(["run", *arguments]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    [line] = captured.err.splitlines()
    return line


def test_without_a_policy_file_nothing_starts(environment, monkeypatch, capsys):
    """MESH_CONFIG has to be set, or --config given."""
    monkeypatch.delenv("MESH_CONFIG")
    assert "MESH_CONFIG is not set" in error_of(["--", sys.executable], capsys)
    assert environment == []


def test_a_policy_file_that_may_not_be_read_is_told(environment, monkeypatch, tmp_path, capsys):
    """A path through a file is one that cannot be read by anybody."""
    monkeypatch.setenv("MESH_CONFIG", str(tmp_path / "policy.yaml" / "x"))
    assert "not a directory" in error_of(["--", sys.executable], capsys)
    assert environment == []


def test_a_policy_file_that_is_not_there_yet_stops_nothing(
    environment, monkeypatch, tmp_path, capsys
):
    """The daemon may start after the app."""
    monkeypatch.setenv("MESH_CONFIG", str(tmp_path / "later.mesh"))
    assert run(["run", "--", sys.executable]) == 0
    assert len(environment) == 1
    assert "later.mesh is not there yet" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "missing argument '-- CMD [ARGUMENT]...'"),
        (["--", "no-such-command-here"], "command 'no-such-command-here' was not found"),
        (["--", "/no/such/file"], "command '/no/such/file' was not found: there is no such file"),
        (["--", "/etc"], "/etc cannot be executed"),
        (["--workload", "A B", "--", "true"], "MESH_WORKLOAD is 'A B'"),
        (["--port", "0", "--", "true"], "invalid value for '--port'"),
        (["--nope", "--", "true"], "no such option '--nope'"),
        (["--", "python3", "-I", "app.py"], "python3 -I is isolated from PYTHONPATH"),
        (["--", "python3", "-Wignore", "-uE", "app.py"], "python3 -E ignores PYTHONPATH"),
        (["--", "python3", "-X", "dev", "-S"], "python3 -S does not load sitecustomize"),
    ],
)
def test_a_mistake_is_one_sentence(arguments, words, environment, capsys):
    """It says what is wrong, and nothing starts."""
    assert words in error_of(arguments, capsys)
    assert environment == []


@pytest.mark.parametrize(
    "arguments",
    [
        ["python3", "-u", "-m", "app", "-I"],
        ["python3", "-c", "pass", "-S"],
        ["python3", "-W", "-E", "app.py"],
        ["python3", "app.py", "-I"],
        ["python3", "-X", "dev", "-sPu", "app.py", "--", "-E"],
        ["sh", "-E"],
        ["sh", "--config", "x", "--format", "json"],
    ],
)
def test_what_belongs_to_the_program_is_left_to_it(arguments, environment, capsys):
    """Options behind the script are the program's, whatever they look like."""
    assert run(["run", "--", *arguments]) == 0
    [(_, command, _)] = environment
    assert command == arguments
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("first", "flag"),
    [
        ("#!/usr/bin/python3 -I", "-I"),
        ("#!/usr/bin/env -S python3 -u -E", "-E"),
        ("#! /opt/pypy3.11 -sS", "-S"),
    ],
)
def test_a_script_whose_first_line_shuts_us_out_is_told(first, flag, environment, tmp_path, capsys):
    """As on the command line."""
    script = tmp_path / "serve"
    script.write_text(f"{first}\nprint(1)\n")
    script.chmod(0o755)
    assert f"by its first line, with {flag}" in error_of(["--", str(script)], capsys)
    assert environment == []
