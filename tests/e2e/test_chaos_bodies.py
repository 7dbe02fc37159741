"""Bodies both ways at length, and calls that end in the middle of one."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from chaos import CLUSTER, PATIENCE_S, Held, call, echoes, in_use, orders, wait_for_nothing
from client_calls import Once
from client_drivers import DRIVERS
from client_world import every_driver, route, staged
from upstreams import CLOSE, OK, Wait, chunked, http

from meshware.testing import TestMesh

SUPPORT = Path(__file__).resolve().parents[1] / "support"
FOR_THREADS = [driver for driver in DRIVERS if driver.backend is None]
RULE = route("timeout: 30s")


@every_driver
def test_long_bodies_go_both_ways_piece_by_piece(driver):
    """A request that is made as it is sent, and an answer that is read as it comes."""
    sent = [bytes([n]) * 100_000 for n in range(20)]
    with echoes(1) as (place,), driver.client(mesh := TestMesh([orders(place), RULE])) as client:
        response = client.open(
            "PUT", "http://orders/0/3/1", body=Once(*sent), headers={"X-Id": "who"}
        )
        assert mesh.ledger.in_flight() == {CLUSTER: {place.key: 1}}
        assert response.read() == b"".join(sent) + b"who;" * 3
        assert in_use(mesh) == ""


@every_driver
def test_a_body_that_raises_half_way_again_and_again_leaves_nothing(driver):
    """The error is the caller's, the connection is closed, and nothing is kept of the call."""
    with echoes(1) as (place,), driver.client(mesh := TestMesh([orders(place), RULE])) as client:
        call(client, "warm")
        before = Held.now()
        for _ in range(30):
            with pytest.raises(ZeroDivisionError):
                client.call(
                    "PUT", "http://orders/0/1/0", body=Once(b"ab" * 50_000, ZeroDivisionError())
                )

        def left() -> str:
            assert call(client, "after").is_right
            mesh.events.clear()
            return in_use(mesh) or Held.now().more_than(before)

        wait_for_nothing(left)
        assert place.count >= 2


@pytest.mark.parametrize(
    ("driver", "body"),
    [
        pytest.param(driver, body, id=f"{driver.name}, {kind}")
        for driver in DRIVERS
        for kind, body in {"bytes": b"x" * 200_000, "iterator": "once"}.items()
        # It warns of an iterator that was not read to its end, as without the mesh.
        if driver.backend != "trio" or kind == "bytes"
    ],
)
def test_an_answer_before_the_request_is_whole_is_no_trouble(driver, body):
    """413 at the head, the rest unread, and the connection closed: each call has an end."""
    refusal = [http(413, b"too long", "Connection: close"), CLOSE]
    with staged(driver, RULE, scripts=[[*[refusal] * 8, OK]]) as it:
        it.upstream.answers_early = True
        for _ in range(8):
            sent = Once(*[b"x" * 20_000] * 10) if body == "once" else body
            response, _ = it.client.call("PUT", "http://orders/", body=sent)
            # The system may throw the answer away with the connection; then there was none.
            assert (response.status, response.info.flags) in {(413, "-"), (503, "UC")}
            assert in_use(it.world) == ""
        it.upstream.answers_early = False
        assert it.client.call("GET", "http://orders/")[1] == b"ok"


INTERRUPTED = """
import signal, sys
from client_drivers import DRIVERS
from client_world import in_use
from meshware.testing import TestMesh

signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job ignores it
[driver] = [found for found in DRIVERS if found.name == sys.argv[1]]
mesh = TestMesh(sys.argv[2])
with driver.client(mesh) as client:
    try:
        print("calls", flush=True)
        client.open("GET", "http://orders/head")
    except KeyboardInterrupt:
        print("interrupted,", in_use(mesh) or "nothing", flush=True)
    response = client.open("GET", "http://orders/body")
    try:
        assert response.some() == b"begun"
        print("reads", flush=True)
        response.some()
    except KeyboardInterrupt:
        response.close()
        print("interrupted,", in_use(mesh) or "nothing", flush=True)
    print(client.call("GET", "http://orders/whole")[1].decode(), in_use(mesh) or "nothing")
"""


@pytest.mark.parametrize("driver", FOR_THREADS, ids=[driver.name for driver in FOR_THREADS])
def test_an_interrupted_call_gives_back_what_it_holds(driver):
    """Ctrl-C in a process, while it waits for a head and in the middle of a body."""
    waits = [Wait(), Wait()]
    script = [[waits[0]], [chunked(b"begun", end=b""), waits[1]], OK]
    with (
        staged(driver, RULE, scripts=[script]) as it,
        subprocess.Popen(
            [sys.executable, "-c", INTERRUPTED, driver.name, orders(it.upstream) + "---" + RULE],
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": f"{SUPPORT}:{SUPPORT.parents[1]}"},
        ) as process,
    ):
        assert process.stdout is not None
        for line in ("calls\n", "reads\n"):
            assert process.stdout.readline() == line
            it.upstream.wait_until_seen()
            time.sleep(0.1)  # so that it waits for what will not come
            process.send_signal(signal.SIGINT)
            assert process.stdout.readline() == "interrupted, nothing\n"
        assert process.stdout.readline() == "ok nothing\n"
        assert process.wait(PATIENCE_S) == 0
