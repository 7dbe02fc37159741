"""The root object: wires policy, gate, ledger, clock and chance together for one process.

Nothing starts at import or construction, because servers fork: following policy and reporting
begin with `start()`, which the drivers call at lifespan start-up or the first call, in whichever
process that is. This is the only module with a default clock, source of chance and environment.
"""

from __future__ import annotations

import logging
import os
import random
import threading
import weakref
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, ClassVar

from meshware.authz import Authorizer, registered
from meshware.call import RequestHead
from meshware.clock import Clock, SystemClock, unix_time
from meshware.errors import SettingsError
from meshware.events import EventSink
from meshware.ids import new_request_id
from meshware.inbound.gate import Gate
from meshware.inbound.peer import Peers
from meshware.outbound.exchange import Exchange, exchange
from meshware.outbound.ledger import Ledger
from meshware.policy.file import Records
from meshware.policy.snapshot import Snapshot, SnapshotCell, build_snapshot
from meshware.policy.view import Client
from meshware.runtime.gauges import gauges_of
from meshware.runtime.identity import Identity, SVIDSource
from meshware.runtime.identity_sources import IdentitySources
from meshware.runtime.mistakes import tell_about_authorizers, tell_about_workload, tell_once
from meshware.runtime.refusals import RefusalLog
from meshware.runtime.vitals import Certificate, Process, Signs
from meshware.telemetry.access_log import AccessLog
from meshware.telemetry.call_ring import CallRing
from meshware.telemetry.counting import Counting
from meshware.telemetry.fan import Fan
from meshware.telemetry.losses import Losses
from meshware.telemetry.report import Counted, Gauges
from meshware.telemetry.ring_file import WorkerRings
from meshware.telemetry.tracing import Tracing
from meshware.telemetry.worker import WorkerCounts

if TYPE_CHECKING:
    from meshware.runtime.follower import Follower
    from meshware.runtime.reporter import Reporter
    from meshware.runtime.settings import Settings
    from meshware.runtime.token_files import WorkloadToken

__all__ = ["Mesh"]


def _no_source(_: Snapshot) -> None:
    return None


def _no_token(_: Snapshot, __: float) -> None:
    return None


_log = logging.getLogger("meshware")


class Mesh:
    """The mesh in one process: what the middlewares and client transports ask.

    Safe to use from any thread, and across `fork`: a child follows policy on its own, draws its
    own chance and counts its own calls.

    Attributes:
        client: the workload that this process is.
        cell: where the policy in force is found.
        gate: decides inbound calls.
        ledger: what is in flight outbound.
        identity: what this process proves about itself, and whom it believes.
        tracing: makes the spans of sampled calls, and keeps the last ones.
        signs: of this process's health, to which drivers introduce their server.
        calls: the last calls that were refused or failed; nothing in a mesh with its own sink.
        clock, rng: time and chance, as every decision here is handed them.
        port: where this process is reached, from MESH_PORT or its server; None: not known.
    """

    opens_connections: ClassVar[bool] = True
    """Whether an authorizer that is a service may be called; a mesh for tests calls nobody."""

    _process_wide: ClassVar[Mesh | None] = None
    _process_lock: ClassVar[threading.Lock] = threading.Lock()

    def __init__(
        self,
        *,
        client: Client | None = None,
        cell: SnapshotCell | None = None,
        clock: Clock | None = None,
        rng: random.Random | None = None,
        sink: EventSink | None = None,
        port: int | None = None,
        source_of: Callable[[Snapshot], SVIDSource | None] = _no_source,
        token_of: Callable[[Snapshot, float], WorkloadToken | None] = _no_token,
    ) -> None:
        self.client = client or Client()
        self.cell = cell or SnapshotCell()
        self.clock: Clock = clock or SystemClock()
        self.rng = rng or random.Random()
        self.ledger = Ledger()
        self.port = port
        self.identity = Identity(self._snapshot, source_of, self.clock)
        self._unix_time = unix_time(self.clock)
        self._peers = Peers(self.identity.bundles_of, self._unix_time)
        self._token_of = token_of
        self._counting: Counting | None = None
        self.calls = CallRing(self.clock.monotonic, self._unix_time)
        self._logs: AccessLog | None = None
        self._losses: Losses | None = None
        self.tracing = Tracing(self._snapshot, clock=self.clock, rng=self.rng, environ=os.environ)
        if sink is None:
            self._logs = AccessLog(self._snapshot, self.clock.now, os.environ, tell_once)
            counts = {"spans": lambda: self.tracing.lost, "events": lambda: fan.failures}
            self._losses = Losses(counts, self._logs.failures)
            self._counting = Counting(self._snapshot, self._unix_time, self._losses)
            refusals = RefusalLog(self.clock.monotonic)
            fan: Fan = Fan((self._counting, self._logs), (refusals, self.calls), tell_once)
            sink = fan
        self._sink = sink = self.tracing.told(sink)
        self._follower: Follower | None = None
        self._reporter: Reporter | None = None
        self._applied_at = 0.0
        self._monotonic = self.clock.monotonic
        self.gate = Gate(
            self._snapshot,
            monotonic=self._monotonic,
            new_request_id=self._new_request_id,
            peers=self._peers,
            now=self._unix_time,
            sink=sink,
            on_error=tell_once,
            on_unknown_key=self.key_unknown,
            begin_trace=self.tracing.begin,
        )
        self.signs = Signs(self._monotonic, self._process)
        _meshes.add(self)

    # --- making one ---------------------------------------------------------------------------

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None) -> Mesh:
        """Return a mesh as the environment says: MESH_CONFIG, MESH_WORKLOAD and their fellows.

        Raises:
            SettingsError: MESH_CONFIG is not set, or a variable cannot be read.
        """
        from meshware.runtime.settings import Settings

        environ = os.environ if environ is None else environ
        settings = Settings.from_env(environ)
        sources = IdentitySources(settings.run_dir, environ.get("SPIFFE_ENDPOINT_SOCKET", ""))
        mesh = cls(
            client=settings.client,
            port=settings.port,
            source_of=sources,
            token_of=sources.token,
        )
        mesh._follow(settings)
        return mesh

    @classmethod
    def current(cls) -> Mesh:
        """Return the process-wide mesh, made from the environment when first asked for.

        With an environment that cannot be read the mesh has no policy, and so it refuses every
        call; one error in the log says why.
        """
        found = Mesh._process_wide
        if found is None:
            with Mesh._process_lock:
                found = Mesh._process_wide
                if found is None:
                    try:
                        found = Mesh.from_env()
                    except SettingsError as error:
                        _log.error("meshware refuses every call: %s", error)
                        found = Mesh()
                    Mesh._process_wide = found
        return found

    # --- what drivers call --------------------------------------------------------------------

    def start(self) -> None:
        """Follow policy and report, in this process. Idempotent, and cheap when started."""
        if self._follower is not None:
            self._follower.start()
        if self._reporter is not None:
            self._reporter.start()

    def stop(self) -> None:
        """Stop following and reporting; the policy in force stays."""
        if self._reporter is not None:
            self._reporter.stop()
        if self._follower is not None:
            self._follower.stop()

    def reached_at(self, port: int | None) -> None:
        """Note where this process is reached, as its server says; None: at several ports."""
        self.port = port
        if self._reporter is not None:
            self._reporter.reached_at(port)

    def key_unknown(self, uri: str) -> None:
        """Note that a token names a key which is not among those of an address.

        Whoever fetches keys, the daemon or this process in the background, fetches them anew; the
        call at hand is refused, and waits for nothing.
        """
        if self._reporter is not None:
            self._reporter.key_unknown(uri)
        if self._follower is not None:
            self._follower.key_unknown(uri)

    def exchange(self, head: RequestHead) -> Exchange:
        """Return the exchange for one outbound call, over the policy in force now."""
        snapshot = self.cell.current

        def flow(sink: EventSink) -> Exchange:
            return exchange(
                head,
                snapshot,
                self.ledger,
                monotonic=self._monotonic,
                rng=self.rng,
                sink=sink,
                identity=self.identity,
                prove=self._prove,
            )

        return self.tracing.outbound(head, snapshot, flow, self._sink)

    def authorizer(self, name: str) -> Authorizer | None:
        """Return the function that is the authorizer of a name; None: there is none."""
        return registered(name)

    def counted(self) -> Counted:
        """Return what this process has counted, and what holds now; a mesh for tests counts not."""
        if self._counting is None:
            return Counted()
        return self._counting.copied(self._gauges())

    # --- inside -------------------------------------------------------------------------------

    def _follow(self, settings: Settings) -> None:
        """Make follower and reporter; nothing starts before `start()`."""
        from meshware.runtime.dns_lookup import lookup_for
        from meshware.runtime.follower import Follower
        from meshware.runtime.reporter import Reporter
        from meshware.runtime.ring_writer import RingWriter

        rings = WorkerRings(
            self.calls.snapshot, lambda: self.calls.left_out, self.tracing.ring.snapshot
        )
        reporter = Reporter(
            settings.run_dir,
            settings.client,
            settings.address,
            settings.port,
            clock=self.clock,
            bundle_of=self._bundles_digest,
            counted=None if self._counting is None else WorkerCounts(self._counting, self._gauges),
            signs=self.signs,
            rings=RingWriter(rings),
        )

        def not_compiled(name: str, error: Exception) -> None:
            _log.error("%s cannot be compiled, and calls to it are answered 503: %s", name, error)
            current = self.cell.current
            generation = None if current is None else current.generation
            reporter.refused(str(error), generation, subject=name)

        def build(records: Records, previous: Snapshot | None, generation: int) -> Snapshot:
            snapshot = build_snapshot(
                records,
                settings.client,
                generation=generation,
                on_refusal=not_compiled,
                previous=previous,
            )
            self._prepare_logs(snapshot)  # before any call sees it
            return snapshot

        is_told = False
        missing: set[str] = set()

        def applied(snapshot: Snapshot) -> None:
            nonlocal is_told
            tell_about_authorizers(self.authorizer, snapshot, missing)
            self.ledger.retain(snapshot.cluster_names())
            reporter.applied(snapshot.generation)
            self._applied_at = self._unix_time()
            if snapshot.mesh.identity_provider == "workload-api":
                self.identity.svid()  # an agent takes its time: it is asked before the first call
            if snapshot.inbound is None and not is_told:
                is_told = True  # and not with each new address that DNS finds
                tell_about_workload(settings.client)

        self._reporter = reporter
        self._follower = Follower(
            settings.config,
            self.cell,
            build,
            settings.policy_owner,
            applied,
            on_refused=reporter.refused,
            make_lookup=lambda: lookup_for(settings.dns_servers),
            rng=self.rng,
        )

    def _prepare_logs(self, snapshot: Snapshot) -> None:
        if self._logs is not None:
            try:
                self._logs.prepare(snapshot)
            except Exception as error:
                tell_once(error)  # no log is a reason to refuse policy

    def _snapshot(self) -> Snapshot | None:
        return self.cell.current

    def _gauges(self) -> Gauges:
        """Return what holds now, for the report."""
        snapshot, svid = self.cell.current, self.identity.svid()
        if snapshot is None:
            return {}
        until_s = None if svid is None else svid.until_s
        return gauges_of(
            self.client, snapshot, self.ledger, self._applied_at, until_s, self._monotonic()
        )

    def _process(self) -> Process:
        """Return what the policy in force tells of this process, for the report."""
        snapshot = self.cell.current
        in_flight = self.gate.in_flight
        if snapshot is None:
            return Process(in_flight=in_flight)
        svid = self.identity.svid()
        shown = None
        if svid is not None:
            source = snapshot.mesh.identity_provider
            shown = Certificate(
                id=str(svid.id), from_s=svid.from_s, until_s=svid.until_s, source=source
            )
        return Process(applied_s=self._applied_at, certificate=shown, in_flight=in_flight)

    def _bundles_digest(self) -> str | None:
        return None if self.cell.current is None else self.identity.bundles().digest

    def _prove(self, audience: str, method: str, target: str) -> tuple[tuple[str, str], ...] | None:
        """Return the headers that prove who we are, once; None: this process cannot."""
        snapshot, now = self.cell.current, self._unix_time()
        token = None if snapshot is None else self._token_of(snapshot, now)
        if token is None:
            return None
        from meshware.runtime.prover import prove

        return prove(token, audience, method, target, now)

    def _new_request_id(self) -> str:
        return new_request_id(self.rng)

    def _renew(self) -> None:
        """Shed what a fork copied: another thread may have held a lock, and chance must differ."""
        self.rng.seed()
        self.ledger = Ledger()
        self._peers.renew()
        self.signs.renew()
        self.gate.renew()
        if self._counting is not None:
            self._counting.renew()
        if self._logs is not None:
            self._logs.renew()
        self.tracing.renew()
        if self._losses is not None:
            self._losses.renew()
        self.calls.renew()
        if self.cell.current is not None:
            self.cell.current.renew_lock()


_meshes: weakref.WeakSet[Mesh] = weakref.WeakSet()


def _renew_all() -> None:
    for mesh in list(_meshes):
        mesh._renew()


os.register_at_fork(after_in_child=_renew_all)
