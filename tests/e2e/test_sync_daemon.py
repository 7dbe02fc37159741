"""`meshware sync` as a process: what it publishes, refuses, survives, and how it ends."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import urllib.request
from pathlib import Path

import pytest
from sync_world import BROKEN, PATIENCE_S, header_of, made_places, running, service

from meshware.policy.file import decode


def meshware(*arguments: str | Path, **options) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    return subprocess.run(
        [sys.executable, "-m", "meshware", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        **options,
    )


def sync(root: Path, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run `meshware sync` over the places of a directory, and be told how it ended."""
    places = ("--source", root / "mesh", "--run-dir", root / "run", "--state-dir", root / "state")
    return meshware("sync", *places, *arguments)


def write(root: Path, name: str, text: str) -> None:
    """Save a file of the source as editors do."""
    fresh = root / f"{name}.new"
    fresh.write_text(text, encoding="utf-8")
    fresh.replace(root / "mesh" / name)


def hosts(policy_file: Path) -> set[str]:
    """The services that a policy file has, everything verified."""
    _, records = decode(policy_file.read_bytes())
    return {key.removeprefix("svc/") for key in records if key.startswith("svc/")}


def test_three_hundred_resources_are_published_soon(tmp_path):
    """Within two seconds of start on a machine at rest; the bound here is that of a busy one."""
    made_places(tmp_path)
    text = "---\n".join(service(f"s{number}") for number in range(300))
    write(tmp_path, "many.yaml", text)
    with running(tmp_path) as daemon:
        daemon.wait_for(lambda: daemon.generation() == 1)
        assert len(hosts(daemon.policy_file)) == 301


def test_an_edit_is_published_although_edits_never_end(tmp_path):
    """Bursts are waited for, and not for ever."""
    made_places(tmp_path)
    over = threading.Event()

    def edit() -> None:
        number = 0
        while not over.wait(0.02):
            number += 1
            write(tmp_path, "busy.yaml", service("busy", f"10.1.0.{1 + number % 200}"))

    with running(tmp_path) as daemon:
        daemon.wait_for(lambda: daemon.generation() == 1)
        editor = threading.Thread(target=edit)
        editor.start()
        try:
            daemon.wait_for(lambda: "busy.example.com" in hosts(daemon.policy_file))
            daemon.wait_for(lambda: daemon.generation() > 3)
        finally:
            over.set()
            editor.join(PATIENCE_S)


def test_a_broken_edit_is_refused_whole_and_its_mending_goes_through(tmp_path):
    """The old policy stays, and the reason is told with file and line wherever somebody looks."""
    made_places(tmp_path)
    with running(tmp_path) as daemon:
        daemon.wait_for(lambda: daemon.generation() == 1)
        before = daemon.records()
        write(tmp_path, "broken.yaml", BROKEN)
        write(tmp_path, "good.yaml", service("good"))
        daemon.wait_for(lambda: (status := daemon.status()) and status.refused)
        assert daemon.records() == before
        assert "broken.yaml:6" in daemon.err()
        assert "did you mean 'http'?" in daemon.err()
        looked = meshware("status", "--run-dir", daemon.run_dir, "--format", "json")
        told = json.loads(looked.stdout)
        assert (looked.returncode, told["ok"]) == (1, False)
        [finding] = [f for f in told["refused"]["problems"] if f["severity"] == "error"]
        assert finding["line"] == 6 and finding["file"].endswith("broken.yaml")
        write(tmp_path, "broken.yaml", service("mended"))
        daemon.wait_for(lambda: daemon.generation() == 2)
        assert hosts(daemon.policy_file) >= {"good.example.com", "mended.example.com"}
        daemon.wait_for(lambda: (status := daemon.status()) and status.refused is None)


@pytest.mark.parametrize("fault", ["broken", "missing"])
def test_it_starts_from_the_last_good_policy_when_its_source_is_broken(tmp_path, fault):
    """Also without a run directory: the state directory remembers."""
    made_places(tmp_path)
    assert sync(tmp_path, "--once").returncode == 0
    before = decode((tmp_path / "run/policy.mesh").read_bytes())[1]
    shutil.rmtree(tmp_path / "run")
    if fault == "broken":
        write(tmp_path, "broken.yaml", BROKEN)
    else:
        shutil.rmtree(tmp_path / "mesh")
    with running(tmp_path) as daemon:
        daemon.wait_for(lambda: daemon.generation() > 0)
        assert decode(daemon.records())[1] == before
        assert daemon.generation() == 2
        daemon.wait_for(lambda: (status := daemon.status()) and status.refused)


@pytest.mark.parametrize("lost", ["run", "state"])
def test_generations_never_go_back(tmp_path, lost):
    """Either directory may be deleted; the other one remembers."""
    made_places(tmp_path)
    for number in range(3):
        write(tmp_path, "shop.yaml", service("shop", f"10.0.0.{number + 1}"))
        assert sync(tmp_path, "--once").returncode == 0
    assert header_of(tmp_path / "run/policy.mesh").generation == 3
    shutil.rmtree(tmp_path / lost)
    write(tmp_path, "shop.yaml", service("shop", "10.0.0.9"))
    assert sync(tmp_path, "--once").returncode == 0
    assert header_of(tmp_path / "run/policy.mesh").generation == 4


def test_a_run_directory_that_is_deleted_comes_back(tmp_path):
    """Under a later generation, so that workers take it."""
    made_places(tmp_path)
    with running(tmp_path) as daemon:
        daemon.wait_for(lambda: daemon.generation() == 1)
        shutil.rmtree(daemon.run_dir)
        daemon.wait_for(lambda: daemon.generation() == 2)


def test_once_says_by_its_exit_code_whether_it_published(tmp_path):
    """For scripts: 0, or 1 where there are findings and the old policy stays."""
    made_places(tmp_path)
    assert sync(tmp_path, "--once").returncode == 0
    write(tmp_path, "broken.yaml", BROKEN)
    done = sync(tmp_path, "--once")
    assert done.returncode == 1
    assert "broken.yaml:6" in done.stderr
    assert header_of(tmp_path / "run/policy.mesh").generation == 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])
def test_it_ends_cleanly(tmp_path, number):
    """The policy stays for the apps, and the status says that the daemon has ended."""
    made_places(tmp_path)
    with running(tmp_path) as daemon:
        daemon.wait_for(lambda: daemon.generation() == 1)
        assert daemon.end(number) == 0
        assert "Traceback" not in daemon.err()
        status = daemon.status()
        assert status is not None and status.ended_at is not None
        assert daemon.policy_file.exists()


def test_a_second_daemon_on_one_run_directory_is_refused(tmp_path):
    """Two would take turns in undoing each other's work."""
    made_places(tmp_path)
    with running(tmp_path) as daemon:
        daemon.wait_for(lambda: daemon.generation() == 1)
        done = sync(tmp_path, "--listen", "off")
        assert done.returncode == 2
        [sentence] = done.stderr.splitlines()
        assert str(daemon.popen.pid) in sentence or "another" in sentence


def test_a_state_directory_within_the_run_directory_is_refused(tmp_path):
    """Workers read there."""
    made_places(tmp_path)
    done = meshware(
        "sync", "--source", tmp_path / "mesh", "--run-dir", tmp_path / "run",
        "--state-dir", tmp_path / "run/state", "--once",
    )  # fmt: skip
    assert done.returncode == 2
    assert "--state-dir" in done.stderr and len(done.stderr.splitlines()) == 1


def test_it_answers_where_it_listens_and_refuses_a_port_that_is_taken(tmp_path):
    """`/healthz` for whoever watches the daemon itself."""
    made_places(tmp_path)
    with running(tmp_path) as daemon:
        daemon.wait_for(lambda: (status := daemon.status()) and status.listen)
        where = daemon.status().listen
        with urllib.request.urlopen(f"http://{where}/healthz", timeout=PATIENCE_S) as answer:
            assert answer.status == 200
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = sync(tmp_path, "--listen", f"127.0.0.1:{port}")
        assert done.returncode == 2
        [sentence] = done.stderr.splitlines()
        assert str(port) in sentence


def test_the_swap_of_a_config_map_is_followed(tmp_path):
    """Kubernetes moves a link to a directory; the files' own names never change."""
    made_places(tmp_path)
    source = tmp_path / "mesh"
    shutil.rmtree(source)
    for number, host in ((1, "one"), (2, "two")):
        version = source / f"..2026_{number}"
        version.mkdir(parents=True)
        (version / "shop.yaml").write_text(service(host), encoding="utf-8")
    os.symlink("..2026_1", source / "..data")
    os.symlink("..data/shop.yaml", source / "shop.yaml")
    with running(tmp_path) as daemon:
        daemon.wait_for(lambda: daemon.generation() == 1)
        assert hosts(daemon.policy_file) == {"one.example.com"}
        os.symlink("..2026_2", source / "..data_tmp")
        os.replace(source / "..data_tmp", source / "..data")
        daemon.wait_for(lambda: daemon.generation() == 2)
        assert hosts(daemon.policy_file) == {"two.example.com"}
