"""The command line as a whole: help, version, and errors in one sentence."""

from __future__ import annotations

import sys

import click
import pytest

from meshware.cli.main import COMMANDS, root, run
from meshware.errors import PolicyError, SettingsError


def test_help_names_every_command(capsys):
    """`meshware --help` lists what there is, and ends well."""
    assert run(["--help"]) == 0
    out = capsys.readouterr().out
    for name in COMMANDS:
        assert f"  {name} " in out


def test_help_loads_no_command(capsys):
    """Asking for help stays quick: the commands' modules are imported when they are called."""
    before = {name for name in sys.modules if name.startswith("meshware.cli.")}
    run(["--help"])
    capsys.readouterr()
    assert {name for name in sys.modules if name.startswith("meshware.cli.")} == before


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_is_there(name):
    """A name in the table is a click command in the module of that name."""
    with click.Context(root) as ctx:
        assert isinstance(root.get_command(ctx, name), click.Command)


def test_the_version_is_one_line(capsys):
    """`meshware --version` prints the name and a version."""
    assert run(["--version"]) == 0
    assert capsys.readouterr().out.startswith("meshware ")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["nope"], "meshware: no such command 'nope' (see meshware --help)"),
        (["--nope"], "meshware: no such option '--nope' (see meshware --help)"),
        (["init"], "meshware init: missing argument 'DIRECTORY' (see meshware init --help)"),
        (
            ["init", "x", "--format", "xml"],
            "meshware init: invalid value for '--format': 'xml' is not one of 'text', 'json' "
            "(see meshware init --help)",
        ),
    ],
    ids=["command", "option", "argument", "value"],
)
def test_a_wrong_command_line_is_one_sentence_and_2(arguments, sentence, capsys):
    """Usage errors go to standard error, in one line, with where to look."""
    assert run(arguments) == 2
    captured = capsys.readouterr()
    assert captured.err.splitlines() == [sentence]
    assert captured.out == ""


def test_no_command_shows_the_help_and_is_2(capsys):
    """`meshware` alone says what it can do."""
    assert run([]) == 2
    assert "Commands:" in capsys.readouterr().err


@pytest.fixture
def failing(monkeypatch):
    """Make `meshware init` raise an error."""

    def arrange(error: BaseException) -> None:
        @click.command("init")
        def command() -> None:
            raise error

        monkeypatch.setattr("meshware.cli.init.command", command)

    return arrange


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (
            SettingsError("MESH_PORT is 'x': use a number"),
            "meshware: MESH_PORT is 'x': use a number",
        ),
        (PolicyError("no policy in mesh/"), "meshware: no policy in mesh/"),
        (
            FileNotFoundError(2, "No such file or directory", "mesh"),
            "meshware: mesh: no such file or directory",
        ),
        (PermissionError(13, "Permission denied", "mesh"), "meshware: mesh: permission denied"),
        (OSError(98, "Address already in use"), "meshware: address already in use"),
        (
            ModuleNotFoundError("No module named 'watchfiles'", name="watchfiles"),
            'meshware: watchfiles is not installed: pip install "meshware[sync]"',
        ),
    ],
    ids=["settings", "policy", "absent", "unreadable", "port", "extra"],
)
def test_what_a_user_can_mend_is_one_sentence_and_2(error, sentence, failing, capsys):
    """No user ever sees a traceback for something that they can mend."""
    failing(error)
    assert run(["init"]) == 2
    assert capsys.readouterr().err.splitlines() == [sentence]


def test_our_own_mistakes_keep_their_traceback(failing):
    """An error that no user can mend is not dressed up as one."""
    failing(ModuleNotFoundError("No module named 'meshware.nowhere'", name="meshware.nowhere"))
    with pytest.raises(ModuleNotFoundError):
        run(["init"])


def test_an_interrupted_command_says_so_by_its_exit_code(failing):
    """Ctrl-C is 130, as from any other program."""
    failing(KeyboardInterrupt())
    assert run(["init"]) == 130
