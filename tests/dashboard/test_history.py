"""History from a real Prometheus, and what the page says of one that does not answer."""

from __future__ import annotations

import http.client
import json
import re
import socket
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from contextlib import contextmanager

from bad_servers import answering
from inbound_servers import QUIET, Server
from metrics_world import ENVIRON, POLICY
from playwright.sync_api import expect
from prometheus_server import Prometheus
from sync_world import running

APP = ["gunicorn", *QUIET, "-b", "127.0.0.1:0", "counted_app:application"]
EDGE = "unknown->default/shop"


def call(server: Server, path: str) -> None:
    """One call over a connection of its own."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    try:
        connection.request("GET", path, headers={"host": "shop.default"})
        connection.getresponse().read()
    finally:
        connection.close()


@contextmanager
def mesh(place, *arguments: str):
    """A daemon and an app that it counts the calls of."""
    (place / "mesh").mkdir()
    (place / "mesh/p.yaml").write_text(POLICY)
    with running(place, *arguments) as daemon:
        daemon.wait_for(
            lambda: daemon.generation() and (said := daemon.status_yet()) and said.listen
        )
        server = Server(APP, place, {"MESH_CONFIG": str(daemon.policy_file), **ENVIRON})
        try:
            server.wait_until_up()
            yield daemon, server
        finally:
            server.end()


def ask(daemon, path: str, **query: object) -> tuple[int, dict]:
    """Status and JSON of the dashboard's API."""
    url = f"http://{daemon.status().listen}/api/{path}?{urllib.parse.urlencode(query)}"
    try:
        with urllib.request.urlopen(url, timeout=30) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def drawn(daemon, server: Server) -> bool:
    """Have the edge in the graph: it is drawn some seconds after a call of a stranger's."""
    call(server, "/status/200")
    return any(edge["id"] == EDGE for edge in ask(daemon, "graph")[1]["edges"])


def remembered(daemon) -> dict:
    """What the daemon has heard from Prometheus of the last hour."""
    now = int(time.time())
    status, told = ask(daemon, "history", **{"id": EDGE, "from": now - 3600, "to": now})
    assert status == 200, told
    return told["series"]


def some_failed(series: dict) -> bool:
    """Whether there is a point at which some calls failed, and not all."""
    return any(0 < share < 1 for share in series["error_share"] if share)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return free.getsockname()[1]


def test_the_page_shows_what_prometheus_remembers(tmp_path, engine, page, complaints):
    """Calls that Prometheus has counted are a line of the chart, and a failed half is half."""
    program, port = engine("prometheus"), free_port()
    with mesh(tmp_path, "--prometheus", f"http://127.0.0.1:{port}/") as (daemon, server):
        listen = daemon.status().listen
        prometheus = Prometheus(program, tmp_path / "prometheus", listen, port=port)
        try:
            mine = 'istio_requests_total{response_code="503"}'
            prometheus.wait_until(f"count({mine})", lambda: call(server, "/status/503"))
            for number in range(60):
                call(server, f"/status/{503 if number % 2 else 200}")
                time.sleep(0.05)
            daemon.wait_for(lambda: drawn(daemon, server))
            daemon.wait_for(lambda: some_failed(remembered(daemon)), 90)
            series = remembered(daemon)
            assert some_failed(series)
            lists = ("rate", "error_share", "p50_ms", "calls", "attempts")
            assert len({len(series[name]) for name in lists}) == 1
            assert any(series["rate"])
            assert any(series["p99_ms"])
            page.goto(f"http://{listen}/#/graph/edge/{urllib.parse.quote(EDGE, safe='')}")
            page.get_by_role("button", name="6 h").click()
            expect(page.locator(".charts .chart svg")).to_have_count(5)
            expect(page.locator(".charts .chart .key b").first).to_contain_text("/s")
            assert complaints == []
        finally:
            prometheus.end()
        page.get_by_role("button", name="24 h").click()
        expect(page.locator(".charts")).to_contain_text("cannot be reached")


def test_a_server_that_never_answers_holds_up_nobody(tmp_path):
    """Ten questions wait; the graph, /metrics and policy go on meanwhile."""
    with (
        answering(b"", hold=True) as port,
        mesh(tmp_path, "--prometheus", f"http://127.0.0.1:{port}") as (daemon, server),
    ):
        daemon.wait_for(lambda: drawn(daemon, server))
        now, answers = int(time.time()), []

        def wait() -> None:
            query = {"id": EDGE, "from": now - 3600, "to": now}
            answers.append(ask(daemon, "history", **query))

        waiting = [threading.Thread(target=wait) for _ in range(10)]
        for thread in waiting:
            thread.start()
        asked = 0
        while not answers:
            assert ask(daemon, "graph")[0] == 200
            asked += 1
        assert asked > 1, "others are answered while a question waits"
        for thread in waiting:
            thread.join()
        assert {status for status, _ in answers} == {502}
        assert all(re.search("did not answer within", told["message"]) for _, told in answers)
