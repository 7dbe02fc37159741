"""What chaos tests share: upstreams that come and go, and what must be back to nothing behind them.

How long the long ones last is MESHWARE_CHAOS: `short` when it is not set, `long` for the full
figures (30 s of storm, 10,000 cancelled calls over every client).
"""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import GeneratorType
from typing import IO

from client_calls import Client
from client_drivers import DRIVERS
from client_world import in_use, service

from meshware.testing import TestMesh

PATIENCE_S = 20.0  # for what must happen; reached only when a test fails
IS_LONG = os.environ.get("MESHWARE_CHAOS", "short") == "long"
CLUSTER = "outbound|80||orders.default.svc.cluster.local"
SERVER = Path(__file__).resolve().parent / "echo_server.py"


class Echo:
    """One upstream of the process that `echoes` starts; see `echo_server.py` for the words."""

    def __init__(self, number: int, port: int, tell: Callable[[str], str]) -> None:
        self.port = port
        self.key = f"127.0.0.1:{port}"
        self._number = number
        self._tell = tell

    def tell(self, word: str) -> str:
        """Give a command, and return what it answers once it is done."""
        return self._tell(f"{self._number} {word}")

    @property
    def count(self) -> int:
        """How many requests came whole."""
        return int(self.tell("count"))


@contextmanager
def echoes(count: int) -> Iterator[list[Echo]]:
    """Upstreams in a process of their own, so that what is counted here is the client's alone."""
    lock = threading.Lock()
    with subprocess.Popen(
        [sys.executable, str(SERVER), str(count)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        asked, told = _pipes(process)

        def tell(line: str) -> str:
            with lock:
                asked.write(line + "\n")
                asked.flush()
                return told.readline().strip()

        yield [Echo(n, int(told.readline()), tell) for n in range(count)]
        asked.close()
        assert process.wait(PATIENCE_S) == 0


def _pipes(process: subprocess.Popen[str]) -> tuple[IO[str], IO[str]]:
    assert process.stdin is not None and process.stdout is not None
    return process.stdin, process.stdout


def orders(*endpoints: Echo, policy: str = "loadBalancer: {simple: ROUND_ROBIN}") -> str:
    """The service `orders` at these upstreams, under another traffic policy."""
    text = service("orders", *[endpoint.port for endpoint in endpoints])
    return text.replace("loadBalancer: {simple: ROUND_ROBIN}", policy)


@dataclass(frozen=True)
class Held:
    """What a process holds on to: descriptors, threads, and objects of ours by their class."""

    descriptors: int
    threads: int
    objects: Counter[str]

    @classmethod
    def now(cls) -> Held:
        """Count."""
        gc.collect()
        objects: Counter[str] = Counter()
        for found in gc.get_objects():
            kind = type(found)
            if str(kind.__module__).startswith("meshware.") and "Event" not in kind.__name__:
                objects[kind.__qualname__] += 1
            elif kind is GeneratorType and found.gi_code.co_name == "exchange":
                objects["exchange"] += 1
        descriptors = len(os.listdir("/proc/self/fd" if sys.platform == "linux" else "/dev/fd"))
        # A loop's own pool of threads is bounded, and grows to that as libraries use it.
        own = [one for one in threading.enumerate() if not one.name.startswith("asyncio_")]
        return cls(descriptors, len(own), objects)

    def more_than(self, before: Held) -> str:
        """Say what there is more of than before; nothing: there is no more."""
        found = {f"object {k}": n for k, n in (self.objects - before.objects).items()}
        found["descriptors"] = self.descriptors - before.descriptors
        found["threads"] = self.threads - before.threads
        return ", ".join(f"{n} more: {name}" for name, n in found.items() if n > 0)


def wait_for_nothing(found: Callable[[], str]) -> None:
    """Wait until nothing is found any more, which is told when it does not come."""
    until = time.monotonic() + PATIENCE_S
    while said := found():
        assert time.monotonic() < until, said
        gc.collect()
        time.sleep(0.02)


@dataclass(frozen=True)
class Outcome:
    """How one call ended.

    Attributes:
        status: of the response; None: there was none, or its body failed.
        flags: what the mesh says of it.
        attempts: how many were made.
        endpoint: whom the mesh asked last.
        error: what was raised.
        is_right: the answer carries the id that its request sent, in its head and in all its body.
        began_at, ended_at: monotonic seconds.
    """

    driver: str
    status: int | None
    flags: str = "-"
    attempts: int = 0
    endpoint: str | None = None
    error: str = ""
    is_right: bool = True
    began_at: float = 0.0
    ended_at: float = field(default_factory=time.monotonic)


def call(client: Client, who: str, target: str = "/0/1/0", method: str = "GET") -> Outcome:
    """Make one call and read its answer; an exception of the library is an outcome."""
    name, began_at = client.driver.name, time.monotonic()
    try:
        response, body = client.call(
            method, f"http://orders{target}", headers={"X-Id": who}, timeout_s=PATIENCE_S
        )
    except client.driver.error as error:
        return Outcome(name, None, error=repr(error), began_at=began_at)
    info = response.info
    pieces = int(target.split("/")[2])
    is_right = response.status != 200 or (
        response.headers["x-id"] == who and body == f"{who};".encode() * pieces
    )
    return Outcome(
        name,
        response.status,
        info.flags,
        info.attempts,
        info.endpoint,
        is_right=is_right,
        began_at=began_at,
    )


@contextmanager
def loaded(
    mesh: TestMesh, *, threads: int = 2, target: str = "/0/1/0", pause_s: float = 0.0
) -> Iterator[list[Outcome]]:
    """Call over every client at once, from so many threads for each, until the block ends.

    Yields the outcomes, which grow meanwhile. At the end nothing is held any more.
    """
    outcomes: list[Outcome] = []
    is_over = threading.Event()

    def work(client: Client, number: int) -> None:
        sent = 0
        while not is_over.is_set():
            sent += 1
            outcomes.append(call(client, f"{client.driver.name}-{number}-{sent}", target))
            time.sleep(pause_s)

    with ExitStack() as stack:
        clients = [stack.enter_context(driver.client(mesh)) for driver in DRIVERS]
        pool = stack.enter_context(ThreadPoolExecutor(threads * len(clients)))
        work_to_do = [pool.submit(work, client, n) for client in clients for n in range(threads)]
        try:
            yield outcomes
        finally:
            is_over.set()
        for done in work_to_do:
            done.result(PATIENCE_S)
        wait_for_nothing(lambda: in_use(mesh))
