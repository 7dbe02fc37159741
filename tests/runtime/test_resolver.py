"""The threads that keep addresses fresh: what they wait for, and whom they never keep waiting."""

from __future__ import annotations

import gc
import os
import threading
import time
import weakref

import msgspec
import pytest

from meshware.runtime.addresses import AddressBook
from meshware.runtime.dns_schedule import Bad, Good
from meshware.runtime.resolver import MOST_THREADS, Resolver

PATIENCE_S = 20.0


class Dns:
    """Stands for the network: looks names up as told, slowly if told so.

    Attributes:
        gate: look-ups of names that begin with `slow` wait for it.
    """

    def __init__(self) -> None:
        self.addresses: dict[str, str] = {}
        self.asked: list[str] = []
        self.gate = threading.Event()
        self.ttl_s = 60.0

    def __call__(self, name):
        self.asked.append(name)
        if name.startswith("slow"):
            assert self.gate.wait(PATIENCE_S)
        if name.startswith("odd"):
            raise RuntimeError("a mistake of ours")
        found = self.addresses.get(name)
        return Good((found,), self.ttl_s) if found else Bad("nxdomain", "no such name")


@pytest.fixture
def dns():
    made = Dns()
    yield made
    made.gate.set()


@pytest.fixture
def resolver(dns):
    made = Resolver(dns)
    yield made
    made.stop()


def wait_until(condition) -> None:
    """Wait for what must come."""
    until = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.005)


class Threads:
    """The threads of ours that began since it was made."""

    def __init__(self) -> None:
        self._before = set(threading.enumerate())

    def count(self) -> int:
        """How many there are now."""
        began = set(threading.enumerate()) - self._before
        return sum(thread.name == "meshware-resolver" for thread in began)


def test_names_are_found_beside_whoever_wants_them(dns, resolver):
    """`warm` waits for first answers, good or bad, and no longer."""
    dns.addresses["a.test"] = "10.0.0.1"
    resolver.want(["a.test", "none.test"], 60.0)
    resolver.warm(PATIENCE_S)
    assert resolver.known() == {"a.test": ("10.0.0.1",)}
    assert resolver.figures().unresolved == 1


def test_a_name_whose_servers_hang_keeps_no_other_waiting(dns, resolver):
    """Nor whoever wants names, for longer than it is ready to wait."""
    dns.addresses["a.test"] = "10.0.0.1"
    resolver.want(["slow.test", "a.test"], 60.0)
    wait_until(lambda: resolver.known() == {"a.test": ("10.0.0.1",)})
    resolver.warm(0.05)
    assert not dns.gate.is_set()


def test_there_are_no_more_threads_than_names_and_never_many(dns, resolver):
    """A name that is added later has its thread, too."""
    threads = Threads()
    resolver.want(["slow-0.test"], 60.0)
    assert threads.count() == 1
    resolver.want([f"slow-{n}.test" for n in range(50)], 60.0)
    assert threads.count() == MOST_THREADS
    resolver.want([f"slow-{n}.test" for n in range(50)], 60.0)
    assert threads.count() == MOST_THREADS


def test_no_thread_is_started_without_names(dns, resolver):
    """Policy without names costs nothing."""
    threads = Threads()
    resolver.want([], 60.0)
    resolver.keep_on()
    assert threads.count() == 0


def test_a_mistake_of_ours_is_a_bad_answer_and_no_end(dns):
    """It is told, and look-ups go on."""
    told = []
    resolver = Resolver(dns, told.append)
    dns.addresses["a.test"] = "10.0.0.1"
    resolver.want(["odd.test"], 60.0)
    wait_until(lambda: told)
    assert "RuntimeError: a mistake of ours" in told[0]
    resolver.want(["a.test"], 60.0)
    wait_until(lambda: resolver.known() == {"a.test": ("10.0.0.1",)})
    resolver.stop()


def test_threads_end_when_nobody_holds_the_resolver(dns):
    """A mesh that is thrown away leaves none behind."""
    threads = Threads()
    resolver = Resolver(dns)
    resolver.want(["a.test"], 60.0)
    gone = weakref.ref(resolver)
    del resolver
    gc.collect()
    assert gone() is None
    wait_until(lambda: threads.count() == 0)


def test_a_stopped_resolver_goes_on_when_told(dns, resolver):
    """As a mesh does that was stopped and is started again."""
    threads = Threads()
    resolver.want(["a.test"], 60.0)
    resolver.warm(PATIENCE_S)
    resolver.stop()
    wait_until(lambda: threads.count() == 0)
    dns.addresses["a.test"] = "10.0.0.1"
    resolver.keep_on()
    wait_until(lambda: resolver.known() == {"a.test": ("10.0.0.1",)})


def test_a_forked_child_looks_names_up_by_itself(dns):
    """What the parent knew is known; what comes later the child finds with threads of its own."""
    dns.ttl_s = 1.0
    dns.addresses["a.test"] = "10.0.0.1"
    resolver = Resolver(dns)
    resolver.want(["a.test"], 60.0)
    resolver.warm(PATIENCE_S)
    child = os.fork()
    if child == 0:
        code = 1
        try:
            assert resolver.known() == {"a.test": ("10.0.0.1",)}
            dns.addresses["a.test"] = "10.0.0.2"
            resolver.keep_on()
            wait_until(lambda: resolver.known() == {"a.test": ("10.0.0.2",)})
            code = 0
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    resolver.stop()
    assert os.waitstatus_to_exitcode(status) == 0


# --- in records -----------------------------------------------------------------------------------


def records(name: str | None) -> dict[str, bytes]:
    """Records of which one asks for a name."""
    asked = {"default": {"endpoints": [{"address": name, "ports": {}}]}}
    record = {"byNamespace": {}, **({"dns": asked} if name else {})}
    return {"ep/a.test": msgspec.json.encode(record)}


def test_a_book_is_filled_at_once_and_again_when_addresses_change(dns):
    """New policy with what is known, then the same with what is new, and nothing else."""
    changes: list[None] = []
    book = AddressBook(lambda: dns, lambda _: None, lambda: changes.append(None))
    dns.ttl_s = 1.0
    dns.addresses["a.test"] = "10.0.0.1"
    assert b'"10.0.0.1"' in book.fill(records("a.test"), PATIENCE_S)["ep/a.test"]
    assert book.refill() is None
    dns.addresses["a.test"] = "10.0.0.2"
    wait_until(lambda: book.has_news)
    found = book.refill()
    assert found is not None
    assert b'"10.0.0.2"' in found["ep/a.test"]
    assert book.refill() is None
    assert len(changes) == 2
    assert book.fill(records(None)) == records(None)
    assert book.figures().names == 0
    book.stop()


def test_a_book_without_names_makes_no_lookup():
    """No file is read and nothing imported, where policy has addresses only."""
    book = AddressBook(pytest.fail, pytest.fail)
    assert book.fill(records(None)) == records(None)
    assert book.refill() is None
    assert book.figures().names == 0
    book.stop()


def test_a_book_keeps_what_was_published_before(dns):
    """A daemon that starts while DNS is down publishes what its predecessor had found."""
    before = AddressBook(lambda: dns, lambda _: None)
    dns.addresses["a.test"] = "10.0.0.1"
    published = before.fill(records("a.test"), PATIENCE_S)
    before.stop()
    dns.addresses.clear()
    after = AddressBook(lambda: dns, lambda _: None)
    after.seed(published)
    assert after.fill(records("a.test"), PATIENCE_S) == published
    wait_until(lambda: after.figures().failing)
    assert after.refill() is None
    after.stop()
