"""Endpoints that DNS finds, from a real server to real sockets: with the daemon and without it."""

from __future__ import annotations

import re
import signal
import threading
import time
import urllib.request
from contextlib import contextmanager

import pytest
from daemons import clean_environ, meshware, running
from dns_server import GARBAGE, NXDOMAIN, SERVFAIL, SILENCE, dns_server, says
from dns_world import calling, entry, upstreams
from sync_world import PATIENCE_S, service

UH = (503, "no healthy upstream")


@pytest.fixture
def server():
    """A DNS server that knows nobody yet."""
    with dns_server() as made:
        yield made


@pytest.fixture
def source(tmp_path):
    """Where policy is written."""
    (tmp_path / "mesh").mkdir()
    return tmp_path / "mesh" / "api.yaml"


def wait_until(condition) -> None:
    """Wait for what must come."""
    until = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.02)


@contextmanager
def sync(root, server):
    """A daemon that asks the server."""
    with running(root, "--dns", server.address) as daemon:
        daemon.wait_for(lambda: _is_up(daemon))
        yield daemon


def _is_up(daemon) -> bool:
    """Say whether the status file is this daemon's, and not what one before it left."""
    status = daemon.status_yet()
    return status is not None and status.pid == daemon.popen.pid


@contextmanager
def followed(how, root, server):
    """A client of the mesh, in one of the two ways to follow policy."""
    if how == "daemon":
        with sync(root, server) as daemon, calling(daemon.policy_file) as caller:
            yield caller
    else:
        with calling(root / "mesh", MESH_DNS=server.address) as caller:
            yield caller


both = pytest.mark.parametrize("how", ["daemon", "yaml"])
"""What the daemon does for workers, a process that reads YAML does for itself."""


def figure(daemon, name: str) -> float:
    """A figure of the daemon's `/metrics`; 0 where it is not there yet."""
    with urllib.request.urlopen(f"http://{daemon.status().listen}/metrics", timeout=10) as answer:
        text = answer.read().decode()
    found = re.search(rf"^{re.escape(name)} (\S+)$", text, re.MULTILINE)
    return float(found[1]) if found else 0.0


def bad_answers(daemon) -> float:
    """How many look-ups were bad, of whatever kind."""
    reasons = ("nxdomain", "nodata", "servfail", "timeout", "unusable", "error")
    names = [f'meshware_sync_dns_lookups_total{{outcome="{reason}"}}' for reason in reasons]
    return sum(figure(daemon, name) for name in names)


# --- finding --------------------------------------------------------------------------------------


@both
def test_every_address_of_a_name_is_an_endpoint(how, source, server, tmp_path):
    """Calls are spread over them all."""
    with upstreams(2) as made:
        server.say("api.test", says("127.0.0.1", "127.0.0.2"))
        source.write_text(entry(made[0].port))
        with followed(how, tmp_path, server) as caller:
            wait_until(lambda: caller.get()[0] == 200)
            assert {caller.get() for _ in range(40)} == {(200, "127.0.0.1"), (200, "127.0.0.2")}


@both
def test_round_robin_has_the_first_address_of_each_answer(how, source, server, tmp_path):
    """One endpoint at any time."""
    with upstreams(2) as made:
        server.say("api.test", says("127.0.0.2", ttl_s=1))
        source.write_text(entry(made[0].port, resolution="DNS_ROUND_ROBIN"))
        with followed(how, tmp_path, server) as caller:
            wait_until(lambda: caller.get()[0] == 200)
            assert {caller.get() for _ in range(20)} == {(200, "127.0.0.2")}
            server.say("api.test", says("127.0.0.1", ttl_s=1))
            wait_until(lambda: caller.get() == (200, "127.0.0.1"))


@both
def test_a_change_is_followed_within_its_ttl(how, source, server, tmp_path):
    """And a name with a long one is left in peace."""
    with upstreams(2) as made:
        server.say("api.test", says("127.0.0.1", ttl_s=1))
        server.say("slow.test", says("127.0.0.1", ttl_s=3600))
        source.write_text(entry(made[0].port) + entry(made[0].port, "slow.test"))
        with followed(how, tmp_path, server) as caller:
            wait_until(lambda: caller.get() == (200, "127.0.0.1"))
            server.say("api.test", says("127.0.0.2", ttl_s=1))
            wait_until(lambda: caller.get() == (200, "127.0.0.2"))
            wait_until(lambda: server.times_asked("api.test") >= 4)
            assert server.times_asked("slow.test") == 1


@both
def test_a_name_that_is_not_found_yet_has_no_endpoint(how, source, server, tmp_path):
    """503 UH, at once, until it is found; other services are not kept waiting."""
    with upstreams(1) as made:
        source.write_text(entry(made[0].port))
        with followed(how, tmp_path, server) as caller:
            assert caller.get() == UH
            server.say("api.test", says("127.0.0.1"))
            wait_until(lambda: caller.get() == (200, "127.0.0.1"))


@both
def test_no_call_waits_for_a_server_that_does_not_answer(how, source, server, tmp_path):
    """Neither of that name nor of any other: look-ups take seconds, and calls do not."""
    with upstreams(1) as made:
        server.say("api.test", SILENCE)
        server.say("fine.test", says("127.0.0.1"))
        source.write_text(entry(made[0].port) + entry(made[0].port, "fine.test"))
        with followed(how, tmp_path, server) as caller:
            assert caller.get() == UH
            wait_until(lambda: caller.get("http://fine.test/") == (200, "127.0.0.1"))
            began = time.monotonic()
            assert {caller.get() for _ in range(50)} == {UH}
            assert time.monotonic() - began < 5.0  # the first look-up alone takes as long


@both
def test_names_of_endpoints_and_of_selected_workloads_are_found(how, source, server, tmp_path):
    """With labels, so that subsets hold for what DNS finds."""
    with upstreams(2) as made:
        server.say("one.test", says("127.0.0.1"))
        server.say("two.test", says("127.0.0.2"))
        endpoints = [
            {"address": "one.test", "labels": {"version": "v1"}},
            {"address": "two.test", "labels": {"version": "v2"}},
        ]
        source.write_text(
            entry(made[0].port, endpoints=endpoints)
            + entry(made[0].port, "chosen.test", workloadSelector={"labels": {"app": "two"}})
            + """---
apiVersion: networking.istio.io/v1
kind: WorkloadEntry
metadata: {name: two}
spec: {address: two.test, labels: {app: two}}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: api}
spec: {host: api.test, subsets: [{name: v2, labels: {version: v2}}]}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: api}
spec:
  hosts: [api.test]
  http:
    - match: [{uri: {prefix: /two}}]
      route: [{destination: {host: api.test, subset: v2}}]
    - route: [{destination: {host: api.test}}]
"""
        )
        with followed(how, tmp_path, server) as caller:
            for address in ("127.0.0.1", "127.0.0.2"):
                wait_until(lambda address=address: caller.get() == (200, address))
            assert {caller.get() for _ in range(40)} == {(200, "127.0.0.1"), (200, "127.0.0.2")}
            assert {caller.get("http://api.test/two") for _ in range(20)} == {(200, "127.0.0.2")}
            assert caller.get("http://chosen.test/") == (200, "127.0.0.2")


# --- failing and flapping -------------------------------------------------------------------------


@pytest.mark.parametrize(
    "answer",
    [NXDOMAIN, SERVFAIL, GARBAGE, says(), says("0.0.0.0")],
    ids=["nxdomain", "servfail", "garbage", "nodata", "unusable"],
)
def test_calls_go_on_to_the_last_good_answer(answer, source, server, tmp_path):
    """Whatever is wrong with the next ones."""
    with upstreams(1) as made:
        server.say("api.test", says("127.0.0.1", ttl_s=1))
        source.write_text(entry(made[0].port))
        with followed("yaml", tmp_path, server) as caller:
            wait_until(lambda: caller.get() == (200, "127.0.0.1"))
            server.say("api.test", answer)
            asked = server.times_asked("api.test")
            while server.times_asked("api.test") < asked + 2:
                assert caller.get() == (200, "127.0.0.1")
                time.sleep(0.02)


@both
def test_calls_go_on_while_dns_flaps(how, source, server, tmp_path):
    """Answers, failures and other answers in turn, as quick as TTLs allow, under steady calls."""
    script = [
        SERVFAIL,
        says("127.0.0.2", ttl_s=1),
        NXDOMAIN,
        says("127.0.0.1", "127.0.0.2", ttl_s=1),
        GARBAGE,
        says(),
        says("127.0.0.1", ttl_s=1),
    ]
    with upstreams(2) as made:
        server.say("api.test", says("127.0.0.1", ttl_s=1))
        source.write_text(entry(made[0].port))
        with followed(how, tmp_path, server) as caller:
            wait_until(lambda: caller.get() == (200, "127.0.0.1"))
            seen, is_over = [], threading.Event()

            def call() -> None:
                while not is_over.is_set():
                    seen.append(caller.get())
                    time.sleep(0.002)

            callers = [threading.Thread(target=call) for _ in range(3)]
            for thread in callers:
                thread.start()
            try:
                for answer in script:
                    asked = server.times_asked("api.test")
                    server.say("api.test", answer)
                    wait_until(lambda asked=asked: server.times_asked("api.test") > asked)
                wait_until(lambda: seen[-1] == (200, "127.0.0.1"))
            finally:
                is_over.set()
                for thread in callers:
                    thread.join()
            assert set(seen) == {(200, "127.0.0.1"), (200, "127.0.0.2")}
            assert len(seen) > 100


# --- the daemon -----------------------------------------------------------------------------------


def test_bad_answers_are_counted_and_told_once(source, server, tmp_path):
    """In `/metrics` each of them, in the log the first, and that it is over."""
    server.say("api.test", says("127.0.0.1", ttl_s=1))
    source.write_text(entry(8080) + entry(8080, "never.test"))
    with sync(tmp_path, server) as daemon:
        daemon.wait_for(lambda: figure(daemon, "meshware_sync_dns_names_unresolved") == 1)
        assert figure(daemon, "meshware_sync_dns_names") == 2
        server.say("api.test", SERVFAIL)
        before = bad_answers(daemon)
        daemon.wait_for(lambda: bad_answers(daemon) >= before + 3)
        daemon.wait_for(lambda: figure(daemon, "meshware_sync_dns_names_failing") == 2)
        server.say("api.test", says("127.0.0.2", ttl_s=1))
        daemon.wait_for(lambda: "found again" in daemon.err())
        daemon.wait_for(lambda: b'"127.0.0.2"' in daemon.records())
        assert figure(daemon, 'meshware_sync_dns_lookups_total{outcome="ok"}') >= 2
        told = daemon.err()
        assert told.count("api.test cannot be looked up") == 1
        assert "SERVFAIL" in told
        assert "calls go on to 127.0.0.1" in told
        assert told.count("never.test cannot be looked up: no such name (NXDOMAIN)") == 1
        assert "new addresses" in daemon.out()


def test_an_answer_that_says_the_same_publishes_nothing(source, server, tmp_path):
    """Workers would compile for nothing, each second."""
    server.say("api.test", says("127.0.0.2", "127.0.0.1", ttl_s=1))
    source.write_text(entry(8080))
    with sync(tmp_path, server) as daemon:
        daemon.wait_for(lambda: b'"127.0.0.1"' in daemon.records())
        generation = daemon.generation()
        server.say("api.test", says("127.0.0.1", "127.0.0.2", ttl_s=1))
        daemon.wait_for(lambda: server.times_asked("api.test") >= 4)
        assert daemon.generation() == generation


def test_a_daemon_that_starts_while_dns_is_down_takes_no_endpoint_away(source, server, tmp_path):
    """Killed and started anew, with the servers gone: the last good answer was published."""
    with upstreams(1) as made:
        server.say("api.test", says("127.0.0.1", ttl_s=1))
        source.write_text(entry(made[0].port))
        with sync(tmp_path, server) as daemon, calling(daemon.policy_file) as caller:
            wait_until(lambda: caller.get() == (200, "127.0.0.1"))
            daemon.end(signal.SIGKILL)
            server.say("api.test", SERVFAIL)
            with sync(tmp_path, server) as again:
                again.wait_for(lambda: bad_answers(again) >= 2)
                assert caller.get() == (200, "127.0.0.1")
                assert b'"127.0.0.1"' in again.records()
                # An edit of something else publishes with it, too.
                (source.parent / "shop.yaml").write_text(service("shop"))
                again.wait_for(lambda: b"shop.example.com" in again.records())
                assert b'"127.0.0.1"' in again.records()
                assert caller.get() == (200, "127.0.0.1")


def test_addresses_are_followed_while_the_sources_are_refused(source, server, tmp_path):
    """Also by a daemon that never saw sources it could use: it has what was published."""
    server.say("api.test", says("127.0.0.1", ttl_s=1))
    source.write_text(entry(8080))
    with sync(tmp_path, server) as daemon:
        daemon.wait_for(lambda: b'"127.0.0.1"' in daemon.records())
        source.write_text("kind: nonsense\n")
        daemon.wait_for(lambda: "refused" in daemon.err())
        server.say("api.test", says("127.0.0.2", ttl_s=1))
        daemon.wait_for(lambda: b'"127.0.0.2"' in daemon.records())
    with sync(tmp_path, server) as daemon:
        server.say("api.test", says("127.0.0.3", ttl_s=1))
        daemon.wait_for(lambda: b'"127.0.0.3"' in daemon.records())
        daemon.wait_for(lambda: (said := daemon.status_yet()) and said.refused is not None)


def test_names_that_policy_drops_are_asked_for_no_more(source, server, tmp_path):
    """And those that it adds are found."""
    server.say("api.test", says("127.0.0.1", ttl_s=1))
    server.say("b.test", says("127.0.0.2", ttl_s=1))
    source.write_text(entry(8080))
    with sync(tmp_path, server) as daemon:
        daemon.wait_for(lambda: server.times_asked("api.test") >= 2)
        source.write_text(entry(8080, "b.test"))
        daemon.wait_for(lambda: b'"127.0.0.2"' in daemon.records())
        asked = server.times_asked("api.test")
        daemon.wait_for(lambda: server.times_asked("b.test") >= 4)
        assert server.times_asked("api.test") <= asked + 1  # one may have been under way


def test_once_waits_for_the_answers_and_says_what_is_wrong(source, server, tmp_path):
    """There is no later for `--once`; what is not found is told, and has no endpoint."""
    server.say("api.test", says("127.0.0.1"))
    source.write_text(entry(8080) + entry(8080, "never.test"))
    done = meshware(
        "sync", "--source", source, "--run-dir", tmp_path / "run", "--state-dir",
        tmp_path / "state", "--once", environ=clean_environ({"MESH_DNS": server.address}),
    )  # fmt: skip
    assert done.returncode == 0
    assert b'"127.0.0.1"' in (tmp_path / "run" / "policy.mesh").read_bytes()
    assert b"never.test cannot be looked up: no such name" in done.stderr


def test_a_server_that_is_none_is_a_usage_error(source, tmp_path):
    """Before anything is done."""
    source.write_text(entry(8080))
    done = meshware(
        "sync", "--source", source, "--run-dir", tmp_path / "run", "--once", "--dns", "dns.test"
    )
    assert done.returncode == 2
    assert b"--dns is 'dns.test'" in done.stderr
    assert not (tmp_path / "run").exists()


def test_explain_shows_names_where_policy_is_yaml(source, tmp_path):
    """It has no network, and does not say that there is no endpoint."""
    source.write_text(entry(8080, endpoints=[{"address": "one.test"}, {"address": "10.0.0.1"}]))
    question = b'{"direction": "outbound", "method": "GET", "host": "api.test", "path": "/"}'
    done = meshware(
        "explain", "--policy", source, "--workload", "default/web", "--format", "json",
        stdin=question,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert b'"one.test"' in done.stdout
    assert b'"10.0.0.1"' in done.stdout
