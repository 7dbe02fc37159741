"""A workload's SVID from an agent's Workload API socket, as SPIRE has one.

1. The first who asks starts a thread, which keeps a stream open to the agent; whoever asks gets
   what came last, and never waits. A process is told its SVID some milliseconds after it started.
2. The stream ends: what came last stays (certificates end by themselves), and the agent is tried
   again after 0.25 s, then after twice as long each time, at most each 5 s.
3. Of several SVIDs the one counts that policy names for this workload. Where policy names none (no
   service account) it is the agent's first. Where policy names one and the agent has it not, there
   is no identity.
4. A child process starts anew: a stream of the parent is no use to it.

Source: SPIFFE Workload API; SPIFFE Workload Endpoint.
"""

from __future__ import annotations

import contextlib
import importlib
import logging
import os
import sys
import threading
import time
from collections.abc import Mapping
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec, rsa

from meshware.errors import IdentityError
from meshware.identity.bundle import Bundle, fingerprint
from meshware.identity.spiffe import SpiffeID
from meshware.identity.svid import X509SVID
from meshware.identity.verify import id_of
from meshware.runtime.fork import renew_after_fork

__all__ = ["ENDPOINT", "Agent", "AgentSource"]

ENDPOINT = "SPIFFE_ENDPOINT_SOCKET"

_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.25, 5.0

_log = logging.getLogger("meshware.identity")


class Agent:
    """Follows an agent. Safe to use from any thread; never waits.

    Args:
        endpoint: of the agent, "unix:/run/spire/agent.sock"; empty: nobody has said it.
    """

    def __init__(self, endpoint: str) -> None:
        self._endpoint = endpoint
        self._svids: tuple[X509SVID, ...] = ()
        self._bundles: Mapping[str, Bundle] = {}
        self._told: str | None = None
        self.renew()
        renew_after_fork(self)

    def renew(self) -> None:
        """Start anew in a child process; what came last is of use to it, too."""
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def svids(self) -> tuple[X509SVID, ...]:
        """Return the SVIDs of this process; none: there have been none yet."""
        if self._thread is None:
            self._start()
        return self._svids

    def bundles(self) -> Mapping[str, Bundle]:
        """Return all bundles by trust domain: the own one and federated ones."""
        if self._thread is None:
            self._start()
        return self._bundles

    # --- the thread ---------------------------------------------------------------------------

    def _start(self) -> None:
        with self._lock:
            if self._thread is None:
                name = "meshware-workload-api"
                self._thread = threading.Thread(target=self._follow, name=name, daemon=True)
                self._thread.start()

    def _follow(self) -> None:
        if not self._endpoint:
            self._tell(f"{ENDPOINT} is not set: set it to the agent's socket (unix:/path)")
            return
        try:
            library = _library()
        except ImportError as error:
            needed = 'pip install "meshware[spiffe]"'
            self._tell(f"a library cannot be imported ({error}): {needed}")
            return
        pause_s = _FIRST_PAUSE_S
        while True:
            got_some = self._follow_once(library)
            pause_s = _FIRST_PAUSE_S if got_some else min(pause_s * 2, _LONGEST_PAUSE_S)
            threading.Event().wait(pause_s)

    def _follow_once(self, library: Any) -> bool:
        """Follow one stream to its end. Returns whether anything came."""
        ended = threading.Event()
        got_some = False

        def take(context: Any) -> None:
            nonlocal got_some
            got_some = True
            try:
                self._take(context)
            except Exception as error:  # or the library would go on without telling anybody
                self._tell(f"what the agent says cannot be used ({error})")
                ended.set()

        def end(error: Exception) -> None:
            self._tell(f"the agent at {self._endpoint} does not answer ({error})")
            ended.set()

        try:
            client = library.WorkloadApiClient(self._endpoint)
        except Exception as error:  # its own errors have several roots; the thread must go on
            self._tell(str(error))
            return False
        try:
            client.stream_x509_contexts(take, end, retry_connect=False)
            ended.wait()
        except Exception as error:  # as above
            self._tell(str(error))
        finally:
            with contextlib.suppress(Exception):  # it is of no use any more, whatever it says
                client.close()
        return got_some

    def _take(self, context: Any) -> None:
        """Take up what the agent says, all of it or nothing."""
        try:
            svids = [_svid(each) for each in context.x509_svids]
            bundles = [_bundle(each) for each in context.x509_bundle_set.bundles]
            if not svids:
                raise IdentityError("the agent has no SVID for this process")
        except IdentityError as error:
            self._tell(str(error))
            return
        before = self._bundles
        found = {bundle.trust_domain: bundle for bundle in bundles if bundle.roots}
        # The very same objects as before where nothing has changed: contexts depend on them.
        self._bundles = {
            name: before[name] if before.get(name) == bundle else bundle
            for name, bundle in found.items()
        }
        known = {svid.digest: svid for svid in self._svids}
        self._svids = tuple(known.get(svid.digest, svid) for svid in svids)
        self._told = None

    def _tell(self, problem: str) -> None:
        if problem != self._told:
            self._told = problem
            stays = "what came before stays in use" if self._svids else "there is no identity"
            _log.error("SPIFFE Workload API: %s; %s", problem, stays)


class AgentSource:
    """What an agent has for one workload. Safe to use from any thread; never waits.

    Args:
        agent: the agent.
        expected: whom policy says that we are; None: whoever the agent says.
    """

    def __init__(self, agent: Agent, expected: SpiffeID | None) -> None:
        self.expected = expected
        self._agent = agent
        self._told: frozenset[str] = frozenset()

    def svid(self) -> X509SVID | None:
        """Return the SVID; None: the agent has told none of this workload."""
        svids = self._agent.svids()
        if self.expected is None:
            return svids[0] if svids else None
        for svid in svids:
            if svid.id == self.expected:
                return svid
        found = frozenset(str(svid.id) for svid in svids)
        if found and found != self._told:
            self._told = found
            _log.error(
                "policy says that this is %s, and the agent that it is %s, so there is no "
                "identity; register it with the agent, or mend the workload's serviceAccount or "
                "MeshConfig's trustDomain",
                self.expected,
                ", ".join(sorted(found)[:10]),
            )
        return None

    def wait(self, most_s: float) -> X509SVID | None:
        """Wait for the SVID: for commands, which have nothing else to do.

        Args:
            most_s: seconds, at most.
        """
        until = time.monotonic() + most_s
        while (found := self.svid()) is None and time.monotonic() < until:
            time.sleep(0.005)
        return found

    def bundle(self, trust_domain: str) -> Bundle | None:
        """Return the agent's bundle of a trust domain; None: it has told none."""
        return self._agent.bundles().get(trust_domain)

    def bundles(self) -> Mapping[str, Bundle]:
        """Return all bundles by trust domain: the own one and federated ones."""
        return self._agent.bundles()


def _library() -> Any:
    """Return the `spiffe` package, fit for this process.

    Raises:
        ImportError: it, or gRPC, is not installed.
    """
    # Read when gRPC is imported first: without it a child that was forked later hangs in gRPC.
    os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "1")
    # The core tells of each fork in the log of a server that forks its workers.
    os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
    monkey = sys.modules.get("gevent.monkey")
    if monkey is not None and monkey.is_module_patched("threading"):
        # A "thread" that waits inside of gRPC's core would stop every greenlet.
        importlib.import_module("grpc.experimental.gevent").init_gevent()
    return importlib.import_module("spiffe")


def _svid(given: Any) -> X509SVID:
    chain, key = tuple(given.cert_chain), given.private_key
    if not isinstance(key, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey):
        raise IdentityError("the agent's key is neither ECDSA nor RSA")
    return X509SVID(id_of(chain[0]), chain, key)


def _bundle(given: Any) -> Bundle:
    roots = sorted(given.x509_authorities, key=fingerprint)  # they come in no order
    return Bundle(given.trust_domain.name, tuple(roots))
