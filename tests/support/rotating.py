"""A client's mesh whose identity a test renews at will, calls through it, and what they leave."""

from __future__ import annotations

import gc
import json
import os
import ssl
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from client_calls import Client
from client_drivers import DRIVERS, Driver
from client_world import in_use, wait_until
from cryptography.hazmat.primitives.serialization import Encoding
from secured_apps import TD, WEB, Authority, RunDir, Secure, caller

from meshware.identity.bundle import Bundle
from meshware.identity.svid import X509SVID
from meshware.testing import TestMesh

PATIENCE_S = 30.0
_LOOK_S = 0.05  # between handshakes of the test's own, which cost what the calls need
CALLER = """
apiVersion: networking.istio.io/v1
kind: WorkloadGroup
metadata: {name: web}
spec: {template: {serviceAccount: web}}
"""


class RotatingMesh(TestMesh):
    """The mesh of `default/web`, which shows and believes what `show` said last."""

    def __init__(self, authority: Authority, *policies: str) -> None:
        self.show(authority)
        super().__init__([CALLER, *policies], "default/web", bundles={})

    def show(self, authority: Authority, *believed: Authority) -> None:
        """Show a new SVID of an authority, and believe that one, or others in its place."""
        roots = tuple(each.root.certificate for each in believed or (authority,))
        self._believed_now = Bundle(authority.root.trust_domain, roots)
        self._shown = authority.issue(WEB)

    def svid(self) -> X509SVID:
        """Return what `show` made."""
        return self._shown

    def bundle(self, trust_domain: str) -> Bundle | None:
        """Return whom `show` had it believe."""
        return self._believed_now if trust_domain == TD else None


@dataclass
class Rotation:
    """Both ends of calls from `web` to an app, the app being behind a real server.

    Attributes:
        mesh: of the calls.
        run: the directory in which the server's process finds its identity.
        port: the server's.
    """

    mesh: RotatingMesh
    run: RunDir
    port: int
    authority: Authority = field(init=False)

    def __post_init__(self) -> None:
        self.authority = self.run.authority

    def renew_client(self) -> None:
        """Renew the leaf of the calls."""
        self.mesh.show(self.authority)

    def renew_server(self) -> None:
        """Renew the leaf of the server, and wait until it is shown."""
        self._take_up(self.run.show(self.authority), self.authority)

    def change_root(self) -> None:
        """Change the authority, in the order that has somebody to believe at every moment."""
        old, new = self.authority, Authority()
        self.mesh.show(old, old, new)
        self._take_up(self.run.show(old, old, new), old)
        self.mesh.show(new, old, new)
        self._take_up(self.run.show(new, old, new), new)
        self.mesh.show(new)
        self._take_up(self.run.show(new), new)
        self.authority = new

    def _take_up(self, svid: X509SVID, authority: Authority) -> None:
        """Wait until new connections are shown an SVID."""
        leaf = svid.leaf.public_bytes(Encoding.DER)
        context = caller(self.mesh.svid(), authority)

        def is_shown() -> bool:
            time.sleep(_LOOK_S)
            connection = Secure(self.port, context)
            try:
                connection.connect()
                return connection.sock.getpeercert(binary_form=True) == leaf
            except ssl.SSLCertVerificationError:  # still of the authority before
                return False
            finally:
                connection.close()

        wait_until(is_shown)


class Outcome(NamedTuple):
    """How a call ended."""

    driver: str
    status: int | None  # None: an exception
    said: str  # whom the app saw, or what went wrong

    @property
    def is_right(self) -> bool:
        """Whether the app has answered, to the one who called."""
        return self.status == 200 and self.said == WEB


def call(client: Client, url: str) -> Outcome:
    """Call an app of `telling`; an exception of the library is an outcome."""
    name = client.driver.name
    try:
        response, body = client.call("GET", url, timeout_s=PATIENCE_S)
    except client.driver.error as error:
        return Outcome(name, None, repr(error))
    if response.status != 200:
        return Outcome(name, response.status, f"{response.info.flags} {body[:300]!r}")
    return Outcome(name, 200, str(json.loads(body)["peer"]))


@contextmanager
def calling(
    mesh: TestMesh,
    url: str,
    *,
    per_s: float,
    drivers: Sequence[Driver] = DRIVERS,
    threads: int = 2,
) -> Iterator[list[Outcome]]:
    """Call over clients of each kind at once, so often in all, until the block ends.

    Yields the outcomes, which grow meanwhile. At the end nothing is held any more.

    Args:
        mesh: of the calls.
        url: what is called.
        per_s: calls a second. Each is due at its time, whatever became of the one before.
        drivers: the kinds; there is one client of each.
        threads: that share a client.
    """
    outcomes: list[Outcome] = []
    is_over = threading.Event()
    began_at = time.monotonic()
    workers = threads * len(drivers)

    def work(client: Client, number: int) -> None:
        due_at = began_at + number / per_s
        while not is_over.wait(max(0.0, due_at - time.monotonic())):
            outcomes.append(call(client, url))
            due_at += workers / per_s

    with ExitStack() as stack:
        clients = [stack.enter_context(driver.client(mesh)) for driver in drivers]
        pool = stack.enter_context(ThreadPoolExecutor(workers))
        pairs = [(client, turn) for client in clients for turn in range(threads)]
        jobs = [pool.submit(work, client, n) for n, (client, _) in enumerate(pairs)]
        try:
            yield outcomes
        finally:
            is_over.set()
        for job in jobs:
            job.result(PATIENCE_S)
        wait_until(lambda: in_use(mesh) == "")


class Held(NamedTuple):
    """What a process holds."""

    descriptors: int
    resident_mib: float
    contexts: int = 0  # of TLS, where they can be counted

    @classmethod
    def by(cls, pid: int) -> Held:
        """Look at another process."""
        pages = int(Path(f"/proc/{pid}/statm").read_text("ascii").split()[1])
        size = pages * os.sysconf("SC_PAGE_SIZE") / 2**20
        return cls(len(os.listdir(f"/proc/{pid}/fd")), size)

    @classmethod
    def here(cls) -> Held:
        """Look at this process."""
        gc.collect()
        # By their types alone: a lazy object of Django's is set up by `isinstance`.
        contexts = sum(issubclass(type(each), ssl.SSLContext) for each in gc.get_objects())
        return cls.by(os.getpid())._replace(contexts=contexts)
