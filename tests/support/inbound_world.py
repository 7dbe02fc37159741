"""What tests of the inbound side share: policy in few words, requests as servers say them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from cryptography.hazmat.primitives.serialization import Encoding

from meshware.identity.svid import X509SVID
from meshware.inbound.head import InboundHead
from meshware.inbound.passage import Admission, Denial
from meshware.inbound.wellformed import split_target
from meshware.policy.paths import decoded
from meshware.testing import TestMesh

Pairs = Iterable[tuple[str, str]]

NOTHING = {
    "apiVersion": "networking.istio.io/v1",
    "kind": "ServiceEntry",
    "metadata": {"name": "nothing"},
    "spec": {
        "hosts": ["nothing.example.com"],
        "ports": [{"number": 80, "name": "http", "protocol": "HTTP"}],
        "resolution": "STATIC",
        "endpoints": [{"address": "10.9.9.9"}],
    },
}
"""Policy that says nothing about inbound calls."""


def policy(
    action: str,
    *rules: Mapping[str, Any],
    name: str | None = None,
    namespace: str = "default",
    labels: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """An AuthorizationPolicy."""
    spec: dict[str, Any] = {"action": action}
    if rules:
        spec["rules"] = list(rules)
    if labels is not None:
        spec["selector"] = {"matchLabels": dict(labels)}
    return {
        "apiVersion": "security.istio.io/v1",
        "kind": "AuthorizationPolicy",
        "metadata": {"name": name or action.lower(), "namespace": namespace},
        "spec": spec,
    }


def to(**operation: list[str]) -> dict[str, Any]:
    """A rule about one operation: `to(paths=["/a"], methods=["GET"])`."""
    return {"to": [{"operation": operation}]}


def from_(**source: list[str]) -> dict[str, Any]:
    """A rule about one source."""
    return {"from": [{"source": source}]}


def when(key: str, *values: str, unless: Iterable[str] = ()) -> dict[str, Any]:
    """A rule with one condition."""
    condition: dict[str, Any] = {"key": key}
    if values:
        condition["values"] = list(values)
    if unless:
        condition["notValues"] = list(unless)
    return {"when": [condition]}


def mesh_config(**spec: Any) -> dict[str, Any]:
    """A MeshConfig."""
    return {
        "apiVersion": "meshware.dev/v1alpha1",
        "kind": "MeshConfig",
        "metadata": {"name": "mesh", "namespace": "istio-system"},
        "spec": spec,
    }


def request(
    target: str | None = "/",
    *,
    method: str = "GET",
    host: str | None = "app",
    headers: Pairs = (),
    scheme: str = "http",
    version: str = "1.1",
    paths: tuple[str, ...] | None = None,
    partial_paths: tuple[str, ...] = (),
    source_ip: str | None = "192.0.2.1",
    destination_ip: str | None = "192.0.2.9",
    port: int | None = 8080,
    shows: X509SVID | None = None,
    sni: str | None = None,
) -> InboundHead:
    """A request as a driver hands it over; `paths` as an honest server makes them of the target.

    `shows` is what the caller has shown in TLS.
    """
    pairs = [*([] if host is None else [("host", host)]), *headers]
    table: dict[str, list[str]] = {}
    for name, value in pairs:
        table.setdefault(name.lower(), []).append(value)
    if paths is None:
        assert target is not None, "say what the app sees"
        paths = (decoded(split_target(target).partition("#")[0]),)
    return InboundHead(
        method=method,
        scheme=scheme,
        version=version,
        target=target,
        paths=paths,
        partial_paths=partial_paths,
        headers=lambda name: table.get(name, ()),
        names=tuple(table),
        source_ip=source_ip,
        destination_ip=destination_ip,
        port=port,
        chain=None
        if shows is None
        else tuple(one.public_bytes(Encoding.DER) for one in shows.chain),
        sni=sni,
    )


def workload(account: str | None = "app", name: str = "app", **labels: str) -> dict[str, Any]:
    """A WorkloadGroup in namespace default."""
    return {
        "apiVersion": "networking.istio.io/v1",
        "kind": "WorkloadGroup",
        "metadata": {"name": name},
        "spec": {
            "metadata": {"labels": {"app": name, **labels}},
            "template": {} if account is None else {"serviceAccount": account},
        },
    }


def peer_authentication(
    mode: str | None = None,
    *,
    name: str = "it",
    namespace: str = "default",
    labels: Mapping[str, str] | None = None,
    ports: Mapping[str, str] | None = None,
    created: str | None = None,
) -> dict[str, Any]:
    """A PeerAuthentication."""
    spec: dict[str, Any] = {}
    if mode is not None:
        spec["mtls"] = {"mode": mode}
    if labels is not None:
        spec["selector"] = {"matchLabels": dict(labels)}
    if ports is not None:
        spec["portLevelMtls"] = {port: {"mode": mode} for port, mode in ports.items()}
    metadata = {"name": name, "namespace": namespace}
    if created is not None:
        metadata["creationTimestamp"] = created
    return {
        "apiVersion": "security.istio.io/v1",
        "kind": "PeerAuthentication",
        "metadata": metadata,
        "spec": spec,
    }


def status_of(mesh: TestMesh, head: InboundHead) -> int:
    """What the caller would be answered, where the app answers 200."""
    passage = mesh.gate.admit(head)
    status = passage.status if isinstance(passage, Denial) else 200
    passage.finish(status)
    return status


def is_allowed(mesh: TestMesh, head: InboundHead) -> bool:
    """Say whether the app would be called; a refusal must be one of authorization."""
    passage = mesh.gate.admit(head)
    if isinstance(passage, Admission):
        return True
    assert passage.status == 403, (passage.status, passage.reason)
    assert passage.body == "RBAC: access denied"
    assert passage.reason.startswith("rbac_access_denied_matched_policy["), passage.reason
    return False
