"""Access logs of real servers: each call a whole line, and no call waits for any of it."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from inbound_servers import QUIET, PolicyFile, Server, serving
from metrics_world import ENVIRON, POLICY, scrape
from sync_world import running

GUNICORN = ["gunicorn", *QUIET, "-b", "127.0.0.1:0", "--workers", "4", "logged_apps:flask_app"]
GEVENT = ["gunicorn", *QUIET, "-b", "127.0.0.1:0", "-k", "gevent", "logged_apps:flask_app"]
UVICORN = ["uvicorn", "--port", "0", "--no-access-log", "logged_apps:fastapi_app"]
SERVERS = pytest.mark.parametrize(
    "command", [GUNICORN, GEVENT, UVICORN], ids=["gunicorn", "gevent", "uvicorn"]
)

LINE = "%REQ(X-ID)% %RESP(X-PID)% %RESPONSE_CODE% %REQ(X-LONG)% end"
WHOLE = re.compile(r"(\d+) (\d+) 200 (x*) end")


@pytest.fixture
def policy_file(tmp_path) -> Path:
    file = PolicyFile(tmp_path / "run")
    file.write()
    return file.path


def logs(*inbound: dict, outbound: tuple[dict, ...] = ()) -> str:
    """What `LOGS` says."""
    return json.dumps({"inbound": inbound, "outbound": outbound})


class Callers:
    """Eight threads that call, each over connections of its own."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._lock = threading.Lock()
        self._number = 0
        self.answered: dict[str, str] = {}  # pid by number of the call
        self.failed = 0

    def call(self, count: int) -> None:
        """Make calls, each with headers of another length."""
        threads = [threading.Thread(target=self._calls, args=(count // 8,)) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _calls(self, count: int) -> None:
        for _ in range(count):
            with self._lock:
                self._number += 1
                number = self._number
            connection = http.client.HTTPConnection("127.0.0.1", self._server.port, timeout=20)
            try:
                headers = {"x-id": str(number), "x-long": "x" * length_of(number)}
                connection.request("GET", f"/things/{number}", headers=headers)
                answer = connection.getresponse()
                answer.read()
                assert answer.status == 200
                with self._lock:
                    self.answered[str(number)] = answer.headers["x-pid"]
            except (OSError, http.client.HTTPException):
                self.failed += 1
            finally:
                connection.close()


def length_of(number: int) -> int:
    """How long a call's line is, more or less: pipes take 4,096 bytes at once."""
    return number * 97 % 7000


def numbers_in(text: str) -> Counter:
    """The calls whose lines are there, each looked at for being whole."""
    found: Counter = Counter()
    for line in text.splitlines():
        if line.startswith("- "):
            continue  # of whoever waited for the server
        whole = WHOLE.fullmatch(line)
        assert whole is not None, f"a torn line: {line[:200]!r}"
        assert len(whole[3]) == length_of(int(whole[1]))
        found[whole[1]] += 1
    return found


@SERVERS
def test_each_call_is_one_whole_line_of_a_file_through_rotations(tmp_path, policy_file, command):
    """Renamed away again and again while it is written to."""
    path = tmp_path / "access.log"
    plan = logs({"path": str(path), "text": LINE})
    with serving(command, tmp_path, policy_file, LOGS=plan) as server:
        callers = Callers(server)
        for turn in range(5):
            callers.call(160)
            path.rename(tmp_path / f"access.log.{turn}")
    texts = [each.read_text() for each in tmp_path.glob("access.log*")]
    found = sum((numbers_in(text) for text in texts), Counter())
    assert callers.failed == 0
    assert found == Counter(callers.answered.keys())
    assert len(found) == 800


def test_each_call_is_one_whole_line_of_standard_output(tmp_path, policy_file):
    """Of four workers that share a pipe, as in a container."""
    read, written = os.pipe()
    received: list[bytes] = []
    reader = threading.Thread(target=lambda: received.append(Path(f"/dev/fd/{read}").read_bytes()))
    reader.start()
    plan = logs({"path": "/dev/stdout", "text": LINE})
    environ = {"MESH_CONFIG": str(policy_file), "LOGS": plan}
    server = Server(GUNICORN, tmp_path, environ, stdout=written)
    os.close(written)
    try:
        server.wait_until_up()
        callers = Callers(server)
        callers.call(800)
    finally:
        server.end()
    reader.join(20)
    os.close(read)
    assert callers.failed == 0
    assert numbers_in(received[0].decode()) == Counter(callers.answered.keys())


def test_a_worker_that_is_killed_takes_only_what_waited_in_it(tmp_path, policy_file):
    """Whatever the others have logged is there, whole, and each once."""
    path = tmp_path / "access.log"
    plan = logs({"path": str(path), "text": LINE})
    with serving(GUNICORN, tmp_path, policy_file, LOGS=plan) as server:
        callers = Callers(server)
        callers.call(160)
        killed = set(list(callers.answered.values())[:1])
        calling = threading.Thread(target=callers.call, args=(400,))
        calling.start()
        for pid in killed:
            os.kill(int(pid), signal.SIGKILL)
        calling.join()
    found = numbers_in(path.read_text())
    missing = set(callers.answered) - set(found)
    assert {callers.answered[number] for number in missing} <= killed
    assert len(missing) <= 2, "a worker of one call at a time has next to nothing waiting"
    assert max(found.values()) == 1


@pytest.mark.parametrize("bad", ["full", "fifo", "nowhere", "raises", "blocks"])
@SERVERS
def test_whatever_fails_requests_go_on(tmp_path, policy_file, command, bad):
    """A full disk, a pipe that nobody reads, no directory, a handler that raises or blocks."""
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    paths = {"full": "/dev/full", "fifo": str(fifo), "nowhere": "/nowhere/at/all"}
    good = tmp_path / "good.log"
    environ = {}
    if bad in paths:
        broken = {"path": paths[bad], "text": LINE}
    else:
        broken = {"path": None, "text": LINE}
        environ["BAD_HANDLER"] = bad
    plan = logs(broken, {"path": str(good), "text": LINE})
    with serving(command, tmp_path, policy_file, LOGS=plan, **environ) as server:
        callers = Callers(server)
        callers.call(160)
    assert callers.failed == 0
    assert numbers_in(good.read_text()) == Counter(callers.answered.keys())
    if bad in ("full", "nowhere"):
        assert f"the access log {paths[bad]} loses lines" in server.words()


def test_what_is_lost_is_in_the_metrics(tmp_path):
    """Over all workers."""
    (tmp_path / "mesh").mkdir()
    (tmp_path / "mesh/p.yaml").write_text(POLICY)
    with running(tmp_path) as daemon:
        daemon.wait_for(
            lambda: daemon.generation() and (said := daemon.status_yet()) and said.listen
        )
        plan = logs({"path": "/dev/full", "text": LINE})
        environ = {"MESH_CONFIG": str(daemon.policy_file), "LOGS": plan, **ENVIRON}
        server = Server(GUNICORN, tmp_path, environ)
        try:
            server.wait_until_up()
            callers = Callers(server)
            callers.call(160)
            lost = re.compile(
                r'^meshware_telemetry_failures_total\{kind="access_log"\} (\d+)', re.M
            )

            def is_counted() -> bool:
                found = lost.search(scrape(daemon))
                return found is not None and int(found[1]) >= 160

            daemon.wait_for(is_counted, most_s=20.0)
        finally:
            server.end()


OTHER = {
    "apiVersion": "networking.istio.io/v1",
    "kind": "ServiceEntry",
    "metadata": {"name": "other"},
    "spec": {
        "hosts": ["other"],
        "location": "MESH_INTERNAL",
        "resolution": "STATIC",
        "ports": [{"number": 80, "name": "http", "protocol": "HTTP"}],
    },
}


@pytest.fixture
def other(tmp_path) -> Iterator[Server]:
    """A service that the apps call."""
    file = PolicyFile(tmp_path / "other/run")
    file.write()
    with serving(UVICORN, tmp_path / "other", file.path, LOGS=logs()) as server:
        yield server


@pytest.mark.parametrize("command", [GUNICORN, UVICORN], ids=["Flask", "FastAPI"])
def test_both_sides_of_a_call_are_logged(tmp_path, command, other):
    """The call that came in by its route, the one it made by its cluster; one request id."""
    entry = {
        **OTHER,
        "spec": {
            **OTHER["spec"],
            "endpoints": [{"address": "127.0.0.1", "ports": {"http": other.port}}],
        },
    }
    file = PolicyFile(tmp_path / "run")
    file.write(entry)
    inbound, outbound = tmp_path / "in.log", tmp_path / "out.log"
    plan = logs(
        {"path": str(inbound), "labels": {}},
        outbound=({"path": str(outbound), "labels": {}},),
    )
    with serving(command, tmp_path, file.path, LOGS=plan) as server:
        answer = server.get("/out")
        assert answer.said["status"] == 200
    [came] = [
        said
        for line in inbound.read_text().splitlines()
        if (said := json.loads(line))["path"] == "/out"
    ]
    [went] = [json.loads(line) for line in outbound.read_text().splitlines()]
    assert came["route_name"] == "/out"
    assert came["response_code"] == went["response_code"] == 200
    assert came["downstream_local_address"] == f"127.0.0.1:{server.port}"
    assert re.fullmatch(r"127\.0\.0\.1:[1-9]\d*", came["downstream_remote_address"])
    assert came["upstream_cluster"] == f"inbound|{server.port}||"
    assert came["request_id"] == went["request_id"] == answer.said["id"]
    assert went["path"].startswith("/things/far?from=")
    assert went["upstream_host"] == f"127.0.0.1:{other.port}"
    assert went["upstream_cluster"] == "outbound|80||other.default.svc.cluster.local"
    assert (went["bytes_sent"], went["authority"]) == (5, "other")
    assert 0 <= int(went["upstream_service_time"]) <= went["duration"]
