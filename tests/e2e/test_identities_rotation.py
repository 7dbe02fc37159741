"""Leaves and roots change while workloads talk, and nobody notices."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import time

import pytest
from ca_world import svid_in
from daemons import clean_environ, command_line, meshware, running
from identity_world import daemon_of, made_mesh, pair, wait_until
from sync_world import Worker, workers

from meshware.errors import MeshError
from meshware.identity.bundle import fingerprint, read_certificates

pytestmark = pytest.mark.alone


def shake_hands(caller, server, seconds: float) -> tuple[int, set[str], list[str]]:
    """Call again and again; return how often, the identities that were shown, and what failed."""
    calls, shown, failed = 0, set(), []
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        try:
            caller.call(server)
        except (MeshError, OSError) as error:
            failed.append(repr(error))
        calls += 1
        svid = caller.mesh.identity.svid()
        assert svid is not None
        shown.add(svid.digest)
        time.sleep(0.02)
    return calls, shown, failed


def test_leaves_are_renewed_while_workloads_talk(tmp_path):
    """Three times and more under a short life, and no handshake fails."""
    made_mesh(tmp_path, spec="  identity: {leafLife: 4s}\n")
    with daemon_of(tmp_path), pair(tmp_path / "run") as (caller, server):
        wait_until(lambda: caller.can_call(server))
        calls, shown, failed = shake_hands(caller, server, 8.0)
    assert failed == []
    assert calls > 50
    assert len(shown) >= 4


def test_certificates_that_ended_while_the_daemon_was_down(tmp_path):
    """The first good handshake comes within five seconds of its return."""
    made_mesh(tmp_path, spec="  identity: {leafLife: 3s}\n")
    with daemon_of(tmp_path) as daemon, pair(tmp_path / "run") as (caller, server):
        wait_until(lambda: caller.can_call(server))
        daemon.end(signal.SIGKILL)
        wait_until(lambda: not caller.can_call(server))
        returned = time.monotonic()
        with daemon_of(tmp_path):
            wait_until(lambda: caller.can_call(server))
            assert time.monotonic() - returned < 5.0


def test_a_daemon_that_is_down_for_less_than_half_a_life_is_not_missed(tmp_path):
    """It went at the worst moment, right before it would have renewed."""
    life_s = 20.0
    made_mesh(tmp_path, spec=f"  identity: {{leafLife: {life_s:.0f}s}}\n")
    with daemon_of(tmp_path) as daemon, pair(tmp_path / "run") as (caller, server):
        wait_until(lambda: caller.can_call(server))
        _, _, failed = shake_hands(
            caller, server, svid_in(tmp_path / "run").until_s - life_s * 0.57 - time.time()
        )
        daemon.end(signal.SIGKILL)
        before = svid_in(tmp_path / "run").digest
        *_, more = shake_hands(caller, server, life_s * 0.35)
        assert failed + more == []
        assert svid_in(tmp_path / "run").digest == before
        with daemon_of(tmp_path):
            shown, until = set(), time.monotonic() + life_s * 0.2  # then the old one ends
            while len(shown) < 2 and time.monotonic() < until:
                _, seen, failed = shake_hands(caller, server, 0.5)
                shown |= seen
                assert failed == []
            assert len(shown) == 2


# --- the root -------------------------------------------------------------------------------------


def rotate(root, *arguments: str):
    """`meshware cert rotate-root`, and what it printed."""
    done = meshware(
        "cert", "rotate-root", "--run-dir", root / "run", "--format", "json", *arguments
    )
    return done, json.loads(done.stdout) if done.stdout else None


def roots_of(root) -> list[str]:
    """The fingerprints of the roots that `bundle.pem` has."""
    path = root / "run" / "identity" / "default" / "web" / "bundle.pem"
    return [fingerprint(one) for one in read_certificates(path.read_bytes(), "it")]


def test_the_root_changes_under_live_workers_without_a_failed_handshake(tmp_path):
    """Both roots are trusted until every worker has the new one; then the old one goes."""
    made_mesh(tmp_path, spec="  identity: {leafLife: 4s}\n")
    with daemon_of(tmp_path) as daemon, pair(tmp_path / "run") as (caller, server):
        wait_until(lambda: caller.can_call(server))
        [old] = roots_of(tmp_path)
        command = command_line(
            ["cert", "rotate-root", "--run-dir", str(tmp_path / "run"), "--format", "json"]
        )
        with subprocess.Popen(command, env=clean_environ(), stdout=subprocess.PIPE) as changing:
            calls, _, failed = shake_hands(caller, server, 6.0)
            said = json.loads(changing.communicate(timeout=30)[0])
        assert (changing.returncode, said["phase"], said["stragglers"]) == (0, "issuing", [])
        assert said["workers"] == 2
        assert said["root"] != old

        # 4 s of the leaf, and a minute by which clocks may differ.
        assert 40 < said["drop_at"] - time.time() < 64
        again, refused = rotate(tmp_path)
        assert again.returncode == 1
        assert "is not over: the old root is dropped at" in refused["reason"]
        *_, more = shake_hands(caller, server, 2.0)
        assert failed + more == []
        assert calls > 50
        assert sorted(roots_of(tmp_path)) == sorted([old, said["root"]])
        assert "trying again" not in daemon.err() and "Traceback" not in daemon.err()


@contextlib.contextmanager
def straggler(run_dir):
    """A live worker that does not say which bundle it has."""
    with workers() as make:
        made: Worker = make(run_dir, workload="orders", generation=1)
        yield made


def test_stragglers_are_listed_and_force_goes_on_without_them(tmp_path):
    """A worker that cannot follow, or lies, holds a change up for as long as an operator waits."""
    made_mesh(tmp_path)
    with (
        daemon_of(tmp_path),
        pair(tmp_path / "run") as (caller, server),
        straggler(tmp_path / "run") as slow,
    ):
        wait_until(lambda: caller.can_call(server))
        before = svid_in(tmp_path / "run").digest
        done, said = rotate(tmp_path, "--timeout", "3s")
        while len(said["stragglers"]) > 1:  # a busy machine: the others take longer
            done, said = rotate(tmp_path, "--timeout", "3s")
        assert (done.returncode, said["phase"]) == (1, "announced")
        [left] = said["stragglers"]
        assert (left["namespace"], left["workload"], left["pid"]) == (
            "default",
            "orders",
            slow.popen.pid,
        )
        wait_until(lambda: len(roots_of(tmp_path)) == 2)
        assert svid_in(tmp_path / "run").digest == before
        text = meshware("cert", "rotate-root", "--run-dir", tmp_path / "run", "--timeout", "1s")
        assert text.returncode == 1
        assert "1 of 3 workers does not report it" in text.stdout.decode()
        assert str(slow.popen.pid) in text.stdout.decode()
        assert "--force goes on without them" in text.stdout.decode()

        done, said = rotate(tmp_path, "--timeout", "1s", "--force")
        assert (done.returncode, said["phase"]) == (0, "issuing")
        wait_until(lambda: svid_in(tmp_path / "run").digest != before)
        wait_until(lambda: caller.can_call(server))


def test_a_change_goes_on_by_itself_when_the_straggler_ends(tmp_path):
    """And it survives the daemon: who comes next knows how far it was."""
    made_mesh(tmp_path)
    with contextlib.ExitStack() as stack:
        first = stack.enter_context(daemon_of(tmp_path))
        slow = stack.enter_context(straggler(tmp_path / "run"))
        done, said = rotate(tmp_path, "--timeout", "2s")
        assert (done.returncode, said["phase"]) == (1, "announced")
        wait_until(lambda: len(roots_of(tmp_path)) == 2)
        announced = roots_of(tmp_path)
        first.end(signal.SIGKILL)
        before = svid_in(tmp_path / "run").digest
        stack.enter_context(daemon_of(tmp_path))
        time.sleep(2.5)
        assert (roots_of(tmp_path), svid_in(tmp_path / "run").digest) == (announced, before)
        slow.kill()
        wait_until(lambda: svid_in(tmp_path / "run").digest != before)
        shown = meshware("cert", "show", "--run-dir", tmp_path / "run", "--format", "json")
        assert json.loads(shown.stdout)["change"]["phase"] == "issuing"


def test_without_a_daemon_or_an_authority_it_is_one_sentence(tmp_path):
    """Nothing is changed, and nothing waits to be."""
    (tmp_path / "run").mkdir()
    done, _ = rotate(tmp_path, "--state-dir", str(tmp_path / "state"))
    assert done.returncode == 2
    assert "no daemon runs" in done.stderr.decode()
    made_mesh(tmp_path, spec="  identity: {provider: workload-api}\n")
    with running(tmp_path) as daemon:
        daemon.wait_for(daemon.status_yet)
        done, said = rotate(tmp_path)
        assert done.returncode == 1
        assert "identities come from elsewhere" in said["reason"]
        assert said["trust_domain"] is None
