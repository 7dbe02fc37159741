"""A destination as Envoy's Cluster, and its endpoints as a ClusterLoadAssignment."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from meshware.envoy.balancing import balancer
from meshware.envoy.identity import Identity, match_of, sockets
from meshware.envoy.limits import (
    circuit_breakers,
    keep_alive,
    outlier_detection,
    protocol_options,
)
from meshware.envoy.listener import original
from meshware.envoy.localities import Group, groups
from meshware.envoy.policies import Behind
from meshware.envoy.tls import transport_socket
from meshware.envoy.values import Json, Say, any_of, cluster_name, duration, path_config
from meshware.policy.labels import selects
from meshware.policy.mutual_tls import compile_mutual
from meshware.policy.names import is_ip
from meshware.policy.record_types import EndpointRecord
from meshware.policy.view import View

__all__ = ["Surroundings", "assignment", "cluster", "has_names", "is_original"]

_UNIX = "unix://"
_HTTP = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What a cluster needs to know besides policy."""

    locality: str  # the client's, "" where it is not known
    ca_file: str  # the roots to trust where policy names none
    identity: Identity | None = None  # of the workload; None: it has none here


def cluster(view: View, behind: Behind, path: str | None, around: Surroundings, say: Say) -> Json:
    """Return the Cluster of a destination.

    Args:
        view: the client's.
        behind: the destination.
        path: the file with its endpoints; None: they stand in the cluster itself.
        around: what is known besides policy.
        say: takes warnings.
    """
    policy, name, origin = behind.policy, cluster_name(behind.key), behind.origin
    outlier = outlier_detection(policy.outlier_detection)
    tcp = policy.connection_pool.tcp if policy.connection_pool else None
    socket, of_tls = transport_socket(policy.tls, around.ca_file, origin, say)
    port = next(p for p in behind.service.claim.ports if p.number == behind.key[1])
    options = protocol_options(policy.connection_pool, port.protocol) | of_tls
    found: Json = {
        "name": name,
        "connect_timeout": duration(
            (tcp.connect_timeout if tcp else None) or view.mesh.connect_timeout_s
        ),
        **balancer(policy.load_balancer),
        "circuit_breakers": circuit_breakers(policy.connection_pool, policy.retry_budget),
        "typed_extension_protocol_options": {_HTTP: any_of(_HTTP, **options)},
    }
    if is_original(behind):
        return found | original(name)
    if path is None:
        found["type"] = _kind(view, behind)
        found["load_assignment"] = assignment(view, behind, around)
    else:
        found["type"] = "EDS"
        found["eds_cluster_config"] = {"eds_config": path_config(path), "service_name": name}
    if outlier is not None:
        found["outlier_detection"] = outlier
        least = policy.outlier_detection.min_health_percent if policy.outlier_detection else None
        found["common_lb_config"] = {"healthy_panic_threshold": {"value": least or 0}}
    if any(group.weight is not None for group in _groups(view, behind, around)):
        found.setdefault("common_lb_config", {})["locality_weighted_lb_config"] = {}
    probes = keep_alive(policy.connection_pool)
    if probes is not None:
        found["upstream_connection_options"] = {"tcp_keepalive": probes}
    if socket is not None:
        found["transport_socket"] = socket
    secured = _mesh_tls(view, behind, around, say)
    if "load_assignment" in secured:
        found.pop("eds_cluster_config", None)
    return found | secured


def _mesh_tls(view: View, behind: Behind, around: Surroundings, say: Say) -> Json:
    """Return how endpoints with an identity are called, by policy's word or of its own accord."""
    names = behind.service.claim.subject_alt_names
    mutual = compile_mutual(behind.policy.tls, names, behind.key, auto=view.mesh.auto_mtls)
    if mutual is None:
        return {}
    port = str(behind.key[1])
    ids = {
        own
        for endpoint in _endpoints(view, behind)
        if (own := endpoint.tls_id_at(endpoint.ports[port])) is not None
    }
    if not ids and not mutual.is_forced:
        return {}
    if around.identity is None:
        say(
            behind.origin,
            "its endpoints speak mutual TLS, which takes an identity: name its directory by "
            "--identity; without it the cluster "
            + ("has no endpoints" if mutual.is_forced else "speaks plain text"),
        )
        if not mutual.is_forced:
            return {}
        # Policy wants to know who answers, and nothing could tell: nobody is called.
        name = cluster_name(behind.key)
        return {"type": "STATIC", "load_assignment": {"cluster_name": name, "endpoints": []}}
    return sockets(mutual, ids, around.identity)


def assignment(view: View, behind: Behind, around: Surroundings) -> Json:
    """Return the endpoints of a destination."""
    number = str(behind.key[1])
    return {
        "cluster_name": cluster_name(behind.key),
        "endpoints": [_locality(group, number) for group in _groups(view, behind, around)],
    }


def has_names(view: View, behind: Behind) -> bool:
    """Say whether an endpoint is a name to be resolved, which a file of endpoints cannot hold."""
    return any(
        not is_ip(endpoint.address) and not endpoint.address.startswith(_UNIX)
        for endpoint in _endpoints(view, behind)
    )


def is_original(behind: Behind) -> bool:
    """Say whether calls go where the request says: no endpoint is chosen for them."""
    balancer = behind.policy.load_balancer
    simple = balancer.simple if balancer is not None else None
    is_open = behind.service.claim.resolution in ("NONE", "DYNAMIC_DNS")
    return is_open or simple == "PASSTHROUGH"


def _kind(view: View, behind: Behind) -> str:
    if not has_names(view, behind):
        return "STATIC"
    is_one = len(_endpoints(view, behind)) == 1  # Envoy takes no more of those
    is_first_only = behind.service.claim.resolution == "DNS_ROUND_ROBIN"
    return "LOGICAL_DNS" if is_first_only and is_one else "STRICT_DNS"


def _endpoints(view: View, behind: Behind) -> list[EndpointRecord]:
    """Return the endpoints, by the name of DNS where they have one: Envoy looks it up itself."""
    labels = behind.subset.labels if behind.subset is not None else None
    found: dict[str, EndpointRecord] = {}
    for endpoint in view.endpoints(behind.service):
        port = endpoint.ports.get(str(behind.key[1]))
        if port is None or not selects(labels, endpoint.labels or {}):
            continue
        address = endpoint.name or endpoint.address
        found[f"{address} {port}"] = msgspec.structs.replace(endpoint, address=address)
    return list(found.values())


def _groups(view: View, behind: Behind, around: Surroundings) -> list[Group]:
    written = behind.policy.load_balancer
    own = written.locality_lb_setting if written is not None else None
    return groups(
        _endpoints(view, behind),
        own or view.mesh.locality_lb_setting,
        around.locality,
        view.client.labels,
        fails_over=behind.policy.outlier_detection is not None,
    )


def _locality(group: Group, number: str) -> Json:
    found: Json = {
        "lb_endpoints": [
            {
                "endpoint": {"address": _address(endpoint, number)},
                "load_balancing_weight": endpoint.weight,
                **match_of(endpoint, endpoint.ports[number]),
            }
            for endpoint in group.endpoints
        ]
    }
    if group.locality:
        names = ("region", "zone", "sub_zone")
        found["locality"] = dict(zip(names, group.locality.split("/"), strict=False))
    if group.priority:
        found["priority"] = group.priority
    if group.weight is not None:
        found["load_balancing_weight"] = group.weight
    return found


def _address(endpoint: EndpointRecord, number: str) -> Json:
    if endpoint.address.startswith(_UNIX):
        return {"pipe": {"path": endpoint.address.removeprefix(_UNIX)}}
    where = {"address": endpoint.address, "port_value": endpoint.ports[number]}
    return {"socket_address": where}
