"""Servers that fork, spawn and reload: every process follows policy on its own."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from inbound_servers import (
    COMMANDS,
    PATIENCE_S,
    PolicyFile,
    Server,
    descriptors_of,
    serving,
    threads_of,
)
from inbound_world import policy, to

WORKERS = 2
OPEN = policy("ALLOW", to(paths=["/*"]))
CLOSED = policy("DENY", to(paths=["/door"]))

SERVERS = {
    "gunicorn --preload": [*COMMANDS["gunicorn sync"], "--preload", "--workers", "2"],
    "gunicorn --preload, threads": [*COMMANDS["gunicorn gthread"], "--preload", "--workers", "2"],
    "gunicorn --preload, uvicorn": [*COMMANDS["gunicorn uvicorn"], "--preload", "--workers", "2"],
    "gunicorn": [*COMMANDS["gunicorn sync"], "--workers", "2"],
    "uvicorn --workers": [*COMMANDS["uvicorn h11"], "--workers", "2"],
}


def answers(server: Server, wanted: int) -> dict[int, int]:
    """The generation that each worker goes by, once `wanted` of them have answered."""
    found: dict[int, int] = {}

    def ask() -> bool:
        said = server.get("/who").said
        found[said["pid"]] = said["generation"]
        return len(found) >= wanted

    server.wait_for(ask, f"answer from {wanted} processes")
    return found


def follow(server: Server, generation: int, wanted: int = WORKERS) -> set[int]:
    """Wait until all workers go by a generation, and return their process ids."""
    server.wait_for(
        lambda: set(answers(server, wanted).values()) == {generation}, f"take up {generation}"
    )
    return set(answers(server, wanted))


@pytest.mark.parametrize("is_started_before", [False, True], ids=["", "started before the fork"])
@pytest.mark.parametrize("name", SERVERS)
def test_every_worker_follows_on_its_own(tmp_path, name, is_started_before):
    """Also where the mesh was started in the process that forks, threads and all."""
    policies = PolicyFile(tmp_path / "run")
    (tmp_path / "run" / "reports").mkdir()
    policies.write(OPEN)
    environ = {"SERVED_START_AT_IMPORT": "1"} if is_started_before else {}
    with serving(SERVERS[name], tmp_path, policies.path, **environ) as server:
        workers = follow(server, 1)
        assert server.get("/door").status == 200
        assert all(threads_of(pid) >= 2 for pid in workers), "each has a follower of its own"

        generation = policies.write(OPEN, CLOSED)
        assert follow(server, generation) == workers
        assert {server.get("/door").status for _ in range(20)} == {403}

        # A worker that comes later starts with what is in force now, and follows as well.
        lost = min(workers)
        os.kill(lost, signal.SIGKILL)
        server.wait_for(lambda: not Path(f"/proc/{lost}").exists(), "lose a worker")
        generation = policies.write(OPEN)
        remaining = follow(server, generation)
        assert lost not in remaining
        assert server.get("/door").status == 200
        reports = {path.stem for path in (tmp_path / "run/reports").rglob("*.json")}
        assert len(reports) >= WORKERS, "each worker keeps a report of its own"


def test_request_ids_of_forked_workers_differ(tmp_path):
    """A fork copies the source of chance; each child must draw its own."""
    policies = PolicyFile(tmp_path / "run")
    policies.write(OPEN)
    command = SERVERS["gunicorn --preload"]
    with serving(command, tmp_path, policies.path, SERVED_START_AT_IMPORT="1") as server:
        answers(server, WORKERS)
        ids = [server.get("/who").said["request_id"] for _ in range(100)]
        assert len(set(ids)) == len(ids)


def test_a_reloaded_process_follows_on_its_own(tmp_path):
    """`uvicorn --reload` starts another process for each edit of the app."""
    policies = PolicyFile(tmp_path / "run")
    policies.write(OPEN)
    app = tmp_path / "app"
    app.mkdir()
    edited = app / "edited.py"
    edited.write_text("from served import asgi\n", encoding="utf-8")
    command = [
        "uvicorn", "--port", "0", "--reload", "--reload-dir", str(app), "--app-dir", str(app),
        "edited:asgi",
    ]  # fmt: skip
    with serving(command, tmp_path, policies.path) as server:
        [first] = follow(server, 1, wanted=1)
        assert follow(server, policies.write(OPEN, CLOSED), wanted=1) == {first}
        assert server.get("/door").status == 403

        server.reload(
            edited, "from served import asgi", lambda: server.get("/who").said["pid"] != first
        )
        [second] = follow(server, policies.generation, wanted=1)
        assert server.get("/door").status == 403
        assert follow(server, policies.write(OPEN), wanted=1) == {second}
        assert server.get("/door").status == 200
        assert not Path(f"/proc/{first}").exists()


def test_workers_that_come_and_go_leave_nothing_in_their_parent(tmp_path):
    """A preloading parent forks again and again."""
    policies = PolicyFile(tmp_path / "run")
    policies.write(OPEN)
    command = [*SERVERS["gunicorn --preload"], "--max-requests", "1"]
    with serving(command, tmp_path, policies.path, SERVED_START_AT_IMPORT="1") as server:
        answers(server, 4)
        parent = server.popen.pid
        before = len(descriptors_of(parent)), threads_of(parent)
        for _ in range(3):
            generation = policies.write(OPEN)
            pids = answers(server, 4)
            assert len(pids) >= 4
        server.wait_for(
            lambda: server.get("/who").said["generation"] == generation, "follow at the end"
        )
        few = 2 * WORKERS + 1  # gunicorn's pipes to workers that are just coming
        server.wait_for(
            lambda: (
                len(descriptors_of(parent)) <= before[0] + few and threads_of(parent) <= before[1]
            ),
            f"give back what it held: {before}, {descriptors_of(parent)}, within {PATIENCE_S} s",
        )
