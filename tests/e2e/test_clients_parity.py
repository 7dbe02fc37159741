"""One script, every client: the same actions, the same outcomes, the same event, nothing in flight.

What only one client does is its bug.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import pytest
from client_calls import Once
from client_world import RETRY_5XX, Said, Stage, every_driver, kept, route, staged, wait_until
from upstreams import CLOSE, FAILS, HANG, OK, RESET, Answer, chunked, http, refusing

SEND = ("send", 1)
BEGUN = [b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nbegun", HANG]
DELIVERED = [SEND, ("answer", 200), ("deliver", "-", 1)]


def whole(stage: Stage) -> None:
    """Call, and read the body."""
    stage.client.call("GET", "http://orders/")


def with_body(stage: Stage) -> None:
    """Send something that can be sent only once."""
    stage.client.call("PUT", "http://orders/", body=Once(b"ab", b"cd"))


def fails(stage: Stage) -> None:
    """Read a body that fails."""
    with pytest.raises(stage.client.driver.error):
        stage.client.call("GET", "http://orders/")


def in_haste(stage: Stage) -> None:
    """Call with a time-out of one's own."""
    with pytest.raises(stage.client.driver.errors.headers_timed_out):
        stage.client.open("GET", "http://orders/", timeout_s=0.1)


def closed_unread(stage: Stage) -> None:
    """Close the response at its headers."""
    stage.client.open("GET", "http://orders/").close()


def closed_early(stage: Stage) -> None:
    """Close the response in the middle of its body."""
    response = stage.client.open("GET", "http://orders/")
    assert response.some()
    response.close()


def closed_twice(stage: Stage) -> None:
    """Close what has been read whole already."""
    response, _ = stage.client.call("GET", "http://orders/")
    response.close()
    response.close()


def cancelled_waiting(stage: Stage) -> None:
    """Be cancelled while the upstream is silent."""
    stage.client.cancel_when(
        stage.upstream.seen, lambda: stage.client.open("GET", "http://orders/")
    )


def cancelled_reading(stage: Stage) -> None:
    """Be cancelled while the upstream has begun a body."""
    response = stage.client.open("GET", "http://orders/")
    begun = threading.Event()

    def read() -> None:
        while True:
            got.append(response.some())
            if len(b"".join(got)) == 5:
                begun.set()

    got: list[bytes] = []
    if stage.client.driver.backend is None:
        stage.client.cancel_when(begun, read)
    else:  # its event is looked at before a read, so cancel the one behind the last byte
        while len(b"".join(got)) < 5:
            got.append(response.some())
        begun.set()
        stage.client.cancel_when(begun, response.some)
    response.close()


def cancelled_between(stage: Stage) -> None:
    """Be cancelled while waiting to try again."""
    answered = threading.Event()

    def wait() -> None:
        wait_until(lambda: stage.world.said[-1:] == [("sleep",)])
        answered.set()

    thread = threading.Thread(target=wait)
    thread.start()
    stage.client.cancel_when(answered, lambda: stage.client.open("GET", "http://orders/"))
    thread.join()


@dataclass(frozen=True)
class Case:
    """What a caller does with an upstream, and what the exchange says and hears of it."""

    do: Callable[[Stage], None]
    script: Sequence[Answer]
    said: Sequence[Said]
    flags: str
    status: int
    is_complete: bool
    rule: str = field(default=RETRY_5XX)


CLOSED = ("closed",)
CALLERS_TIME = ("raise", "timed out")
FAILED = [("answer", 500), ("sleep",)]
CASES = {
    "an answer": Case(whole, [OK], [*DELIVERED, ("ended", None)], "-", 200, True),
    "an answer in chunks": Case(
        whole, [[chunked(b"a", b"bc")]], [*DELIVERED, ("ended", None)], "-", 200, True
    ),
    "an answer without a body": Case(
        whole, [[http(200, b"")]], [*DELIVERED, ("ended", None)], "-", 200, True
    ),
    "two failures and an answer": Case(
        whole,
        [FAILS, FAILS, OK],
        [SEND, *FAILED, ("send", 2), *FAILED, ("send", 3), ("answer", 200), ("deliver", "-", 3)]
        + [("ended", None)],
        "-",
        200,
        True,
    ),
    "a body that is gone": Case(
        with_body,
        [FAILS],
        [SEND, ("answer", 500), ("deliver", "-", 1), ("ended", None)],
        "-",
        500,
        True,
    ),
    "closed before an answer": Case(
        with_body,
        [[CLOSE]],
        [SEND, ("failure", "terminated", "sent"), ("reply", 503, "UC")],
        "UC",
        503,
        True,
    ),
    "reset before an answer": Case(
        with_body,
        [[RESET]],
        [SEND, ("failure", "reset", "sent"), ("reply", 503, "UC")],
        "UC",
        503,
        True,
    ),
    "garbage": Case(
        with_body,
        [[b"SSH-2.0-OpenSSH\r\n", CLOSE]],
        [SEND, ("failure", "protocol", "sent"), ("reply", 502, "UPE")],
        "UPE",
        502,
        True,
    ),
    "silence": Case(
        whole,
        [[HANG]],
        [SEND, ("failure", "timeout", "sent"), ("reply", 504, "UT")],
        "UT",
        504,
        True,
        "timeout: 100ms",
    ),
    "silence, and a caller in haste": Case(
        in_haste,
        [[HANG]],
        [SEND, ("failure", "timeout", "sent"), CALLERS_TIME],
        "DC",
        0,
        False,
    ),
    "a body cut short": Case(
        fails, [[*BEGUN[:1], CLOSE]], [*DELIVERED, ("ended", "protocol")], "UPE", 200, False
    ),
    "a body reset": Case(
        fails, [[*BEGUN[:1], RESET]], [*DELIVERED, ("ended", "reset")], "UC", 200, False
    ),
    "a body that takes too long": Case(
        fails, [BEGUN], [*DELIVERED, ("ended", "timeout")], "UT", 200, False, "timeout: 200ms"
    ),
    "chunks cut short": Case(
        fails,
        [[chunked(b"a", end=b""), CLOSE]],
        [*DELIVERED, ("ended", "protocol")],
        "UPE",
        200,
        False,
    ),
    "closed unread": Case(closed_unread, [BEGUN], [*DELIVERED, CLOSED], "DC", 200, False),
    "closed in its middle": Case(closed_early, [BEGUN], [*DELIVERED, CLOSED], "DC", 200, False),
    "chunks closed in their middle": Case(
        closed_early, [[chunked(b"abc", end=b""), HANG]], [*DELIVERED, CLOSED], "DC", 200, False
    ),
    "closed when read": Case(closed_twice, [OK], [*DELIVERED, ("ended", None)], "-", 200, True),
    "cancelled at its headers": Case(cancelled_waiting, [[HANG]], [SEND, CLOSED], "DC", 0, False),
    "cancelled in its body": Case(
        cancelled_reading, [BEGUN], [*DELIVERED, CLOSED], "DC", 200, False
    ),
    "cancelled between tries": Case(
        cancelled_between,
        [FAILS],
        [SEND, *FAILED, CLOSED],
        "DC",
        0,
        False,
        "retries: {attempts: 2, retryOn: 5xx, backoff: 60s}",
    ),
}


@every_driver
@pytest.mark.parametrize("name", CASES)
def test_every_client_does_the_same(driver, name):
    """Actions, outcomes, event and ledger; cancellation and early close included."""
    case = CASES[name]
    with staged(driver, route(case.rule), kept(0), scripts=[case.script]) as it:
        case.do(it)
        said = list(case.said)
        if said[-1] == CALLERS_TIME and not driver.can(
            "tells the exchange when the caller's time is over"
        ):
            said = [*said[:-2], CLOSED]
        assert it.world.said == said
        last = it.world.last
        assert (last.flags, last.status, last.complete) == (
            case.flags,
            case.status,
            case.is_complete,
        )
        assert last.attempts == it.requests
        assert it.world.nothing_in_flight()
        is_kept = name == "cancelled between tries" and not driver.can(
            "closes the connection of an answer that is tried again"
        )
        if not case.is_complete and not is_kept:
            it.upstream.wait_until_left()  # nothing waits in a pool for what will never come


@every_driver
def test_a_refused_connection_is_told_the_same_way(driver):
    """No byte was sent, whatever the library calls it."""
    unsent = [("failure", "connect", "unsent"), ("sleep",)]
    with refusing() as port, staged(driver, scripts=[], refusing=port) as it:
        it.client.call("POST", "http://orders/", body=Once(b"a"))
        assert it.world.said == [
            SEND,
            *unsent,
            ("send", 2),
            *unsent,
            ("send", 3),
            unsent[0],
            ("reply", 503, "UF,URX"),
        ]
