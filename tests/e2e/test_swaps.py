"""Policy swapped a thousand times under load: whole versions, no failures, nothing left behind."""

from __future__ import annotations

import http.client
import threading
import time
from contextlib import ExitStack

import pytest
from inbound_servers import (
    COMMANDS,
    PATIENCE_S,
    PolicyFile,
    Server,
    descriptors_of,
    records_of,
    serving,
    threads_of,
)
from inbound_world import policy, to

SWAPS = 1000
BETWEEN_S = 0.02
WORKERS = 2

# In each version some ALLOW policy lets /both pass, another one in each; and the version that lets
# /never pass denies it too. So a call that met one rule of either version would be told from all
# others: /both refused, or /never let in.
ALWAYS = policy("ALLOW", to(paths=["/", "/generation"]), name="always")
ODD = [
    ALWAYS,
    policy("ALLOW", to(paths=["/both", "/odd"]), name="a"),
    policy("ALLOW", to(paths=["/never"]), name="c"),
    policy("DENY", to(paths=["/never"])),
]
EVEN = [ALWAYS, policy("ALLOW", to(paths=["/both"]), name="b")]

SERVERS = {
    "gunicorn": [*COMMANDS["gunicorn gthread"], "--workers", str(WORKERS)],
    "uvicorn": [*COMMANDS["uvicorn httptools"], "--workers", str(WORKERS)],
}


class Load(threading.Thread):
    """Asks one server again and again, over connections that last for a while."""

    EXPECTED = {"/both": {200}, "/never": {403}, "/odd": {200, 403}, "/generation": {200}}

    def __init__(self, server: Server) -> None:
        super().__init__(daemon=True)
        self.server = server
        self.is_over = threading.Event()
        self.counts: dict[tuple[str, int], int] = {}
        self.generations: set[int] = set()
        self.wrong: list[str] = []

    def run(self) -> None:
        """Ask until it is over, or something is wrong."""
        try:
            while not self.is_over.is_set():
                connection = self.server.connect()
                try:
                    for _ in range(50):
                        self.ask(connection)
                finally:
                    connection.close()
        except (OSError, http.client.HTTPException) as error:
            self.wrong.append(f"a call failed: {error!r}")

    def ask(self, connection: http.client.HTTPConnection) -> None:
        for path, expected in self.EXPECTED.items():
            reply = self.server.get(path, connection=connection)
            key = (path, reply.status)
            self.counts[key] = self.counts.get(key, 0) + 1
            if reply.status not in expected:
                self.wrong.append(f"{path}: {reply}")
            if path == "/generation":
                self.generations.add(reply.said["generation"])


def workers_of(server: Server) -> dict[int, int]:
    """Each worker's process id, with the generation that it went by when it last answered."""
    found: dict[int, int] = {}
    until = time.monotonic() + PATIENCE_S
    while time.monotonic() < until and len(found) < WORKERS:
        said = server.get("/generation").said
        found[said["pid"]] = said["generation"]
    assert len(found) == WORKERS, f"not every worker answers:\n{server.words()}"
    return found


def held_by(pid: int) -> tuple[int, int]:
    """How many descriptors and threads a process has."""
    return len(descriptors_of(pid)), threads_of(pid)


@pytest.fixture(scope="module")
def swapped(tmp_path_factory):
    """Both servers after a thousand swaps under load, with what was seen."""
    place = tmp_path_factory.mktemp("swaps")
    policies = PolicyFile(place / "run")
    versions = [records_of(*EVEN), records_of(*ODD)]
    policies.write_records(versions[1])
    with ExitStack() as stack:
        servers = {
            name: stack.enter_context(
                serving(command, place / name, policies.path, SERVED_POLL_S="0.005")
            )
            for name, command in SERVERS.items()
        }
        warm = [Load(server) for server in servers.values() for _ in range(6)]
        for load in warm:
            load.start()
        pids = {name: list(workers_of(server)) for name, server in servers.items()}
        time.sleep(1)  # so that pools of threads have grown to what they are
        for load in warm:
            load.is_over.set()
        for load in warm:
            load.join(PATIENCE_S)
        before = {pid: held_by(pid) for found in pids.values() for pid in found}

        loads = {name: [Load(server) for _ in range(3)] for name, server in servers.items()}
        for load in [one for found in loads.values() for one in found]:
            load.start()
        for _ in range(SWAPS):
            policies.write_records(versions[(policies.generation + 1) % 2])
            time.sleep(BETWEEN_S)
        for load in [one for found in loads.values() for one in found]:
            load.is_over.set()
            load.join(PATIENCE_S)
        yield servers, policies, loads, before


@pytest.mark.parametrize("name", SERVERS)
def test_no_call_sees_a_mixture_and_none_fails(swapped, name):
    """Two rules that flip together are never split, and a swap costs no call."""
    _, _, loads, _ = swapped
    assert [wrong for load in loads[name] for wrong in load.wrong] == []


@pytest.mark.parametrize("name", SERVERS)
def test_the_calls_met_many_versions(swapped, name):
    """Else nothing would have been shown."""
    _, _, loads, _ = swapped
    generations = set().union(*(load.generations for load in loads[name]))
    assert len(generations) > SWAPS / 10
    for key in (("/odd", 200), ("/odd", 403)):
        assert sum(load.counts.get(key, 0) for load in loads[name]) > 100


@pytest.mark.parametrize("name", SERVERS)
def test_every_worker_ends_at_the_newest_version(swapped, name):
    """Each follows on its own."""
    servers, policies, _, before = swapped
    server: Server = servers[name]
    server.wait_for(
        lambda: set(workers_of(server).values()) == {policies.generation}, "follow to the end"
    )
    assert set(workers_of(server)) <= set(before), "a worker was replaced"


@pytest.mark.parametrize("name", SERVERS)
def test_no_thread_and_no_descriptor_is_left_behind(swapped, name):
    """What a version held goes with it."""
    servers, _, _, before = swapped
    server: Server = servers[name]
    few = 4  # a connection that is just closing, a thread of a server's pool
    for pid in workers_of(server):
        descriptors, threads = before[pid]
        server.wait_for(
            lambda pid=pid, descriptors=descriptors, threads=threads: (
                len(descriptors_of(pid)) <= descriptors + few and threads_of(pid) <= threads + few
            ),
            f"give back what it held: {before[pid]}, now {held_by(pid)}: {descriptors_of(pid)}",
        )
