"""What this process proves about itself and whom it believes; the TLS contexts made of both.

1. The SVID comes from a source (files that the daemon keeps, or an agent's socket); whom to believe
   comes from policy, or from beside the SVID where policy has no bundle of our own trust domain.
2. A context is made for a pair of the two, its *epoch*, and never changed: what is verified by it
   is verified against one state of the world. With the epoch the context changes, and with the
   context every pool of connections that was made by it.
3. Contexts are of one process: a fork starts with none.
"""

from __future__ import annotations

import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, NamedTuple, Protocol

from meshware.clock import Clock
from meshware.errors import IdentityError
from meshware.policy.snapshot import Snapshot
from meshware.runtime.fork import renew_after_fork

if TYPE_CHECKING:  # what imports `cryptography` is imported where it is used
    from meshware.identity.bundle import Bundle, Bundles
    from meshware.identity.svid import X509SVID

__all__ = ["FederatedSource", "Identity", "SVIDSource"]

_MOST_CONTEXTS = 1024


class SVIDSource(Protocol):
    """Where a workload's own SVID comes from. Safe to use from any thread; never waits."""

    def svid(self) -> X509SVID | None:
        """Return the SVID; None: there has been none yet."""
        ...

    def bundle(self, trust_domain: str) -> Bundle | None:
        """Return the bundle that came with it; None: none did."""
        ...


class FederatedSource(SVIDSource, Protocol):
    """A source that also tells whom to believe of other trust domains, as an agent does."""

    def bundles(self) -> Mapping[str, Bundle]:
        """Return all bundles that came with the SVID, by trust domain."""
        ...


class Epoch(NamedTuple):
    """Names one state of what we prove and whom we believe."""

    svid: str
    bundles: str


class Identity:
    """The identity of this process. Safe to use from any thread.

    Args:
        snapshot_of: returns the policy in force.
        source_of: returns where the SVID of a workload of that policy comes from; None: nowhere.
        clock: tells aware UTC.
    """

    def __init__(
        self,
        snapshot_of: Callable[[], Snapshot | None],
        source_of: Callable[[Snapshot], SVIDSource | None],
        clock: Clock,
    ) -> None:
        self._snapshot_of = snapshot_of
        self._source_of = source_of
        self._now = clock.now
        self.renew()
        renew_after_fork(self)

    def renew(self) -> None:
        """Forget, in a child process, everything of TLS that is the parent's."""
        self._lock = threading.Lock()
        self._clients: dict[tuple[frozenset[str], type[ssl.SSLSocket] | None], ssl.SSLContext] = {}
        self._clients_epoch: Epoch | None = None
        self._server: tuple[Epoch, ssl.SSLContext] | None = None
        self._believed: tuple[Bundles, tuple[Bundle, ...], Bundles] | None = None

    # --- what it is ---------------------------------------------------------------------------

    def svid(self) -> X509SVID | None:
        """Return what this process shows; None: it has no identity (yet)."""
        source = self._source()
        return None if source is None else source.svid()

    def bundles(self) -> Bundles:
        """Return whom this process believes."""
        from meshware.identity.bundle import Bundles

        snapshot = self._snapshot_of()
        return Bundles() if snapshot is None else self.bundles_of(snapshot)

    def bundles_of(self, snapshot: Snapshot) -> Bundles:
        """Return whom this process believes under a certain policy."""
        policy, own = snapshot.bundles, snapshot.mesh.trust_domain
        if snapshot.is_believing:
            return policy
        source = self._source_of(snapshot)
        beside = () if source is None else tuple(_beside(source, own, policy))
        if not beside:
            return policy
        kept = self._believed
        if kept is not None and kept[0] is policy and kept[1] == beside:
            return kept[2]
        from meshware.identity.bundle import Bundles

        merged = Bundles([*policy.values(), *beside], tuple(policy.denied))
        self._believed = (policy, beside, merged)
        return merged

    def _source(self) -> SVIDSource | None:
        snapshot = self._snapshot_of()
        return None if snapshot is None else self._source_of(snapshot)

    # --- what is made of it -------------------------------------------------------------------

    def client_context(
        self, expected: frozenset[str], socket_class: type[ssl.SSLSocket] | None = None
    ) -> ssl.SSLContext:
        """Return the context for calls to a workload; the same one for as long as it holds.

        Args:
            expected: SPIFFE IDs (or other names) of which the server must bear one.
            socket_class: of its sockets.

        Raises:
            IdentityError: this process has no identity that TLS can use, or nobody is expected.
        """
        from meshware.identity.tls import mesh_client_context

        svid, bundles = self._must_have()
        epoch = Epoch(svid.digest, bundles.digest)
        key = (expected, socket_class)
        with self._lock:
            if self._clients_epoch != epoch or len(self._clients) >= _MOST_CONTEXTS:
                self._clients, self._clients_epoch = {}, epoch
            found = self._clients.get(key)
            if found is None:
                found = mesh_client_context(svid, bundles, expected, self._now, socket_class)
                self._clients[key] = found
            return found

    def server_context(self) -> ssl.SSLContext:
        """Return the context for calls that come in now; the same one for as long as it holds.

        A server that keeps one context for its whole life gets that from `servers.context`, which
        asks here at each handshake.

        Raises:
            IdentityError: this process has no identity.
        """
        from meshware.identity.tls import mesh_server_context

        svid, bundles = self._must_have()
        epoch = Epoch(svid.digest, bundles.digest)
        kept = self._server
        if kept is not None and kept[0] == epoch:
            return kept[1]
        with self._lock:
            kept = self._server
            if kept is not None and kept[0] == epoch:
                return kept[1]  # made by another thread while this one waited
            context = mesh_server_context(svid, bundles, self._now)
            self._server = (epoch, context)
            return context

    def _must_have(self) -> tuple[X509SVID, Bundles]:
        svid = self.svid()
        if svid is None:
            raise IdentityError("this process has no identity (yet)")
        bundles = self.bundles()
        if not bundles.roots:
            raise IdentityError("there is no bundle (yet) to verify anybody against")
        return svid, bundles


def _beside(source: SVIDSource, own: str, policy: Bundles) -> Iterator[Bundle]:
    """Yield the bundles of a source for trust domains of which policy has none."""
    all_of = getattr(source, "bundles", None)
    if all_of is None:
        bundle = source.bundle(own)
        found = {} if bundle is None else {own: bundle}
    else:
        found = all_of()
    for name, bundle in found.items():
        if name not in policy:
            yield bundle
