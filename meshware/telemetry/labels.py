"""Istio's standard labels of one kind of call, worked out once for all calls of that kind.

All of them are always there; what is not known is `unknown`. Differs from Istio, which takes the
word of each side about itself from headers: here a peer is who it has proved to be, and its
workload is known where policy gives that account to one workload alone. A host that a caller made
up is `unknown`, since anyone can make up any number of them.

Source: Istio, "Istio Standard Metrics"; its stats filter.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import msgspec

from meshware.errors import IdentityError
from meshware.identity.spiffe import SpiffeID
from meshware.policy.inbound_facts import host_forms
from meshware.policy.labels import canonical_revision, canonical_service
from meshware.policy.snapshot import Snapshot

__all__ = ["InboundKey", "OutboundKey", "Workload", "inbound_labels", "outbound_labels"]

UNKNOWN = "unknown"


class InboundKey(msgspec.Struct, frozen=True, gc=False):  # made for each call, as the next
    """What tells calls that come in apart."""

    peer_id: str | None  # None: nobody has proved who calls
    is_mutual: bool  # proved by TLS
    host: str  # as received
    is_grpc: bool
    status: int
    grpc_status: str
    flags: str


class OutboundKey(msgspec.Struct, frozen=True, gc=False):
    """What tells calls that go out apart."""

    cluster: str
    host: str  # of the URL
    endpoint: str | None
    is_grpc: bool
    status: int
    grpc_status: str
    flags: str


class Workload(NamedTuple):
    """One end of a call, as labels have it."""

    name: str = UNKNOWN
    namespace: str = UNKNOWN
    principal: str = UNKNOWN  # with its scheme
    app: str = UNKNOWN
    version: str = UNKNOWN
    service: str = UNKNOWN  # Istio's canonical service
    revision: str = canonical_revision({})

    @classmethod
    def of(
        cls, namespace: str, name: str | None, labels: Mapping[str, str], principal: str | None
    ) -> Workload:
        """Return a workload by its labels."""
        return cls(
            name=name or UNKNOWN,
            namespace=namespace,
            principal=principal or UNKNOWN,
            app=labels.get("app", UNKNOWN),
            version=labels.get("version", UNKNOWN),
            service=canonical_service(labels, name or UNKNOWN),
            revision=canonical_revision(labels),
        )


def inbound_labels(key: InboundKey, snapshot: Snapshot) -> dict[str, str]:
    """Return the labels of calls that came in."""
    source = Workload() if key.peer_id is None else _of_peer(key.peer_id, snapshot)
    service = snapshot.look_ups.service_named(host_forms(key.host)[-1])
    return {
        "reporter": "destination",
        **_ends(source, _own(snapshot)),
        **_service(service, None),
        **_answer(key.is_grpc, key.status, key.grpc_status, key.flags),
        "connection_security_policy": "mutual_tls" if key.is_mutual else "none",
    }


def outbound_labels(key: OutboundKey, snapshot: Snapshot) -> dict[str, str]:
    """Return the labels of calls that went out."""
    destination, service = Workload(), None
    parts = key.cluster.split("|")
    if len(parts) == 4:
        host = parts[3]
        service = snapshot.look_ups.service_named(host)
        found = (
            None if key.endpoint is None else snapshot.look_ups.endpoint_record(host, key.endpoint)
        )
        if found is not None and service is not None:
            labels = found.labels or {}
            known = snapshot.workloads.of_labels(service[1], labels, found.service_account)
            name = None if known is None else known.name
            destination = Workload.of(service[1], name, labels, found.tls_id)
    return {
        "reporter": "source",
        **_ends(_own(snapshot), destination),
        **_service(service, key),
        **_answer(key.is_grpc, key.status, key.grpc_status, key.flags),
        "connection_security_policy": UNKNOWN,  # Istio: a client does not say
    }


def _own(snapshot: Snapshot) -> Workload:
    client = snapshot.client
    principal = None if snapshot.id is None else str(snapshot.id)
    return Workload.of(client.namespace, client.name, client.labels or {}, principal)


def _of_peer(written: str, snapshot: Snapshot) -> Workload:
    try:
        peer = SpiffeID.parse(written)
    except IdentityError:
        return Workload(principal=written)
    if peer.namespace is None or peer.service_account is None:
        return Workload(principal=written)
    found = snapshot.workloads.of_account(peer.namespace, peer.service_account)
    if found is None:
        return Workload(namespace=peer.namespace, principal=written)
    return Workload.of(peer.namespace, found.name, found.labels, written)


def _ends(source: Workload, destination: Workload) -> dict[str, str]:
    labels: dict[str, str] = {}
    for side, end in (("source", source), ("destination", destination)):
        labels[f"{side}_workload"] = end.name
        labels[f"{side}_canonical_service"] = end.service
        labels[f"{side}_canonical_revision"] = end.revision
        labels[f"{side}_workload_namespace"] = end.namespace
        labels[f"{side}_principal"] = end.principal
        labels[f"{side}_app"] = end.app
        labels[f"{side}_version"] = end.version
        labels[f"{side}_cluster"] = UNKNOWN
    return labels


def _service(service: tuple[str, str] | None, key: OutboundKey | None) -> dict[str, str]:
    """Return the labels of a service, by its host and namespace."""
    if service is not None:
        host, namespace = service
        name = host.partition(".")[0]
    elif key is not None and key.cluster:  # Istio's names for what the mesh does not know
        host, namespace, name = key.host, UNKNOWN, key.cluster
    else:
        host = namespace = name = UNKNOWN
    return {
        "destination_service": host,
        "destination_service_name": name,
        "destination_service_namespace": namespace,
    }


def _answer(is_grpc: bool, status: int, grpc_status: str, flags: str) -> dict[str, str]:
    return {
        "request_protocol": "grpc" if is_grpc else "http",
        "response_code": str(status),
        "grpc_response_status": grpc_status,
        "response_flags": flags,
    }
