"""Compile the endpoints behind a destination, and how one client chooses among them.

Everything with a default gets it here; the types are what `outbound.ledger` reads at call time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, NamedTuple

from meshware.policy.addresses import UNIX_PREFIX
from meshware.policy.document.common import Labels
from meshware.policy.document.destination_rule import (
    DestinationRuleSpec,
    RetryBudget,
    Subset,
    TrafficPolicy,
)
from meshware.policy.hash_rule import HashRule, compile_hash
from meshware.policy.hash_table import HashTable, build_table
from meshware.policy.labels import selects
from meshware.policy.limits import Limits, compile_limits
from meshware.policy.locality import Level, Located, levels_of
from meshware.policy.mutual_tls import compile_mutual, pool_with
from meshware.policy.names import is_wildcard
from meshware.policy.outlier_rule import OutlierRule, compile_outlier
from meshware.policy.pool_rule import PoolRule, compile_pool
from meshware.policy.record_types import EndpointRecord
from meshware.policy.traffic_policy import effective_policy
from meshware.policy.view import ServiceView, View
from meshware.policy.warmup import WarmupRule, compile_warmup

__all__ = [
    "Balance",
    "Cluster",
    "ClusterKey",
    "Endpoint",
    "cluster_name",
    "compile_cluster",
    "endpoint_key",
    "placed",
    "subset_of",
    "why_outside",
]

Balance = Literal["LEAST_REQUEST", "ROUND_ROBIN", "RANDOM"]

ClusterKey = tuple[str, int, str]
"""Host, port and subset (`""` for none) of a destination."""


class Endpoint(NamedTuple):  # made by the ten thousand, which a frozen dataclass is slow at
    """One address and port behind a service."""

    address: str  # to dial; `unix:///` and a path for a Unix socket
    port: int  # 0 for a Unix socket
    weight: int
    key: str  # "address:port", with brackets around IPv6; of a Unix socket its address alone


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """The endpoints behind a service, or behind one subset of it, and how to choose."""

    name: str  # Envoy's: "outbound|9080|v1|reviews.default.svc.cluster.local"
    pool: PoolRule  # connections are shared within it, by subsets too if they have one rule
    balance: Balance
    endpoints: tuple[Endpoint, ...]
    is_weighted: bool  # the weights differ
    connect_timeout_s: float
    keys: frozenset[str]  # of the endpoints
    limits: Limits
    outlier: OutlierRule | None  # None: nobody is ejected
    hash: HashRule | None  # None: calls are not kept at one endpoint
    table: HashTable | None
    warmup: WarmupRule | None = None  # None: new endpoints get their whole share at once
    levels: tuple[Level, ...] | None = None  # None: it does not matter where endpoints are
    pools: Mapping[str, PoolRule] | None = None  # by endpoint, where not all have `pool`
    is_original: bool = False  # calls go where the caller's URL says; `placed` knows
    # SPIFFE IDs of the endpoints that take token identity, by key.
    audiences: Mapping[str, str] = field(default_factory=dict, hash=False)
    is_plain: bool = field(init=False)  # any two endpoints are drawn: nothing else has a say

    def __post_init__(self) -> None:
        others = (self.outlier, self.hash, self.warmup, self.levels)
        is_plain = (
            self.balance == "LEAST_REQUEST"
            and len(self.endpoints) > 1
            and not self.is_weighted
            and all(other is None for other in others)
        )
        object.__setattr__(self, "is_plain", is_plain)


def cluster_name(key: ClusterKey) -> str:
    """Return Envoy's name of an outbound cluster."""
    host, port, subset = key
    return f"outbound|{port}|{subset}|{host}"


def compile_cluster(view: View, key: ClusterKey) -> Cluster | None:
    """Return the cluster of a destination; None where host, port or subset does not exist."""
    host, port, subset_name = key
    service = view.service(host)
    if service is None or not service.has_port(port):
        return None
    found = view.destination_rule(host, service.claim.namespace)
    rule = found.spec if found is not None else None
    subset = subset_of(rule, subset_name)
    if subset_name and subset is None:
        return None
    policy = effective_policy(rule, subset, port).policy
    labels = subset.labels if subset is not None else None
    name = str(port)
    claim = service.claim
    pool = compile_pool(f"{host}:{port}", policy, claim.subject_alt_names)
    mutual = compile_mutual(policy.tls, claim.subject_alt_names, key, auto=view.mesh.auto_mtls)
    pools: dict[str, PoolRule] = {}
    audiences: dict[str, str] = {}
    located = []
    for record in view.endpoints(service):
        if why_outside(record, name, labels) is not None:
            continue
        own_port = record.ports[name]
        endpoint = _endpoint(record.address, own_port, record.weight)
        located.append(Located(endpoint, record.locality or "", record.labels or {}))
        if mutual is not None:
            tls = mutual.rule_for(record.tls_id_at(own_port))
            if tls is not None:
                pools[endpoint.key] = pool_with(pool, tls)
        if record.tls_id is not None and own_port in record.token_ports:
            audiences[endpoint.key] = record.tls_id
    is_original = _is_original(service, policy)
    if is_original and mutual is not None and mutual.is_forced:
        pool = pool_with(pool, mutual.rule)
    elif pools and len(pools) == len(located) and len(set(pools.values())) == 1:
        pool, pools = next(iter(pools.values())), {}
    balancer = policy.load_balancer
    hashing = compile_hash(balancer.consistent_hash if balancer else None)
    levels = levels_of(
        located,
        (balancer.locality_lb_setting if balancer else None) or view.mesh.locality_lb_setting,
        fails_over=policy.outlier_detection is not None,
        locality=view.client.locality,
        labels=view.client.labels,
    )
    if levels is not None:
        reachable = frozenset[str]().union(*(level.keys for level in levels))
        located = [each for each in located if each.endpoint.key in reachable]
        if hashing is not None:
            levels = tuple(_with_table(level, hashing) for level in levels)
    endpoints = tuple(each.endpoint for each in located)
    return Cluster(
        name=cluster_name(key),
        pool=pool,
        balance=_balance(policy),
        endpoints=endpoints,
        is_weighted=len({endpoint.weight for endpoint in endpoints}) > 1,
        connect_timeout_s=_connect_timeout_s(policy, view),
        keys=frozenset([endpoint.key for endpoint in endpoints]),
        limits=compile_limits(policy.connection_pool, _retry_budget(rule, subset)),
        outlier=compile_outlier(policy.outlier_detection),
        hash=hashing,
        table=build_table(hashing, endpoints) if hashing and len(endpoints) > 1 else None,
        warmup=compile_warmup(balancer),
        levels=levels,
        pools=pools or None,
        audiences=audiences,
        is_original=is_original,
    )


_SCALE = 1000  # of the whole weights that a share of a level is turned into


def _with_table(level: Level, hashing: HashRule) -> Level:
    """Give a level the table in which a hash finds an endpoint, by its locality's share too."""
    weighted = []
    for group in level.groups:
        total = sum(endpoint.weight for endpoint in group.endpoints)
        for endpoint in group.endpoints:
            weight = max(1, round(_SCALE * group.weight * endpoint.weight / total))
            weighted.append(endpoint._replace(weight=weight))
    return replace(level, table=build_table(hashing, weighted))


def _endpoint(address: str, number: int, weight: int) -> Endpoint:
    if ":" not in address:
        return Endpoint(address, number, weight, f"{address}:{number}")
    if address.startswith(UNIX_PREFIX):
        return Endpoint(address, 0, weight, address)
    return Endpoint(address, number, weight, f"[{address}]:{number}")


def endpoint_key(address: str, port: int) -> str:
    """Return how an endpoint is told from others: "address:port", or its Unix socket."""
    return _endpoint(address, port, 1).key


def _is_original(service: ServiceView, policy: TrafficPolicy) -> bool:
    """Say whether calls go where the caller's URL says: no endpoint is chosen for them."""
    simple = policy.load_balancer.simple if policy.load_balancer else None
    return service.claim.resolution in ("NONE", "DYNAMIC_DNS") or simple == "PASSTHROUGH"


def placed(cluster: Cluster, key: ClusterKey, service: str, dialled: str) -> Cluster:
    """Return a cluster with endpoints to choose from, for one call.

    One that `is_original` gets a single endpoint: where the caller's URL says, if the destination
    is the service that was dialled or a pattern; else the destination's own host. Its host may be
    a name: the connection itself looks it up, in the way of the client library. If it happens to
    be an endpoint of the service, it is called as that one speaks.
    Differs from Envoy, whose original destinations know the dialled address only, so that a second
    destination or a mirror of theirs would call the first.

    Args:
        cluster: the destination's.
        key: the destination.
        service: `host:port` of the service that was dialled.
        dialled: the host of the caller's URL, without brackets.
    """
    if not cluster.is_original:
        return cluster
    host, port, _ = key
    if is_wildcard(host) or host == service.rpartition(":")[0]:
        host = dialled
    endpoint = _endpoint(host, port, 1)
    return replace(
        cluster,
        endpoints=(endpoint,),
        keys=frozenset((endpoint.key,)),
        is_weighted=False,
        table=None,
        warmup=None,
        levels=None,
    )


def why_outside(
    record: EndpointRecord, port: str, labels: Labels | None
) -> Literal["no-port", "other-subset"] | None:
    """Return why an endpoint of a service is not one of a cluster; None: it is.

    Args:
        record: the endpoint.
        port: the service's, as endpoints name it.
        labels: those of the subset; None: the cluster is the whole service.
    """
    if port not in record.ports:
        return "no-port"
    return None if not labels or selects(labels, record.labels or {}) else "other-subset"


def subset_of(rule: DestinationRuleSpec | None, name: str) -> Subset | None:
    """Return a subset by its name; None: there is none of that name."""
    subsets: Sequence[Subset] = (rule.subsets if rule is not None else None) or ()
    return next((subset for subset in subsets if subset.name == name), None)


def _retry_budget(rule: DestinationRuleSpec | None, subset: Subset | None) -> RetryBudget | None:
    """Return the subset's budget, else the destination's: a port has none, and resets none."""
    own = subset.traffic_policy if subset is not None else None
    whole = rule.traffic_policy if rule is not None else None
    return (own.retry_budget if own else None) or (whole.retry_budget if whole else None)


def _balance(policy: TrafficPolicy) -> Balance:
    simple = policy.load_balancer.simple if policy.load_balancer else None
    if simple == "ROUND_ROBIN":
        return "ROUND_ROBIN"
    if simple == "RANDOM":
        return "RANDOM"
    return "LEAST_REQUEST"  # also UNSPECIFIED and LEAST_CONN


def _connect_timeout_s(policy: TrafficPolicy, view: View) -> float:
    tcp = policy.connection_pool.tcp if policy.connection_pool else None
    return (tcp.connect_timeout if tcp else None) or view.mesh.connect_timeout_s
