"""What a call holds while it lasts, and that it comes back whatever becomes of the response."""

from __future__ import annotations

import gc
import threading

import pytest
from client_world import every_driver, staged, wait_until
from upstreams import HANG, OK, PATIENCE_S, Wait

BEGUN = [b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nbegun", HANG]


@every_driver
def test_a_call_is_in_flight_until_its_body_ends(driver):
    """Not at its headers: who chooses among endpoints has to know."""
    go = Wait()
    with staged(driver, scripts=[[[BEGUN[0], go, b"x" * 95]]]) as it:
        response = it.client.open("GET", "http://orders/")
        name = "outbound|80||orders.default.svc.cluster.local"
        assert it.world.ledger.in_flight() == {name: {it.upstream.key: 1}}
        go.event.set()
        assert response.read() == b"begun" + b"x" * 95
        assert it.world.nothing_in_flight()


@every_driver
def test_a_body_that_nobody_reads_is_in_flight_or_has_ended(driver):
    """Where the library reads ahead the upstream has done with it."""
    with staged(driver, scripts=[[OK]]) as it:
        response = it.client.open("GET", "http://orders/")
        if driver.can("keeps the lease until the body has been read"):
            assert not it.world.nothing_in_flight()
        else:
            wait_until(it.world.nothing_in_flight)
        response.close()
        assert it.world.last.complete is not driver.can(
            "keeps the lease until the body has been read"
        )


@every_driver
@pytest.mark.parametrize("is_begun", [False, True], ids=["unread", "begun"])
@pytest.mark.filterwarnings("ignore::ResourceWarning")  # rightly given, as without the mesh
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_forgotten_response_is_given_back_whoever_holds_the_ledger(driver, is_begun):
    """Garbage is collected anywhere, also on the thread that holds the lock just then."""
    with staged(driver, scripts=[[BEGUN, OK]]) as it:
        collected = threading.Event()

        def forget() -> None:
            response = it.client.open("GET", "http://orders/")
            if is_begun:
                assert response.some()
            response.me = response.raw.me = response

        def collect() -> None:
            with state._lock:
                gc.collect()
                collected.set()

        gc.disable()  # for it to be collected there, and not before
        try:
            forget()
            state = it.world.ledger.cluster("outbound|80||orders.default.svc.cluster.local")
            assert sum(state.active().values()) == 1
            thread = threading.Thread(target=collect, daemon=True)
            thread.start()
            assert collected.wait(PATIENCE_S), "it waits for the lock that it holds"
            thread.join()
        finally:
            gc.enable()
        wait_until(it.world.nothing_in_flight)
        assert it.world.said == [("send", 1), ("answer", 200), ("deliver", "-", 1), ("closed",)]
        assert it.world.last.flags == "DC"
        assert it.client.call("GET", "http://orders/")[1] == b"ok"
