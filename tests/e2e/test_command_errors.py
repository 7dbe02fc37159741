"""Mistakes on the command line and in the environment: one sentence each, which names the place."""

from __future__ import annotations

import shlex
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
from daemons import clean_environ, command_line, meshware, mode
from sync_world import BROKEN, PATIENCE_S, service

FINDINGS, USAGE = 1, 2

QUESTION = b'{"direction": "outbound", "host": "shop.example.com", "path": "/"}'
SYNC = "sync --source mesh --run-dir run --state-dir state --listen off"


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A working directory with good and broken policy, a published file, and things in the way."""
    root = tmp_path_factory.mktemp("errors")
    for name, text in (("mesh", service("shop")), ("bad", BROKEN)):
        (root / name).mkdir()
        (root / name / "shop.yaml").write_text(text, encoding="utf-8")
    (root / "file").write_text("neither policy nor YAML\n", encoding="utf-8")
    (root / "full").mkdir()
    (root / "full" / "rules.yaml").mkdir()
    (root / "loop").symlink_to("loop")
    done = meshware(*shlex.split(f"{SYNC} --once"), cwd=root)
    assert (done.returncode, done.stderr) == (0, b"")
    whole = (root / "run" / "policy.mesh").read_bytes()
    (root / "torn.mesh").write_bytes(whole[:-9])
    (root / "altered.mesh").write_bytes(whole.replace(b"10.0.0.1", b"10.0.0.2"))
    return root


def the_sentence(done: subprocess.CompletedProcess[bytes], code: int = USAGE) -> str:
    """The one line that a command wrote, all of it on standard error."""
    text = done.stderr.decode()
    assert "Traceback" not in text
    assert done.returncode == code, text
    lines = text.splitlines()
    assert len(lines) == 1, text
    assert lines[0].startswith("meshware")
    return lines[0]


# --- the command line -----------------------------------------------------------------------------

MISTAKES = {
    # what is written: a part of the sentence, which names the place
    "chekc mesh": "no such command 'chekc'",
    "--verson": "no such option '--verson'",
    "init": "missing argument 'DIRECTORY'",
    "init ''": "'DIRECTORY': it is empty",
    "init file": "file cannot be written: ",
    "init file/below": "file/below cannot be written: ",
    "init full": "full/rules.yaml exists already",
    "init loop": "loop cannot be written",
    "check": "missing argument 'PATH...'",
    "check ''": "'PATH...': it is empty",
    "check nowhere": "nowhere: cannot be read: ",
    "check mesh/shop.yaml/below": "mesh/shop.yaml/below: cannot be read: ",
    "check loop": "loop: cannot be read: ",
    "check --format xml mesh": "'--format': 'xml' is not one of",
    "explain": "missing option '--policy'",
    "explain --policy mesh": "missing option '--workload'",
    "explain --policy '' --workload web": "'--policy': it is empty",
    "explain --policy nowhere --workload web": "nowhere: no such file or directory",
    "explain --policy file --workload web": "file: ",
    "explain --policy torn.mesh --workload web": "torn.mesh: the policy file is torn",
    "explain --policy mesh --workload 'Web Site'": "'Web Site'",
    "export istio": "no such command 'istio'",
    "export envoy": "missing option '--policy'",
    "export envoy --policy mesh --workload web": "missing option '--out'",
    "export envoy --policy nowhere --workload web --out o": "nowhere: no such file or directory",
    "export envoy --policy torn.mesh --workload web --out o": "torn.mesh: the policy file is torn",
    "export envoy --policy mesh --workload web --out file": "file",
    "export envoy --policy mesh --workload web --out o --port http": "'http' is not a valid int",
    "export envoy --policy mesh --workload web --out o --address all": "--address all: ",
    "sync": "missing option '--source'",
    "sync --source mesh": "missing option '--run-dir'",
    "sync --source '' --run-dir run": "'--source': it is empty",
    "sync --source mesh --run-dir ''": "'--run-dir': it is empty",
    "sync --source mesh --run-dir r --state-dir ''": "'--state-dir': it is empty",
    "sync --source nowhere --run-dir r --state-dir s": "the source nowhere cannot be read",
    "sync --source loop --run-dir r --state-dir s": "loop",
    "sync --source mesh --run-dir file --state-dir s": "the run directory file cannot be made",
    "sync --source mesh --run-dir file/r --state-dir s": "the run directory file/r cannot be made",
    "sync --source mesh --run-dir r --state-dir file": "the state directory ",
    "sync --source mesh --run-dir mesh/r --state-dir s": "lies in the source mesh",
    "sync --source mesh --run-dir r --state-dir r/s": "the state directory r/s lies in the run",
    "sync --source mesh --run-dir r --state-dir s --listen here": "--listen is 'here'",
    "sync --source mesh --run-dir r --state-dir s --listen 127.0.0.1:66000": "--listen is '127",
    "sync --source mesh --run-dir r --state-dir s --listen 192.0.2.1:80": "on 192.0.2.1:80",
    "status": "missing option '--run-dir'",
    "status --run-dir ''": "'--run-dir': it is empty",
    "status --run-dir nowhere": "nowhere is not a directory",
    "status --run-dir file": "file is not a directory",
    "demo now": "unexpected extra argument (now)",
}


@pytest.fixture(scope="module")
def answers(root):
    """What each mistake is answered, some of them at a time."""

    def answer(written: str) -> subprocess.CompletedProcess[bytes]:
        return meshware(*shlex.split(written), stdin=QUESTION, cwd=root)

    with ThreadPoolExecutor(4) as pool:
        return dict(zip(MISTAKES, pool.map(answer, MISTAKES), strict=True))


@pytest.mark.parametrize("written", MISTAKES)
def test_a_mistake_is_one_sentence_that_names_the_place(root, answers, written):
    """Exit code 2, and one line on standard error: which word of the command line is to be mended.

    Nothing is published where the daemon could not start.
    """
    done = answers[written]
    assert MISTAKES[written] in the_sentence(done)
    assert done.stdout == b""
    assert not (root / "r" / "policy.mesh").exists()


@pytest.mark.parametrize("written", ["check bad", "check --format json bad"])
def test_findings_are_1_and_no_usage_error(root, written):
    """What is wrong with policy goes to standard output, for it is what was asked for."""
    done = meshware(*shlex.split(written), cwd=root)
    assert (done.returncode, done.stderr) == (FINDINGS, b"")
    assert b"bad/shop.yaml" in done.stdout
    assert b"htpp" in done.stdout


def test_a_policy_file_that_was_altered_is_never_explained(root):
    """A record that does not fit its digest is no policy: the answer would be about nothing."""
    done = meshware(
        *shlex.split("explain --policy altered.mesh --workload web"), stdin=QUESTION, cwd=root
    )
    assert done.returncode != 0
    assert b"Traceback" not in done.stderr
    assert b"does not fit" in done.stderr or b"digest" in done.stderr
    assert b"10.0.0.2" not in done.stdout


# --- rights that are missing ----------------------------------------------------------------------

# Root may read everything; without these two capabilities it may do so no more than others.
_AS_OTHERS = """
import ctypes, os, sys
if os.geteuid() == 0:
    libc = ctypes.CDLL(None, use_errno=True)
    for capability in (1, 2):  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH
        assert libc.prctl(24, capability, 0, 0, 0) == 0  # PR_CAPBSET_DROP, from the next exec on
os.execv(sys.argv[1], sys.argv[1:])
"""

UNREADABLE = {
    "check mesh": "mesh: cannot be read: ",
    "check mesh/shop.yaml": "mesh/shop.yaml: cannot be read: ",
    "init mesh": "mesh",
    "explain --policy mesh --workload web": "mesh: cannot be read: ",
    "export envoy --policy mesh --workload web --out o": "mesh: cannot be read: ",
    f"{SYNC} --once": "the source mesh cannot be read: permission denied",
    "sync --source bad --run-dir mesh/r --state-dir s --once": "the run directory mesh/r",
    "sync --source bad --run-dir r --state-dir mesh/s --once": "the state directory ",
    "status --run-dir mesh": "mesh",
}


@pytest.mark.skipif(sys.platform != "linux", reason="takes capabilities from root")
@pytest.mark.parametrize("written", UNREADABLE)
def test_what_may_not_be_read_is_one_sentence(root, written):
    """Rights are the commonest mistake on a server, and the reason is said as such."""
    with mode(root / "mesh", 0):
        done = subprocess.run(
            [sys.executable, "-c", _AS_OTHERS, *command_line(shlex.split(written))],
            input=QUESTION, capture_output=True, env=clean_environ(), cwd=root,
            timeout=PATIENCE_S, check=False,
        )  # fmt: skip
    said = the_sentence(done)
    assert UNREADABLE[written] in said
    assert "permission denied" in said.lower()


# --- the environment ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("environ", "part"),
    [
        ({"MESH_CONFIG": "nowhere", "MESH_WORKLOAD": "web"}, "nowhere: no such file"),
        ({"MESH_CONFIG": "bad", "MESH_WORKLOAD": "web"}, "bad/shop.yaml"),
        ({"MESH_CONFIG": "", "MESH_WORKLOAD": "web"}, "missing option '--policy'"),
        ({"MESH_CONFIG": "mesh", "MESH_WORKLOAD": ""}, "missing option '--workload'"),
        ({"MESH_CONFIG": "mesh", "MESH_WORKLOAD": "Web"}, "MESH_WORKLOAD) is 'Web'"),
    ],
)
def test_explain_names_what_is_wrong_with_its_environment(root, environ, part):
    """The variables of an app are the defaults of `explain`, and their mistakes are its own."""
    done = meshware("explain", stdin=QUESTION, environ=environ, cwd=root)
    assert done.returncode == USAGE
    assert b"Traceback" not in done.stderr
    assert part in done.stderr.decode()
    assert done.stdout == b""


_APP = """
from wsgiref.util import setup_testing_defaults
from meshware.wsgi import MeshMiddleware

def app(environ, start_response):
    start_response("200 OK", [])
    return [b"the app"]

wrapped = MeshMiddleware(app)
for _ in range(3):
    environ = {}
    setup_testing_defaults(environ)
    body = wrapped(environ, lambda status, headers, exc_info=None: print(status.split()[0]))
    list(body)
    getattr(body, "close", lambda: None)()
"""


@pytest.mark.parametrize(
    ("environ", "part"),
    [
        ({}, "MESH_CONFIG is not set"),
        ({"MESH_CONFIG": "bad"}, "bad/shop.yaml"),
        ({"MESH_CONFIG": "torn.mesh"}, "torn"),
        ({"MESH_CONFIG": "mesh", "MESH_WORKLOAD": "Web"}, "MESH_WORKLOAD is 'Web'"),
        ({"MESH_CONFIG": "mesh", "MESH_WORKLOAD": "stranger"}, "stranger"),
        ({"MESH_CONFIG": "mesh"}, "MESH_WORKLOAD is not set"),
        ({"MESH_CONFIG": "mesh", "MESH_PORT": "http"}, "MESH_PORT is 'http'"),
        ({"MESH_CONFIG": "mesh", "MESH_POLICY_OWNER": "no one"}, "MESH_POLICY_OWNER is 'no one'"),
    ],
    ids=lambda given: " ".join(map("=".join, given.items())) if isinstance(given, dict) else "",
)
def test_an_app_with_a_wrong_environment_refuses_every_call_and_says_why(root, environ, part):
    """It starts all the same, lets nobody in, and logs the reason once and not for each call."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", _APP],
        capture_output=True, env=clean_environ(environ), cwd=root, timeout=PATIENCE_S, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout.split()) == (0, [b"503"] * 3), done.stderr
    assert part in done.stderr.decode()
    assert b"Traceback" not in done.stderr
    assert done.stderr.decode().count(part) <= 2
