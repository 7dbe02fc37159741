"""Refused and failed calls and traces of real apps, as a real daemon tells them."""

from __future__ import annotations

import os
import signal
import socket

import pytest
from inbound_servers import QUIET
from ringed_world import APPS, DOORS, DOORS_PLACE, REGISTRY_ONLY, ringed


@pytest.fixture
def mesh(tmp_path):
    """Two apps and a daemon."""
    with ringed(tmp_path) as made:
        yield made


def test_a_refused_call_says_why_then_and_now(mesh):
    """Reason, policy, rule and line; asked again after an edit, policy says otherwise."""
    assert mesh.orders.get("/closed?card=4111-secret").status == 403
    call = mesh.wait_for_call(path="/closed")
    assert (call["namespace"], call["workload"], call["direction"]) == (
        "default", "orders", "inbound",
    )  # fmt: skip
    assert (call["outcome"], call["status"], call["policy"], call["rule"]) == (
        "refused", 403, "default/doors", 0,
    )  # fmt: skip
    assert call["place"].endswith(DOORS_PLACE)
    assert "rbac_access_denied_matched_policy" in call["reason"]
    why = mesh.ask("why", id=call["id"])
    assert (why["is_same_policy"], why["agrees"]) == (True, True)
    assert "default/doors, rule 0 at" in why["text"][0]
    assert why["call"] == call
    assert "4111-secret" not in str(why) + str(mesh.ask("calls")) + str(mesh.ask("traces"))

    mesh.edit("doors.yaml", DOORS.replace("/closed", "/other"))
    why = mesh.ask("why", id=call["id"])
    assert (why["is_same_policy"], why["agrees"]) == (False, False)
    assert why["notes"][0].startswith("Policy has changed since")
    assert "would let such a call in" in why["notes"][1]
    assert why["answer"]["inbound"]["verdict"] == "allow"
    assert mesh.ask("why", id="x.1") == 404


def test_what_an_app_fails_at_and_what_goes_out_in_vain(mesh):
    """Exceptions by their type; calls that the mesh does not send out, with flag and reason."""
    mesh.orders.get("/boom")
    call = mesh.wait_for_call(path="/boom")
    assert (call["outcome"], call["status"], call["exception"]) == ("failed", 500, "ValueError")
    why = mesh.ask("why", id=call["id"])
    assert "it was the app that failed" in why["notes"][1]

    mesh.edit("mesh.yaml", REGISTRY_ONLY)
    mesh.web.get("/lost")
    call = mesh.wait_for_call(direction="outbound")
    assert (call["workload"], call["status"], call["outcome"]) == ("web", 502, "refused")
    assert (call["host"], call["path"], call["route"]) == (
        "nobody-at-all.invalid",
        "/x",
        "block_all",
    )
    why = mesh.ask("why", id=call["id"])
    assert why["agrees"] is True
    assert why["answer"]["outbound"]["status"] == 502
    # Whoever called is told of the 502, too: web's own answer was the app's.
    assert mesh.wait_for_call(workload="web", direction="inbound")["status"] == 502


def test_a_retried_call_is_one_trace_over_two_services(mesh):
    """Server, client, two attempts below it, and a server span below each of them."""
    assert mesh.web.get("/buy").status == 200

    def whole():
        return [trace for trace in mesh.ask("traces")["traces"] if len(trace["spans"]) == 6]

    mesh.daemon.wait_for(whole)
    [trace] = whole()
    assert trace["services"] == ["default/orders", "default/web"]
    assert (trace["workload"], trace["is_failed"]) == ("web", True)
    spans = {span["span_id"]: span for span in trace["spans"]}
    root = trace["spans"][0]
    [call] = [s for s in spans.values() if s["parent_id"] == root["span_id"]]
    first, second = [s for s in trace["spans"] if s["parent_id"] == call["span_id"]]
    assert (call["attempts"], first["attempt"], second["attempt"]) == (2, 1, 2)
    assert (first["code"], first["status"], second["code"]) == (503, "error", 200)
    for attempt in (first, second):
        [below] = [s for s in spans.values() if s["parent_id"] == attempt["span_id"]]
        assert (below["workload"], below["kind"]) == ("orders", "server")
        assert below["code"] == attempt["code"]
    # The app's 503 to the first attempt is a failed call, of this trace.
    assert mesh.wait_for_call(path="/flaky")["trace_id"] == trace["trace_id"]
    assert [t["trace_id"] for t in mesh.ask("traces", errors=1, service="orders")["traces"]] == [
        trace["trace_id"]
    ]
    assert mesh.ask("traces", namespace="elsewhere")["traces"] == []


def test_who_has_seen_some_asks_for_what_came_since(mesh):
    mesh.orders.get("/closed")
    mesh.wait_for_call(path="/closed")
    answer = mesh.ask("calls")
    assert answer["is_whole"]
    cursor = answer["cursor"]
    assert mesh.ask("calls", since=cursor)["calls"] == []
    mesh.web.get("/boom")
    mesh.daemon.wait_for(lambda: mesh.ask("calls", since=cursor)["calls"])
    since = mesh.ask("calls", since=cursor)
    assert not since["is_whole"]
    assert {call["path"] for call in since["calls"]} == {"/boom"}
    assert mesh.ask("calls", since="another.7")["is_whole"]
    assert {call["workload"] for call in mesh.calls(service="orders")} == {"orders"}
    assert mesh.calls(namespace="elsewhere") == []
    assert {call["path"] for call in mesh.calls(reason="default/doors")} == {"/closed"}
    assert mesh.ask("calls", limit=0) == 400
    assert mesh.ask("calls", direction="sideways") == 400


def test_an_idle_reader_hears_of_calls_and_holds_up_nobody(mesh):
    """One that reads gets an event; one that never reads costs the others nothing."""
    host, _, port = mesh.address.removeprefix("http://").rpartition(":")
    request = b"GET /api/events HTTP/1.1\r\nHost: localhost\r\n\r\n"
    with (
        socket.create_connection((host, int(port)), 20) as idle,
        socket.create_connection((host, int(port)), 20) as reader,
    ):
        idle.sendall(request)
        reader.sendall(request)
        seen = b""
        while b"event: tick" not in seen:
            seen += reader.recv(65536)
        for number in range(40):
            mesh.orders.get(f"/closed{'x' * 400 if number else ''}")
        mesh.orders.get("/closed")
        while b"event: call" not in seen:
            more = reader.recv(65536)
            assert more
            seen += more
        assert b'"count":' in seen
        assert mesh.wait_for_call(path="/closed")


def test_the_last_written_calls_of_a_killed_worker_remain(mesh):
    """And are told although nobody can ask the worker any more."""
    mesh.orders.get("/closed")
    call = mesh.wait_for_call(path="/closed")
    os.kill(mesh.orders.popen.pid, signal.SIGKILL)
    mesh.orders.popen.wait(20)
    mesh.daemon.wait_for(lambda: len(mesh.ask("workers")["workers"]) == 1)
    assert mesh.wait_for_call(path="/closed")["id"] == call["id"]
    assert mesh.ask("why", id=call["id"])["agrees"] is True

    # Who calls it tells of that: each attempt, and the file and line of the route that was taken.
    mesh.web.get("/buy")
    call = mesh.wait_for_call(direction="outbound")
    assert (call["status"], call["attempts"], call["route"]) == (503, 3, "patient")
    assert "UF" in call["flags"].split(",")
    assert {tried["failure"] for tried in call["tries"]} == {"connect"}
    why = mesh.ask("why", id=call["id"])
    assert "it was the destination that failed" in why["notes"][1]
    assert 'rule 0 ("patient") matched' in "\n".join(why["text"])
    assert "mesh/shop.yaml:" in "\n".join(why["text"])


def test_forked_workers_tell_each_of_their_own_calls(tmp_path):
    """What the parent process remembers is not told again by its children."""
    gunicorn = [
        "gunicorn", *QUIET, "--preload", "--workers", "2", "-b", "127.0.0.1:0",
        "-k", "uvicorn.workers.UvicornWorker", "ringed_apps:asgi",
    ]  # fmt: skip
    with ringed(tmp_path, lambda name: gunicorn if name == "orders" else APPS) as mesh:
        for _ in range(10):
            mesh.orders.get("/closed")

        def told() -> int:
            answer = mesh.ask("calls", reason="default/doors")
            return answer["left_out"] + sum(1 + call["left_out"] for call in answer["calls"])

        mesh.daemon.wait_for(lambda: told() >= 10)
        calls = mesh.calls(service="orders")
        assert len({call["request_id"] for call in calls}) == len(calls)
