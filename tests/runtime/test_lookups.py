"""Policy is completed with addresses and keys: at once where they are quick, and again later."""

from __future__ import annotations

import os
import random
import threading
import time

import msgspec
import pytest

from meshware.policy.document.request_authentication import JWTRule, RequestAuthenticationSpec
from meshware.policy.jwks_records import jwks_key
from meshware.policy.record_types import JwksRecord
from meshware.runtime.dns_schedule import Bad
from meshware.runtime.jwks_schedule import Failed, Fetched
from meshware.runtime.lookups import Lookups

PATIENCE_S = 20.0
A, B = "https://a.example.com/keys", "https://b.example.com/keys"


def records(*uris: str) -> dict[str, bytes]:
    """Policy that names addresses of keys."""
    rules = tuple(JWTRule(issuer=uri, jwks_uri=uri) for uri in uris)
    return {"authn/default/users": msgspec.json.encode(RequestAuthenticationSpec(jwt_rules=rules))}


def keys_in(filled, uri: str) -> str | None:
    """The keys of an address in records."""
    return msgspec.json.decode(filled[jwks_key(uri)], type=JwksRecord).keys


class Issuers:
    """Stands for the network: serves keys as told, slowly if told so.

    Attributes:
        gate: fetches from B wait for it.
    """

    def __init__(self) -> None:
        self.keys = {A: "a1", B: "b1"}
        self.asked: list[str] = []
        self.gate = threading.Event()

    def __call__(self, job):
        self.asked.append(job.source.uri)
        if job.source.uri == B:
            assert self.gate.wait(PATIENCE_S)
        found = self.keys.get(job.source.uri)
        if found == "odd":
            raise RuntimeError("a mistake of ours")
        return Fetched(found) if found else Failed("connect", "it cannot be reached")


class World:
    def __init__(self) -> None:
        self.issuers = Issuers()
        self.told: list[str] = []
        self.news = threading.Event()

    def lookups(self) -> Lookups:
        return Lookups(
            lambda: lambda name: Bad("nxdomain", name),
            self.told.append,
            self.news.set,
            rng=random.Random(1),
            make_fetch=lambda _: self.issuers,
        )


@pytest.fixture
def world():
    made = World()
    yield made
    made.issuers.gate.set()


@pytest.fixture
def lookups(world):
    made = world.lookups()
    yield made
    made.stop()


def wait_until(condition) -> None:
    """Wait for what must come."""
    until = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.01)


def test_quick_keys_are_in_policy_at_once(lookups):
    """The first publish has them."""
    filled = lookups.fill(records(A), PATIENCE_S)
    assert keys_in(filled, A) == "a1"
    assert lookups.records == records(A)
    assert lookups.refill() is None


def test_slow_keys_are_not_waited_for_and_come_later(world, lookups):
    """Policy goes without them, and again with them: nobody else waits for an issuer."""
    began = time.monotonic()
    filled = lookups.fill(records(A, B), 0.3)
    assert 0.2 < time.monotonic() - began < 5.0
    assert (keys_in(filled, A), keys_in(filled, B)) == ("a1", None)
    assert lookups.jwks_figures().unanswered == 1
    world.news.clear()
    world.issuers.gate.set()
    assert world.news.wait(PATIENCE_S)
    assert lookups.has_news
    assert keys_in(lookups.refill(), B) == "b1"
    assert lookups.news == "new keys"
    assert lookups.refill() is None
    assert not lookups.has_news


def test_what_a_process_before_had_found_holds_and_is_waited_for_by_nobody(world, lookups):
    """Unless there will be no other time."""
    published = lookups.fill(records(A, B), 0.0) | {
        jwks_key(B): msgspec.json.encode(JwksRecord(uri=B, keys="b0"))
    }
    after = world.lookups()
    after.seed(published)
    began = time.monotonic()
    assert keys_in(after.fill(records(B), PATIENCE_S), B) == "b0"
    assert time.monotonic() - began < PATIENCE_S / 2
    after.stop()
    only = world.lookups()
    only.seed(published)
    threading.Timer(0.2, world.issuers.gate.set).start()
    assert keys_in(only.fill(records(B), PATIENCE_S, is_only=True), B) == "b1"
    only.stop()


def test_a_failure_is_told_and_ends_the_wait(world, lookups):
    """Nothing comes of waiting for it any longer."""
    world.issuers.keys.clear()
    began = time.monotonic()
    assert keys_in(lookups.fill(records(A), PATIENCE_S), A) is None
    assert time.monotonic() - began < PATIENCE_S / 2
    wait_until(lambda: world.told)
    assert world.told == [
        f"the keys of {A} cannot be fetched: it cannot be reached; tokens that need them are "
        "refused with 401; trying again"
    ]


def test_a_mistake_of_ours_is_a_failure_like_others(world, lookups):
    """The thread that met it goes on with the next."""
    world.issuers.keys[A] = "odd"
    lookups.fill(records(A), PATIENCE_S)
    [finding] = lookups.jwks_figures().findings
    assert finding.message.startswith("meshware failed: RuntimeError")


def test_an_unknown_key_does_not_ask_more_often_than_it_may(world, lookups):
    """The first fetch was just now."""
    lookups.fill(records(A), PATIENCE_S)
    for _ in range(1000):
        lookups.unknown_keys([jwks_key(A), "jwks/of-nobody"])
    time.sleep(0.1)
    assert world.issuers.asked == [A]


def test_policy_without_issuers_starts_nothing():
    """And looks for no way to fetch."""
    lookups = Lookups(pytest.fail, pytest.fail, make_fetch=pytest.fail)
    assert lookups.fill({"mesh": b"{}"}, 0.0) == {"mesh": b"{}"}
    assert lookups.refill() is None
    lookups.unknown_keys([jwks_key(A)])
    assert lookups.jwks_figures().sources == 0
    lookups.stop()


def test_keys_of_rules_that_are_gone_are_gone(lookups):
    """From policy, and from what is kept fresh."""
    lookups.fill(records(A), PATIENCE_S)
    assert lookups.fill({"mesh": b"{}"}, 0.0) == {"mesh": b"{}"}
    assert lookups.jwks_figures().sources == 0


def test_a_forked_child_fetches_for_itself(world, lookups):
    """The parent's threads do not run in it."""
    lookups.fill(records(A), PATIENCE_S)
    world.issuers.keys[A] = "a2"
    child = os.fork()
    if child == 0:
        code = 1
        try:
            lookups.fill({**records(A, "https://c.example.com/keys")}, PATIENCE_S)
            code = 0 if "https://c.example.com/keys" in world.issuers.asked else 2
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
