"""Keys of issuers in the daemon, and in a process without one: real servers, real processes."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import threading
import time
import urllib.request
from contextlib import closing

import pytest
from daemons import meshware, running
from dns_server import dns_server
from dns_server import says as dns_says
from key_server import drips, endless, key_server, key_set, never, new_key, raw, redirects, says
from key_world import fetching, ids_in, published_ids, users
from sync_world import service, workers

from meshware.policy.jwks_records import DISCOVERY, jwks_key
from meshware.runtime.readers import SourcesReader

HEAD = b"HTTP/1.1 200 OK\r\n"


@pytest.fixture
def server(tmp_path):
    """A server with one key."""
    with key_server(tmp_path, "localhost", "id.test") as made:
        made.say(says(key_set(new_key("a"))))
        yield made


@pytest.fixture
def source(tmp_path):
    """Where policy is written."""
    (tmp_path / "mesh").mkdir()
    return tmp_path / "mesh"


def write(source, text: str, name: str = "users.yaml") -> None:
    """Save policy, as an editor does."""
    beside = source / f".{name}.swp"
    beside.write_text(text, encoding="utf-8")
    beside.replace(source / name)


def metrics(daemon) -> dict[str, float]:
    """What `/metrics` says of keys."""
    with urllib.request.urlopen(f"http://{daemon.status().listen}/metrics", timeout=10) as answer:
        text = answer.read().decode()
    found = re.findall(r"^meshware_sync_(jwks_\S+) (\S+)$", text, re.MULTILINE)
    return {name: float(value) for name, value in found}


def test_keys_are_fetched_once_and_published(source, server, tmp_path):
    """Into the record of their address, and counted."""
    write(source, users(server.uri()) + fetching(server))
    with running(tmp_path) as daemon:
        # The first daemon of this process compiles all of its modules, on a machine that is busy.
        daemon.wait_for(lambda: published_ids(daemon.policy_file, server.uri()) == ["a"], 60.0)
        daemon.wait_for(lambda: (said := daemon.status_yet()) and said.listen)
        assert metrics(daemon) == {
            "jwks_sources": 1,
            "jwks_sources_failing": 0,
            "jwks_sources_missing": 0,
            'jwks_fetches_total{outcome="ok"}': 1,
        }
        assert daemon.end() == 0
    assert daemon.err() == ""


def test_an_issuers_configuration_is_followed(source, server, tmp_path):
    """Where a rule has neither keys nor their address."""
    issuer = server.uri("")
    document = {"issuer": issuer, "jwks_uri": server.uri("/keys")}
    server.say(says(json.dumps(document).encode()), DISCOVERY)
    rule = f'{{"jwtRules": [{{"issuer": "{issuer}"}}]}}'
    text = re.sub(r"spec: .*", f"spec: {rule}", users("x"), count=1)
    write(source, text + fetching(server))
    with running(tmp_path) as daemon:
        daemon.wait_for(lambda: published_ids(daemon.policy_file, issuer + DISCOVERY) == ["a"])


def test_an_issuer_that_is_silent_keeps_no_policy_waiting(source, server, tmp_path):
    """Three hundred resources are published before it says a word, and its keys when it does."""
    gate = threading.Event()
    server.say(gated(gate, says(key_set(new_key("late")))))
    server.say(never, "/never")
    write(source, users(server.uri(), timeout="60s") + fetching(server))
    write(source, users(server.uri("/never"), name="others", timeout="1s"), "others.yaml")
    for number in range(297):
        write(source, service(f"shop-{number}"), f"{number}.yaml")
    with running(tmp_path) as daemon:
        daemon.wait_for(daemon.generation)
        assert published_ids(daemon.policy_file, server.uri()) is None
        write(source, service("shop-0", "10.0.0.9"), "0.yaml")
        daemon.wait_for(lambda: b"10.0.0.9" in daemon.records())
        gate.set()
        daemon.wait_for(lambda: published_ids(daemon.policy_file, server.uri()) == ["late"])
        daemon.wait_for(lambda: "new keys" in daemon.out())
        daemon.wait_for(lambda: "no whole answer within the rule's timeout" in daemon.err())


def slowly(seconds, answer):
    """An answer after a while."""

    def later(connection):
        time.sleep(seconds)
        answer(connection)

    return later


def gated(gate, answer):
    """An answer after an event."""

    def later(connection):
        assert gate.wait(20)
        answer(connection)

    return later


BAD = {
    "500": says(b"", "500 Oops"),
    "html": says(b"<html>"),
    "100 MB": endless(HEAD + b"\r\n"),
    "drip": drips(HEAD + b"Content-Length: 9\r\n\r\n"),
    "loop": redirects("/keys"),
    "other host": redirects("https://evil.example.com/"),
    "empty": says(b'{"keys": []}'),
    "secret": says(key_set({"kty": "oct", "k": "aHVzaA", "kid": "a"})),
    "cut": raw(HEAD + b"Content-Length: 1000\r\n\r\n{"),
}


@pytest.mark.parametrize("answer", [*BAD.values(), None], ids=[*BAD, "down"])
def test_the_last_good_keys_go_on(answer, source, server, tmp_path):
    """Through a start of the daemon too, and other edits are published meanwhile."""
    uri = server.uri()
    write(source, users(uri, timeout="1s") + fetching(server))
    assert once(tmp_path).returncode == 0
    assert published_ids(tmp_path / "run" / "policy.mesh", uri) == ["a"]
    if answer is None:
        server.close()
    else:
        server.say(answer)
    with running(tmp_path) as daemon:
        daemon.wait_for(lambda: "cannot be fetched" in daemon.err())
        write(source, service("other"), "other.yaml")
        daemon.wait_for(lambda: b"other.example.com" in daemon.records())
        assert published_ids(daemon.policy_file, uri) == ["a"]
        daemon.wait_for(lambda: daemon.status_yet() and daemon.status_yet().keys)
        [found] = daemon.status().keys
        assert (found.uri, "those fetched before go on" in found.message) == (uri, True)
        told = meshware("status", "--run-dir", daemon.run_dir)
        assert f"keys      of {uri} cannot be fetched: ".encode() in told.stdout
        assert told.returncode == 1
        assert "aHVzaA" not in daemon.err()
        assert daemon.err().count("cannot be fetched") == 1
    assert server.times_asked() <= 1 + 4


def once(root) -> subprocess.CompletedProcess[bytes]:
    """`meshware sync --once`."""
    return meshware(
        "sync", "--source", root / "mesh", "--run-dir", root / "run", "--state-dir", root / "state",
        "--once",
    )  # fmt: skip


def test_once_waits_for_one_round(source, server, tmp_path):
    """For keys that it knows from before as well: who runs it now and then has no other way."""
    write(source, users(server.uri()) + fetching(server))
    server.say(slowly(1.0, says(key_set(new_key("a")))))
    assert once(tmp_path).returncode == 0
    assert published_ids(tmp_path / "run" / "policy.mesh", server.uri()) == ["a"]
    server.say(slowly(1.0, says(key_set(new_key("b")))))
    assert once(tmp_path).returncode == 0
    assert published_ids(tmp_path / "run" / "policy.mesh", server.uri()) == ["b"]
    server.say(says(b"", "500 Oops"))
    done = once(tmp_path)
    assert (done.returncode, b"the answer is 500" in done.stderr) == (0, True)
    assert published_ids(tmp_path / "run" / "policy.mesh", server.uri()) == ["b"]


def test_a_flood_of_unknown_keys_comes_to_no_second_fetch(source, server, tmp_path):
    """A thousand a second by two workers, counted at the server: the first fetch was just now."""
    write(source, users(server.uri()) + fetching(server))
    with running(tmp_path) as daemon, workers() as make:
        daemon.wait_for(daemon.generation)
        made = [make(daemon.run_dir) for _ in range(2)]
        until = time.monotonic() + 3.0
        while time.monotonic() < until:
            for worker in made:
                worker.tell(f"flood {server.uri()}")
            time.sleep(0.5)
        assert server.times_asked() == 1


@pytest.mark.parametrize(
    ("answer", "words"),
    [("127.0.0.1", "allowedInternalHosts"), ("169.254.169.254", "metadata")],
)
def test_a_name_that_leads_inside_is_told_and_not_asked(answer, words, source, server, tmp_path):
    """By what DNS says; policy is published without those keys."""
    uri = server.uri(host="id.test")
    with dns_server() as dns:
        dns.say("id.test", dns_says(answer))
        hosts = ("id.test",) if answer.startswith("169") else ("localhost",)
        write(source, users(uri) + fetching(server, *hosts))
        with running(tmp_path, "--dns", dns.address) as daemon:
            daemon.wait_for(daemon.generation)
            daemon.wait_for(lambda: words in daemon.err())
            assert published_ids(daemon.policy_file, uri) is None
            assert server.requests == []
            write(source, users(uri) + fetching(server, "id.test"))
            if answer.startswith("127"):
                daemon.wait_for(lambda: published_ids(daemon.policy_file, uri) == ["a"])


def test_plain_http_is_refused_where_policy_is_checked(source, tmp_path):
    """Nothing is published, with a remedy."""
    write(source, users("http://id.example.com/keys"))
    done = once(tmp_path)
    assert done.returncode == 1
    assert b"allowedHttpHosts" in done.stderr


def test_an_issuer_that_refuses_connections_is_told_with_its_place(source, tmp_path):
    """In the log once, and in the status for as long as it lasts."""
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        uri = f"https://localhost:{listener.getsockname()[1]}/keys"
    write(source, users(f"{uri}?token=hush") + fetching())
    with running(tmp_path) as daemon:
        daemon.wait_for(lambda: daemon.status_yet() and daemon.status_yet().keys)
        [found] = daemon.status().keys
        assert found.uri == f"{uri}?..."
        assert "connection refused; tokens that need them are refused with 401" in found.message
        assert "hush" not in daemon.err() + (daemon.run_dir / "status.json").read_text()


def test_a_process_without_a_daemon_fetches_for_itself(source, server):
    """In the background, with the same rules, and keys that come later are new policy."""
    gate = threading.Event()
    server.say(gated(gate, says(key_set(new_key("late")))))
    write(source, users(server.uri()) + fetching(server))
    reader = SourcesReader(source)
    try:
        fresh = reader.look()
        assert ids_in(fresh.records.get(jwks_key(server.uri()))) is None
        reader.taken_up(fresh)
        gate.set()
        until = time.monotonic() + 20
        while (fresh := reader.look()) is None:
            assert time.monotonic() < until
            time.sleep(0.02)
        assert ids_in(fresh.records.get(jwks_key(server.uri()))) == ["late"]
        assert fresh.generation == 2
    finally:
        reader.stop()
