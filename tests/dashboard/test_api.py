"""What the application answers, and to whom."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace

import dashboard_made
import dashboard_world
import pytest

from meshware.clock import SystemClock
from meshware.dashboard.access import Access, is_loopback
from meshware.dashboard.api import build_app
from meshware.dashboard.data import Counted, EndpointSeen, Sample, Told
from meshware.dashboard.live import Live, TooManyError

TOKEN = "a-token-that-is-long-enough"
LABELS = {
    "reporter": "source",
    "source_workload": "web",
    "source_workload_namespace": "shop",
    "destination_service_name": "cart",
    "destination_service_namespace": "shop",
    "destination_service": "cart.shop.svc.cluster.local",
}


class Known:
    """A console whose one series rises by what it is told, and whose calls are."""

    def __init__(self) -> None:
        self.requests = 0.0
        self.told: list[dict] = []

    def generation(self):
        return 7

    def counted(self):
        endpoints = [
            EndpointSeen(
                service="cart.shop.svc.cluster.local",
                address="10.0.0.1:80",
                attempts=self.requests,
                failed=self.requests / 4,
                ejected_by=2,
            ),
            EndpointSeen(service="other.shop.svc.cluster.local", address="10.0.0.2:80"),
        ]
        sample = Sample(labels=LABELS, requests=self.requests, errors=self.requests / 2)
        return Counted([sample], endpoints)

    def workers(self):
        return []

    def policy(self):
        return {"resources": [], "findings": [], "refused": None, "changes": []}

    def look(self):
        return self.remembered()

    def remembered(self):
        return Told("a", len(self.told), calls=tuple(self.told))

    def why(self, call_id):
        return {"call": {"id": call_id}, "text": []} if call_id == "a.1" else None


def ask(
    path: str,
    host: str = "127.0.0.1:1",
    access: Access | None = None,
    *,
    prometheus: str | None = None,
    **headers: str,
):
    """Ask the application once. Returns status, headers and body."""
    app = build_app(Known(), access or Access(), SystemClock(), prometheus=prometheus)
    path, _, query = path.partition("?")
    sent: list[dict] = []

    async def run() -> None:
        scope = {
            "type": "http",
            "method": "GET",
            "path": path,
            "raw_path": path.encode(),
            "root_path": "",
            "query_string": query.encode(),
            "headers": [
                (b"host", host.encode()),
                *((name.encode(), value.encode()) for name, value in headers.items()),
            ],
            "http_version": "1.1",
            "scheme": "http",
        }

        async def receive():
            return {"type": "http.request", "body": b""}

        async def send(message):
            sent.append(message)

        await app(scope, receive, send)

    asyncio.run(run())
    body = b"".join(message.get("body", b"") for message in sent[1:])
    return sent[0]["status"], dict(sent[0]["headers"]), body


@pytest.mark.parametrize("path", ["graph", "workers", "policy", "calls", "traces"])
def test_every_answer_forbids_foreign_scripts_and_being_kept(path):
    status, headers, body = ask(f"/api/{path}")
    assert status == 200
    assert json.loads(body)
    assert headers[b"content-security-policy"].startswith(b"default-src 'self'")
    assert b"unsafe" not in headers[b"content-security-policy"]
    assert headers[b"x-content-type-options"] == b"nosniff"
    assert headers[b"cache-control"] == b"no-store"


def test_calls_are_asked_for_by_number_and_bound():
    status, _, body = ask("/api/calls?limit=3&since=a.0")
    assert status == 200
    assert json.loads(body) == {"calls": [], "cursor": "a.0", "is_whole": True, "left_out": 0}
    assert ask("/api/calls?limit=x")[0] == 400
    assert ask("/api/traces?limit=5000")[0] == 400


def test_why_is_told_of_calls_that_are_remembered():
    status, _, body = ask("/api/why?id=a.1")
    assert (status, json.loads(body)["call"]) == (200, {"id": "a.1"})
    assert ask("/api/why?id=a.2")[0] == 404
    assert ask("/api/why")[0] == 404


@pytest.mark.parametrize("host", ["evil.example", "evil.example:15090", "10.0.0.1", ""])
def test_a_name_that_was_rebound_to_the_loopback_is_refused(host):
    assert ask("/api/graph", host)[0] == 403


@pytest.mark.parametrize("host", ["localhost", "localhost:1", "127.0.0.1", "[::1]:1"])
def test_the_loopback_is_let_in(host):
    assert ask("/api/graph", host)[0] == 200


def test_a_token_is_exchanged_for_a_cookie_that_lets_in():
    access = Access(TOKEN)
    assert ask("/api/graph", access=access)[0] == 403
    assert ask("/?token=wrong", access=access)[0] == 403
    status, headers, _ = ask(f"/?token={TOKEN}", "mesh.example", access)
    assert (status, headers[b"location"]) == (303, b"/")
    assert b"HttpOnly; SameSite=Strict" in headers[b"set-cookie"]
    cookie = headers[b"set-cookie"].decode().partition(";")[0]
    assert ask("/api/graph", "mesh.example", access, cookie=cookie)[0] == 200


@pytest.mark.parametrize("window", ["0", "3601", "-1", "x", "99999999999"])
def test_a_window_is_an_hour_at_the_most(window):
    assert ask(f"/api/graph?window={window}")[0] == 400


@pytest.mark.parametrize("path", ["edge?id=x", "node?id=x", "history?id=x"])
def test_what_is_not_there_is_said(path):
    status, _, body = ask(f"/api/{path}")
    assert status == 404
    assert json.loads(body)["message"]


@pytest.mark.parametrize(
    "query",
    ["id=x", "from=x&to=1", "from=5&to=4", "from=0&to=9999999999", "from=-1&to=5"],
    ids=["none", "no number", "backwards", "for ever", "before time"],
)
def test_a_time_of_history_that_is_none_is_said(query):
    assert ask(f"/api/history?{query}", prometheus="http://127.0.0.1:1")[0] == 400


def test_a_name_that_is_no_address_is_no_loopback():
    assert not is_loopback("127.0.0.1.evil.example")


def test_the_graph_has_the_rates_of_its_window():
    console = Known()
    live = Live(console, lambda: 1000.0)
    live.tick()
    for _ in range(4):
        console.requests += 10
        live.tick()
    (edge,) = live.view(4)["edges"]
    assert (edge["id"], edge["rate"], edge["error_share"]) == ("shop/web->shop/cart", 10, 0.5)
    assert {node["health"] for node in live.view(4)["nodes"]} == {"bad"}
    assert live.series(["shop/web->shop/cart"], 4)["rate"] == [10, 10, 10, 10]


def test_endpoints_have_the_rates_of_all_their_callers():
    console = Known()
    live = Live(console, lambda: 1000.0)
    live.tick()
    for _ in range(4):
        console.requests += 8
        live.tick()
    assert live.endpoints.of(live.graph.hosts["shop/cart"]) == [
        {
            "address": "10.0.0.1:80",
            "rate": 32 / 5,
            "error_share": 0.25,
            "ejected": True,
            "ejected_by": 2,
        }
    ]


def test_who_does_not_read_is_dropped_and_who_reads_is_not():
    live = Live(Known(), lambda: 0.0)
    idle, reading = live.join(), live.join()
    for _ in range(100):
        live.tick()
        while not reading.events.empty():
            reading.events.get_nowait()
    assert idle.dropped.is_set()
    assert not reading.dropped.is_set()
    assert idle.events.qsize() <= 32


def test_readers_are_told_how_many_calls_are_new_and_the_newest():
    """One event a second, however many there were; not those from before anybody looked."""
    console = Known()
    live = Live(console, lambda: 0.0)
    console.told = [{"seen": 1}]
    live.tick()
    reader = live.join()

    def told() -> list[bytes]:
        live.tick()
        events = [reader.events.get_nowait() for _ in range(reader.events.qsize())]
        return [event for event in events if event.startswith(b"event: call")]

    assert told() == [b'event: call\ndata: {"count":0,"newest":{"seen":1}}\n\n']
    assert told() == []
    console.told = [{"seen": 3}, {"seen": 2}, {"seen": 1}]
    assert told() == [b'event: call\ndata: {"count":2,"newest":{"seen":3}}\n\n']
    assert told() == []


def test_no_more_may_watch_than_there_are_places():
    live = Live(Known(), lambda: 0.0)
    with pytest.raises(TooManyError):
        for _ in range(1000):
            live.join()


def test_what_tests_of_the_page_are_shown_has_the_shapes_of_what_is_told():
    """Else the page would learn shapes that no daemon tells."""
    known = Known()
    live = Live(known, lambda: 100.0)
    for requests in (0, 10, 20):
        known.requests = requests
        live.tick()
    told, made = live.view(60), dashboard_made.shop()
    assert made.graph.keys() == told.keys()
    for kind in ("nodes", "edges"):
        assert {frozenset(each) for each in made.graph[kind]} == {frozenset(told[kind][0])}
    (edge,) = live.graph.edges
    detail = dashboard_world.detail(made.graph["edges"][0], made)
    assert detail["series"].keys() == live.series([edge], 60).keys()
    (endpoint,) = live.endpoints.of(["cart.shop.svc.cluster.local"])
    assert {frozenset(each) for each in detail["endpoints"]} == {frozenset(endpoint)}


class Versions(Known):
    """The same, of two versions."""

    def counted(self):
        counted = super().counted()
        [sample] = counted.samples
        versions = [LABELS | {"destination_version": version} for version in ("v1", "v2")]
        samples = [replace(sample, labels=labels) for labels in versions]
        return Counted(samples, counted.endpoints)


def test_attempts_are_of_no_version():
    """Who attempts does not know which one will answer."""
    console = Versions()
    live = Live(console, lambda: 1000.0)
    live.tick()
    console.requests = 60.0
    live.tick()
    of = {edge.target.kind: name for name, edge in live.graph.edges.items()}
    assert set(live.series([of["version"]], 60)["attempts"]) == {None}
    assert None not in live.series([of["service"]], 60)["attempts"]
