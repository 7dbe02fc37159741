"""Policy compiled for one process: immutable in what it says, published whole.

Inbound rules are compiled before a snapshot exists, and any failure refuses it. Outbound parts are
compiled when a host is first called, into a memo that the snapshot owns: once, under a lock, never
to change. A new snapshot takes over from its predecessor whatever rests on the same records, so
that a swap costs what changed and not what there is.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, TypeVar

import msgspec

from meshware.errors import IdentityError, PolicyError
from meshware.identity.spiffe import SpiffeID, workload_id
from meshware.policy.authorizers import Authorizer, HttpAuthorizer, compile_authorizer
from meshware.policy.clusters import (
    Cluster,
    ClusterKey,
    cluster_name,
    compile_cluster,
)
from meshware.policy.cors_rule import CorsTable, compile_cors_table
from meshware.policy.file import Records
from meshware.policy.inbound_rules import InboundRules, NamedPolicy, compile_inbound
from meshware.policy.jwt_rules import UserRules
from meshware.policy.look_ups import LookUps
from meshware.policy.memo import MISSING, Digest, Memo
from meshware.policy.record_types import (
    AuthorizationRecord,
    BundleRecord,
    MeshRecord,
    PeerModes,
    TokenModes,
    WorkloadRecord,
)
from meshware.policy.routes import RouteTable, compile_routes
from meshware.policy.telemetry_plan import DEFAULT_PLAN, TelemetryPlan
from meshware.policy.user_records import NO_USERS, read_users
from meshware.policy.view import Client, Common, View
from meshware.policy.workload_index import WorkloadIndex
from meshware.policy.workload_telemetry import compile_telemetry

if TYPE_CHECKING:
    from meshware.identity.bundle import Bundles

__all__ = ["InboundView", "Snapshot", "SnapshotCell", "build_snapshot", "read_bundles"]

K = TypeVar("K", bound=Hashable)
T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class InboundView:
    """What the gate needs: this workload's rules and facts."""

    rules: InboundRules
    authorizers: Mapping[str, Authorizer] = field(default_factory=dict)  # that its rules ask
    address: str | None = None  # of a WorkloadEntry
    ports: tuple[int, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    reads_headers: frozenset[str] = frozenset()  # lower case; that these go by or change
    # Those of them whose values are looked at; a token that is good has nothing odd in it.
    reads_values: frozenset[str] = frozenset()
    users: UserRules | None = None  # whose tokens are good; None: nothing is said about tokens
    cors: CorsTable | None = None  # None: nothing is said about origins
    peer: PeerModes = PeerModes()  # what callers must show
    tokens: TokenModes = TokenModes()  # where callers may prove themselves by tokens
    takes_tokens: bool = False  # at any port, by these
    adds_headers: bool = False  # that say who calls, or takes those that do
    probe_paths: frozenset[str] = frozenset()  # where the daemon is admitted, and nowhere else
    most_requests: int | None = None  # under way at once in this process; None: no limit


class Snapshot:
    """One version of policy, as one workload sees it. Safe to read from any thread.

    Attributes:
        generation: the policy file's; grows with every publish.
        mesh: mesh-wide settings.
        client: whose snapshot this is.
        inbound: what applies to calls of this workload; None: policy does not know the workload.
        outbound_mode: what happens to hosts that the mesh does not know.
        bundles: whose word on identities is believed, as policy says.
        is_believing: policy says all of that, and no agent has to be asked.
        id: of the workload; None: policy gives it no service account.
        daemon_id: of the daemon, for its probes; None: it has none.
        look_ups: tells of services, endpoints and rules, to those who tell of calls.
        own_address: where the workload is, or its name where that is not known.
    """

    def __init__(
        self,
        records: Records,
        client: Client,
        *,
        generation: int,
        on_refusal: Callable[[str, Exception], None],
        previous: Snapshot | None = None,
    ) -> None:
        self._records = records
        self._on_refusal = on_refusal
        self._lock = threading.Lock()
        self._tables: Memo[tuple[str, int], RouteTable | None] = Memo()
        self._clusters: Memo[ClusterKey, Cluster | None] = Memo()
        before = None if previous is None else previous.workloads
        self.workloads: WorkloadIndex = WorkloadIndex(records, before)
        self.telemetry: TelemetryPlan = DEFAULT_PLAN
        self._telemetry_rests_on: Mapping[str, Digest] = {}
        self.generation = generation
        workload = _workload(records, client)
        if workload is not None:
            client = Client(
                namespace=client.namespace,
                name=client.name,
                labels=workload.labels,
                locality=workload.locality,
            )
        self.client = client
        self._common: Common = {}
        self.look_ups: LookUps = LookUps(records, client)
        seen = View(records, client, self._common)
        self.mesh: MeshRecord = seen.mesh
        self.outbound_mode: Literal["ALLOW_ANY", "REGISTRY_ONLY"] = seen.outbound_mode
        self.bundles = read_bundles(records.get, self.mesh, previous)
        is_federated = self.mesh.identity_provider == "workload-api"
        self.is_believing = self.mesh.trust_domain in self.bundles and not is_federated
        account = workload.service_account if workload is not None else None
        self.id: SpiffeID | None = (
            workload_id(self.mesh.trust_domain, client.namespace, account) if account else None
        )
        self.daemon_id = _daemon_id(self.mesh)
        # The mesh record too: it says which trust domains are one.
        keys = ("mesh", *workload.authorization) if workload is not None else ()
        self._inbound_rests_on = tuple((key, records.digest(key)) for key in keys)
        self._users = NO_USERS
        self._cors_rests_on: Mapping[str, Digest] = {}
        self.inbound = (
            None
            if workload is None
            else self._compile_inbound(workload, previous, seen.most_inbound_requests)
        )
        self._compile_telemetry(seen, account, previous)
        known_at = workload.address if workload is not None else None
        self.own_address = known_at or f"{client.namespace}/{client.name}"
        if previous is not None and previous.client == client:
            self._tables.take_over(previous._tables, records.digest)
            self._clusters.take_over(previous._clusters, records.digest)

    def routes(self, host: str, port: int) -> RouteTable | None:
        """Return the route table for a host as dialled; None: the mesh does not know it."""
        found = self._tables.get((host, port))
        if found is not MISSING:
            return found
        return self._compiled(
            self._tables,
            (host, port),
            f"{host}:{port}",
            lambda seen: compile_routes(seen, host, port),
            # A service that cannot be compiled is known all the same, and has no cluster.
            RouteTable(service=f"{host}:{port}", routes=(), rules=(), policy=None, is_broken=True),
        )

    def cluster(self, key: ClusterKey) -> Cluster | None:
        """Return a destination's cluster; None: host, port or subset does not exist."""
        found = self._clusters.get(key)
        if found is not MISSING:
            return found
        return self._compiled(
            self._clusters,
            key,
            cluster_name(key),
            lambda seen: compile_cluster(seen, key),
            None,
        )

    def clusters(self) -> list[Cluster]:
        """Return the clusters in use."""
        with self._lock:
            parts = self._clusters.parts()
        return [cluster for cluster in parts if cluster is not None]

    def cluster_names(self) -> list[str]:
        """Return the names of the clusters in use, for `Ledger.retain`."""
        return [cluster.name for cluster in self.clusters()]

    def renew_lock(self) -> None:
        """Replace the lock, in a child process: the thread that may have held it is not there."""
        self._lock = threading.Lock()
        self.look_ups.renew_lock()

    def _compile_inbound(
        self, workload: WorkloadRecord, previous: Snapshot | None, most_requests: int | None
    ) -> InboundView:
        """Compile this workload's rules, or take them over when none of their records changed."""
        if (
            previous is not None
            and previous.inbound is not None
            and previous._inbound_rests_on == self._inbound_rests_on
        ):
            rules = previous.inbound.rules
        else:
            rules = compile_inbound(
                [_policy(self._records, key) for key in workload.authorization],
                (self.mesh.trust_domain, *self.mesh.trust_domain_aliases),
            )
        before = NO_USERS if previous is None else previous._users
        self._users = read_users(self._records, workload.authentication, before)
        users = self._users.rules
        cors, self._cors_rests_on = self._compile_cors(workload, previous)
        authorizers = _authorizers(rules, self.mesh)
        asked = [each for each in authorizers.values() if isinstance(each, HttpAuthorizer)]
        takes_tokens = "ACCEPT" in (workload.tokens.mode, *workload.tokens.ports.values())
        reads_values = rules.reads_headers.union(*(each.reads for each in asked))
        return InboundView(
            rules=rules,
            users=users,
            authorizers=authorizers,
            reads_headers=reads_values.union(users.reads_headers if users else ()),
            reads_values=reads_values,
            cors=cors,
            peer=workload.peer,
            tokens=workload.tokens,
            takes_tokens=takes_tokens,
            adds_headers=takes_tokens or self.mesh.forward_cert != "SANITIZE",
            probe_paths=frozenset(workload.probe_paths),
            most_requests=most_requests,
            address=workload.address,
            ports=tuple(sorted((workload.ports or {}).values())),
            labels=workload.labels,
        )

    def _compile_cors(
        self, workload: WorkloadRecord, previous: Snapshot | None
    ) -> tuple[CorsTable | None, Mapping[str, Digest]]:
        """Compile what browsers are told, or take it over when none of its records changed."""
        if not workload.serves:
            return None, {}
        if previous is not None and previous.inbound is not None and previous._cors_rests_on:
            before = previous._cors_rests_on
            if all(self._records.digest(key) == digest for key, digest in before.items()):
                return previous.inbound.cors, before
        own = f"workload/{self.client.namespace}/{self.client.name}"
        rests_on: dict[str, Digest] = {own: self._records.digest(own)}
        views: dict[str, View] = {}

        def view_of(namespace: str) -> View:
            return views.setdefault(
                namespace, View(self._records, Client(namespace=namespace), self._common)
            )

        table = compile_cors_table(view_of, workload.serves, self.mesh.root_namespace)
        for seen in views.values():
            rests_on.update(seen.rests_on)
        return table, rests_on

    def _compile_telemetry(
        self, seen: View, account: str | None, previous: Snapshot | None
    ) -> None:
        """Compile what is measured, traced and logged, or take it over. Fails open.

        What cannot be compiled leaves the plan in force as it is: no call goes wrong for it.
        """
        client = seen.client
        before = {} if previous is None else previous._telemetry_rests_on
        if (
            previous is not None
            and before
            and (previous.client, previous.id) == (client, self.id)
            and all(self._records.digest(key) == digest for key, digest in before.items())
        ):
            self.telemetry, self._telemetry_rests_on = previous.telemetry, before
            return
        own = View(self._records, client, self._common)
        try:
            plan = compile_telemetry(own, account)
            self._telemetry_rests_on = own.rests_on
        except Exception as error:  # else a mistake here would keep rules from being in force
            self._on_refusal("telemetry", error)
            plan = DEFAULT_PLAN if previous is None else previous.telemetry
        self.telemetry = plan

    def _compiled(
        self,
        memo: Memo[K, T],
        key: K,
        name: str,
        compile_it: Callable[[View], T],
        on_failure: T,
    ) -> T:
        with self._lock:
            found = memo.get(key)
            if found is not MISSING:
                return found
            seen = View(self._records, self.client, self._common)
            try:
                part = compile_it(seen)
            except (PolicyError, msgspec.MsgspecError, ValueError) as error:
                self._on_refusal(name, error)
                part = on_failure
            memo.put(key, part, seen.rests_on)
            return part


class SnapshotCell:
    """Where the snapshot in force is found: read `current` once, at the start of a call."""

    __slots__ = ("current",)

    def __init__(self, current: Snapshot | None = None) -> None:
        self.current = current


def build_snapshot(
    records: Records,
    client: Client,
    *,
    generation: int,
    on_refusal: Callable[[str, Exception], None],
    previous: Snapshot | None = None,
) -> Snapshot:
    """Compile a snapshot for one workload.

    Args:
        records: the policy file's.
        client: the workload; its labels are taken from policy.
        generation: the policy file's.
        on_refusal: told when an outbound part cannot be compiled on first use.
        previous: the snapshot in force, whose compiled parts are taken over where they still hold.

    Raises:
        PolicyError: the records cannot be compiled, or they no longer name a workload that the
            snapshot in force does: dropping it would stop its service.
    """
    try:
        snapshot = Snapshot(
            records, client, generation=generation, on_refusal=on_refusal, previous=previous
        )
    except (msgspec.MsgspecError, IdentityError, ValueError) as error:
        raise PolicyError(f"generation {generation} cannot be compiled: {error}") from error
    if snapshot.inbound is None and previous is not None and previous.inbound is not None:
        raise PolicyError(
            f"generation {generation} no longer names workload {client.namespace}/{client.name}; "
            "give it a WorkloadEntry or WorkloadGroup again, or stop the process first"
        )
    return snapshot


def _workload(records: Records, client: Client) -> WorkloadRecord | None:
    if client.name is None:
        return None
    data = records.get(f"workload/{client.namespace}/{client.name}")
    return None if data is None else msgspec.json.decode(data, type=WorkloadRecord)


def _authorizers(rules: InboundRules, mesh: MeshRecord) -> Mapping[str, Authorizer]:
    """Return the authorizers that rules ask, by name.

    Raises:
        ValueError: MeshConfig has none of a name.
    """
    written = {provider.name: provider for provider in mesh.providers}
    found: dict[str, Authorizer] = {}
    for custom in rules.custom:
        provider = written.get(custom.provider)
        authorizer = None if provider is None else compile_authorizer(provider)
        if authorizer is None:
            raise ValueError(
                f"a CUSTOM policy asks {custom.provider!r}, and MeshConfig has no such authorizer "
                "among its extensionProviders"
            )
        found[custom.provider] = authorizer
    return found


def _daemon_id(mesh: MeshRecord) -> SpiffeID | None:
    namespace, slash, account = (mesh.daemon_account or "").partition("/")
    return workload_id(mesh.trust_domain, namespace, account) if slash else None


def read_bundles(
    get: Callable[[str], bytes | None], mesh: MeshRecord, previous: Snapshot | None = None
) -> Bundles:
    """Return whom policy believes; the very same object as before where nothing of it changed.

    Args:
        get: returns the record of a key.
        mesh: the policy's settings.
        previous: what was in force before.
    """
    from meshware.identity.bundle import Bundle, Bundles  # not at import: it is not light

    found: list[Bundle] = []
    for trust_domain in dict.fromkeys((mesh.trust_domain, *mesh.bundles)):
        data = get(f"bundle/{trust_domain}")
        if data is None:
            continue  # our own may come with the SVID; without any nobody is believed
        record = msgspec.json.decode(data, type=BundleRecord)
        roots = "".join(record.roots)
        found.append(Bundle.from_pem(trust_domain, roots, record.intermediates, record.tokens))
    bundles = Bundles(found, mesh.denied_authorities)
    if previous is not None and previous.bundles.digest == bundles.digest:
        return previous.bundles
    return bundles


def _policy(records: Records, key: str) -> NamedPolicy:
    data = records.get(key)
    if data is None:
        raise PolicyError(f"record {key} is missing; publish the policy again")
    _, namespace, name = key.split("/", 2)
    record = msgspec.json.decode(data, type=AuthorizationRecord)
    return NamedPolicy(
        namespace=namespace,
        name=name,
        spec=record.spec,
        is_dry_run=record.is_dry_run,
        key=key,
    )
