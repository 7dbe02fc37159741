"""Standard streams that are malformed, full, closed or gone: exit codes that can be relied upon."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from daemons import clean_environ, command_line, meshware
from sync_world import PATIENCE_S, made_places, service

USAGE, BROKEN_PIPE = 2, 141

QUESTION = b'{"direction": "outbound", "host": "shop.example.com", "path": "/"}'
EXPLAIN = "explain --policy mesh --workload web"
ONCE = "sync --source mesh --run-dir run --state-dir state --once"


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A working directory with policy, in YAML and published."""
    root = tmp_path_factory.mktemp("streams")
    made_places(root)
    done = meshware(*shlex.split(ONCE), cwd=root)
    assert (done.returncode, done.stderr) == (0, b"")
    return root


# --- questions to explain -------------------------------------------------------------------------


@pytest.mark.parametrize(
    "question",
    [
        b" \n", b"{", b"[]", b"\xff\xfe{}", QUESTION.replace(b"shop", b"\xc3("),
        QUESTION * 2, b'{"direction": "sideways"}', b"[" * 100_000,
    ],
    ids=lambda question: repr(question[:24]),
)  # fmt: skip
def test_a_question_that_cannot_be_read_is_one_sentence(root, question):
    """Malformed, cut, too deep or not UTF-8: the sentence says that standard input is meant."""
    done = meshware(*shlex.split(EXPLAIN), stdin=question, cwd=root)
    lines = done.stderr.decode().splitlines()
    assert done.returncode == USAGE
    assert done.stdout == b""
    assert "standard input" in lines[-1]
    # What the policy says of the workload may come before.
    assert all(line.startswith("meshware: ") for line in lines)
    assert len(lines) <= 2


# --- output that cannot be written ----------------------------------------------------------------

WRITERS = ["check mesh", EXPLAIN, ONCE, "status --run-dir run", "--help"]


def run_onto(root, written: str, **streams) -> subprocess.CompletedProcess[bytes]:
    """Run a command whose output goes elsewhere."""
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **streams}
    return subprocess.run(
        command_line(shlex.split(written)), input=QUESTION, env=clean_environ(), cwd=root,
        timeout=PATIENCE_S, check=False, **options,
    )  # fmt: skip


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no /dev/full here")
@pytest.mark.parametrize("written", WRITERS)
def test_a_full_disk_under_the_output_is_one_sentence(root, written):
    """Half an answer must not look like a whole one: exit code 2, and the stream is named."""
    with open("/dev/full", "wb") as full:
        done = run_onto(root, written, stdout=full)
    assert done.returncode == USAGE
    last = done.stderr.decode().splitlines()[-1]
    assert last == "meshware: standard output: no space left on device"
    assert b"Traceback" not in done.stderr
    assert b"Exception ignored" not in done.stderr


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no /dev/full here")
@pytest.mark.parametrize("written", ["", "chekc", "check nowhere"])
def test_a_mistake_is_2_even_where_nobody_can_be_told(root, written):
    """Scripts that throw complaints away still learn by the exit code."""
    with open("/dev/full", "wb") as full:
        assert run_onto(root, written, stderr=full).returncode == USAGE
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "wb") as gone:
        assert run_onto(root, written, stderr=gone).returncode == USAGE


@pytest.mark.parametrize("written", WRITERS)
def test_a_reader_that_has_gone_ends_a_command_without_a_word(root, written):
    """As `| head` does: 128 + SIGPIPE, and no complaint."""
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "wb") as gone:
        done = run_onto(root, written, stdout=gone)
    assert done.returncode == BROKEN_PIPE
    assert b"standard output" not in done.stderr
    assert b"Traceback" not in done.stderr
    assert b"Exception ignored" not in done.stderr


_CLOSED = """
import os, sys
os.close(int(sys.argv[1]))
os.execv(sys.argv[2], sys.argv[2:])
"""


@pytest.mark.parametrize("closed", [0, 1, 2])
@pytest.mark.parametrize(("written", "code"), [("check mesh", 0), ("check nowhere", USAGE)])
def test_a_closed_stream_changes_nothing_else(root, written, code, closed):
    """Whoever starts a command may close its streams: it does its work, and answers by its code."""
    done = subprocess.run(
        [sys.executable, "-c", _CLOSED, str(closed), *command_line(shlex.split(written))],
        capture_output=True, env=clean_environ(), cwd=root, timeout=PATIENCE_S, check=False,
    )  # fmt: skip
    assert done.returncode == code
    assert b"Traceback" not in done.stdout + done.stderr
    assert bool(done.stdout) is (code == 0 and closed != 1)
    assert bool(done.stderr) is (code != 0 and closed != 2)


# --- the daemon -----------------------------------------------------------------------------------


def unwritable(way: str) -> int:
    """A descriptor that cannot be written."""
    if way == "full":
        return os.open("/dev/full", os.O_WRONLY)
    reader, writer = os.pipe()
    os.close(reader)
    return writer


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no /dev/full here")
@pytest.mark.parametrize(
    ("way", "reason"), [("full", "no space left on device"), ("gone", "broken pipe")]
)
def test_the_daemon_goes_on_without_its_output(tmp_path, way, reason):
    """Policy matters more than a log: it complains once, goes on publishing, and ends with 0."""
    places = made_places(tmp_path)
    written = f"{ONCE.removesuffix(' --once')} --listen off"
    descriptor = unwritable(way)
    with subprocess.Popen(
        command_line(shlex.split(written)), stdout=descriptor, stderr=subprocess.PIPE,
        env=clean_environ(), cwd=tmp_path,
    ) as daemon:  # fmt: skip
        os.close(descriptor)
        try:
            for version in range(1, 4):
                text = service(f"shop-{version}")
                (tmp_path / "mesh" / "shop.yaml").write_text(text, encoding="utf-8")
                wait_for(places.policy_file, f"shop-{version}.example.com".encode())
            daemon.send_signal(signal.SIGTERM)
            _, err = daemon.communicate(timeout=PATIENCE_S)
        finally:
            daemon.kill()
    assert daemon.returncode == 0
    assert err.decode().splitlines() == [
        f"standard output cannot be written: {reason}; the daemon goes on without it"
    ]


def wait_for(policy: Path, part: bytes) -> None:
    """Wait until a policy file says something."""
    until = time.monotonic() + PATIENCE_S
    while not (policy.exists() and part in policy.read_bytes()):
        assert time.monotonic() < until, f"{part!r} was not published"
        time.sleep(0.01)
