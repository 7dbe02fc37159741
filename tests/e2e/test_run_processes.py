"""The command below `meshware run` is its own: process, signals, exit code, environment."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest
from inbound_servers import PATIENCE_S, PolicyFile
from run_servers import BIN

from meshware.run.launch import INJECT

PYTHON = str(BIN / "python")
APP_LOAD_ERROR = 4  # gunicorn's: it ends rather than start the worker again
STRANGER = sys._base_executable  # the interpreter that made our environment: it has no meshware


@pytest.fixture
def start(tmp_path):
    """Start a command below `meshware run`, in a directory of its own."""
    policy = PolicyFile(tmp_path / "run")
    policy.write()
    clean = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("MESH_", "PYTHON", "COV_"))
    }
    started = []

    def run(*command, **environ):
        process = subprocess.Popen(
            [str(BIN / "meshware"), "run", "--", *command],
            cwd=tmp_path,
            text=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={
                **clean,
                "MESH_CONFIG": str(policy.path),
                "MESH_WORKLOAD": "default/app",
                **environ,
            },
        )
        started.append(process)
        return process

    yield run
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()


def finish(process):
    """Exit code, output and errors."""
    out, err = process.communicate(timeout=PATIENCE_S)
    return process.returncode, out.strip(), err.strip()


def test_the_exit_code_is_the_commands(start):
    """Nothing stands between the command and who started it."""
    assert finish(start(PYTHON, "-c", "import sys; sys.exit(7)")) == (7, "", "")


def test_the_process_is_the_commands(start):
    """The process id that a supervisor knows is the command's own, and so signals reach it."""
    program = "import os, time; print(os.getpid(), flush=True); time.sleep(60)"
    process = start(PYTHON, "-c", program)
    assert int(process.stdout.readline()) == process.pid
    process.send_signal(signal.SIGTERM)
    assert finish(process)[0] == -signal.SIGTERM


def test_a_program_that_is_no_python_runs_too(start):
    """A shell starts as it is; the Python programs that it starts are in the mesh."""
    look = "import sys; print(type(sys.meta_path[0]).__module__)"
    program = f"{PYTHON} -c '{look}'"
    assert finish(start("sh", "-c", program)) == (0, "meshware.run.hooks", "")


def test_another_sitecustomize_and_pythonpath_are_kept(start, tmp_path):
    """What the user's environment brings in is brought in, in children too."""
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "sitecustomize.py").write_text(
        "import builtins\nbuiltins.own = 'is here'\n"
    )
    own = str(tmp_path / "own")
    program = (
        "import os, sitecustomize; print(own, os.environ['PYTHONPATH'], sitecustomize.__file__)"
    )
    nested = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {program!r}])"
    expected = f"is here {INJECT}{os.pathsep}{own} {own}/sitecustomize.py"
    assert finish(start(PYTHON, "-c", nested, PYTHONPATH=own)) == (0, expected, "")


def test_a_sitecustomize_that_fails_fails_as_without_us(start, tmp_path):
    """Python tells of it and goes on."""
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "sitecustomize.py").write_text("raise ValueError('of its own')\n")
    code, out, err = finish(start(PYTHON, "-c", "print(1)", PYTHONPATH=str(tmp_path / "own")))
    assert (code, out) == (0, "1")
    assert "ValueError: of its own" in err


def test_nothing_is_imported_until_it_is_needed(start):
    """A process that does not serve has nothing of meshware, and nothing that gevent must patch."""
    program = "import sys; print(*[m for m in sys.modules if m.startswith(('meshware', 'ssl', "
    program += "'threading', 'socket', 'asyncio', 'msgspec', 'queue', 'select', 'logging'))])"
    assert finish(start(PYTHON, "-c", program)) == (0, "", "")


def test_gevent_patches_first(start):
    """`monkey.patch_all()` at the head of a program finds nothing to warn about."""
    program = "from gevent import monkey; monkey.patch_all(); import flask; print('fine')"
    assert finish(start(PYTHON, "-W", "error", "-c", program)) == (0, "fine", "")


def test_the_frameworks_keep_their_loaders(start):
    """What the hooks did to the import of a module cannot be seen in it."""
    program = "import flask.app, inspect; m = flask.app; print(type(m.__loader__).__name__, "
    program += "m.__spec__.loader is m.__loader__, 'class Flask' in inspect.getsource(m))"
    assert finish(start(PYTHON, "-c", program)) == (0, "SourceFileLoader True True", "")


# --- interpreters without meshware ----------------------------------------------------------------


def test_a_command_whose_interpreter_has_no_meshware_ends_at_once(start):
    """It would serve without the mesh."""
    code, out, err = finish(start(STRANGER, "-c", "print('ran')"))
    assert (code, out) == (2, "")
    assert "has no meshware" in err
    assert len(err.splitlines()) == 1


def test_a_tool_in_another_interpreter_goes_on(start):
    """What the app calls as a tool serves nothing."""
    program = f"import subprocess; subprocess.run([{STRANGER!r}, '-c', 'print(1)'], check=True)"
    assert finish(start(PYTHON, "-c", program)) == (0, "1", "")


def test_a_tool_in_another_interpreter_may_not_serve(start, tmp_path):
    """It ends when it imports a server or framework, before that runs."""
    (tmp_path / "flask.py").write_text("print('flask ran')\n")
    inner = [STRANGER, "-c", "import flask"]
    program = f"import subprocess, sys; sys.exit(subprocess.run({inner!r}).returncode)"
    code, out, err = finish(start(PYTHON, "-c", program))
    assert (code, out) == (2, "")
    assert "has no meshware" in err
    assert "it imports flask" in err


# --- the servers' TLS -----------------------------------------------------------------------------

IMPORTED = {
    "uvicorn": "uvicorn",
    "hypercorn": "hypercorn",
    "gunicorn": "gunicorn.app.wsgiapp",
    "werkzeug": "werkzeug.serving",
}
FIRST = "import meshware.servers; meshware.servers.__path__.insert(0, 'servers')\n"


@pytest.fixture
def stand_in(tmp_path):
    """A module in the place of `meshware.servers.<name>`, so that its `install` can be seen."""

    def make(name, statement):
        (tmp_path / "servers").mkdir()
        text = f"def install():\n    {statement}\n"
        (tmp_path / "servers" / f"{name}.py").write_text(text)

    return make


@pytest.mark.parametrize("server", IMPORTED)
def test_a_server_is_made_to_speak_as_policy_says(server, start, stand_in):
    """`meshware.servers.<name>.install()` is called when the server is imported, before its use."""
    stand_in(server, f"print('{server} installed')")
    program = f"{FIRST}import {IMPORTED[server]}\nprint('imported')"
    assert finish(start(PYTHON, "-c", program)) == (0, f"{server} installed\nimported", "")


def test_a_server_that_cannot_be_secured_does_not_serve(start, stand_in):
    """The process ends, whatever the program catches."""
    stand_in("gunicorn", "raise OSError('not today')")
    program = (
        f"{FIRST}try:\n    import gunicorn.app.base\nexcept BaseException:\n    pass\nprint(1)"
    )
    code, out, err = finish(start(PYTHON, "-c", program))
    assert (code, out) == (2, "")
    assert "gunicorn.app.base cannot be brought into the mesh (OSError: not today)" in err


def test_a_worker_class_that_is_not_known_does_not_serve(start, tmp_path):
    """Nobody knows what kind of app it calls, nor where."""
    (tmp_path / "odd.py").write_text(
        "from gunicorn.workers.base import Worker\n"
        "class Odd(Worker):\n"
        "    def run(self):\n"
        "        print('serves', flush=True)\n"
        "def app(environ, start_response): ...\n"
    )
    command = [str(BIN / "gunicorn"), "--no-control-socket", "-b", "127.0.0.1:0", "-k", "odd.Odd"]
    code, out, err = finish(start(*command, "odd:app", PYTHONPATH=str(tmp_path)))
    assert "worker class odd.Odd is not known" in err
    assert "serves" not in out
    assert code == APP_LOAD_ERROR
