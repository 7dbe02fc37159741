"""Istio's own expectations of AuthorizationPolicy, asked of the gate.

The templates are rendered here by the substitutions that their collection describes: two callers,
one allowed and one denied, each with an address and an identity, by mutual TLS. The keys of tokens
stand in the policy instead of being fetched.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from inbound_world import is_allowed, mesh_config, request

from meshware.policy.load import load_text
from meshware.testing import TestMesh

pytestmark = pytest.mark.conformance

ISTIO = Path(__file__).resolve().parents[2] / ".." / "shared/conformance/istio"
DECISIONS = ISTIO / "decisions/authz.json"
MISSING = "Istio's expectations are not beside this checkout"

TARGET, TARGET_IP, ROOT = "b", "192.0.2.9", "istio-system"
PORTS = {"http": 18080, "http2": 18085, "grpc": 17070, "tcp": 19090}
FQDN = f"{TARGET}.ns1.svc.cluster.local"
SNI = f"outbound_.80_._.{FQDN}"


class Source(NamedTuple):
    """A caller of the mesh."""

    namespace: str
    account: str
    ip: str

    @property
    def principal(self) -> str:
        """Its identity, as policies name it."""
        return f"cluster.local/ns/{self.namespace}/sa/{self.account}"


ALLOWED = Source("ns2", "a", "192.0.2.1")
DENIED = Source("ns3", "d", "198.51.100.1")
EXPECTED = {
    "iff source is Allowed": lambda source: source is ALLOWED,
    "iff source is not Denied": lambda source: source is not DENIED,
}

# Their rows tell `//` from `/`, which ours takes for the same unless MeshConfig says otherwise.
AS_ISTIO_NORMALISES = ("path-normalization", "path-templating")

PLACED = {
    "deny-global": (ROOT,),
    "workload-ns": ("ns1", "ns2"),
    "workload-system-ns": (ROOT,),
}
"""The namespaces of templates that do not stand in the target's alone."""


def values(namespace: str) -> dict[str, str]:
    """What stands in the braces of a template."""
    table = {
        ".To.ServiceName": TARGET,
        ".To.NamespaceName": namespace,
        ".Namespace.Name": namespace,
        ".Namespace.Prefix": namespace,
        ".To.Config.Namespace.Prefix": namespace,
        ".To.ClusterLocalFQDN": FQDN,
        ".To.MustWorkloads.Addresses | toJson": json.dumps([TARGET_IP]),
    }
    for name, port in PORTS.items():
        table[f"(.To.PortForName `{name}`).WorkloadPort"] = str(port)
    for name, source in (("Allowed", ALLOWED), ("Denied", DENIED)):
        table[f".{name}.SpiffeIdentity"] = source.principal
        table[f".{name}.NamespaceName"] = source.namespace
        table[f".{name}.NamespacedName"] = f"{source.namespace}/{source.account}"
        table[f".{name}.MustWorkloads.Addresses | toJson"] = json.dumps([source.ip])
    return table


def documents(template: str, namespace: str) -> Iterator[str]:
    """Render what a template says of the target's side."""
    table = {re.sub(r"\s", "", key): text for key, text in values(namespace).items()}
    keys = json.dumps(json.loads((ISTIO / "jwt/jwks.json").read_text(encoding="utf-8")))
    for document in re.split(r"(?m)^---$", (ISTIO / template).read_text(encoding="utf-8")):
        kinds = ("AuthorizationPolicy", "PeerAuthentication", "RequestAuthentication")
        if not any(f"kind: {kind}\n" in document for kind in kinds):
            continue
        text = re.sub(r'jwksUri: "\{\{.*?\}\}"', f"jwks: '{keys}'", document)
        text = re.sub(r"\{\{(.*?)\}\}", lambda found: table[re.sub(r"\s", "", found[1])], text)
        if "  namespace:" not in text:
            text = text.replace("metadata:\n", f"metadata:\n  namespace: {namespace}\n", 1)
        yield text


def policies_of(one_set: dict[str, Any]) -> list[Any]:
    """The policies of a set, each where it belongs."""
    return [
        text
        for template in one_set["policies"]
        for namespace in PLACED.get(Path(template).name.removesuffix(".yaml.tmpl"), ("ns1",))
        for text in documents(template, namespace)
    ]


def workload(labels: dict[str, str]) -> dict[str, Any]:
    """The target."""
    return {
        "apiVersion": "networking.istio.io/v1",
        "kind": "WorkloadGroup",
        "metadata": {"name": TARGET, "namespace": "ns1"},
        "spec": {
            "metadata": {"labels": {"app": TARGET, **labels}},
            "template": {"serviceAccount": TARGET},
        },
    }


@cache
def decisions() -> dict[str, Any]:
    """All sets; none where they are not beside this checkout."""
    if not DECISIONS.exists():
        return {}
    sets: dict[str, Any] = json.loads(DECISIONS.read_text(encoding="utf-8"))["sets"]
    return sets


@cache
def tokens() -> dict[str, Any]:
    """Istio's tokens, by name."""
    found: dict[str, Any] = json.loads((ISTIO / "jwt/tokens.json").read_text(encoding="utf-8"))
    return found["tokens"]


def rows() -> list[Any]:
    """The rows of all sets, with an id each."""
    found: list[Any] = []
    for name, one_set in decisions().items():
        for number, row in enumerate(one_set["cases"]):
            what = row.get("path") or row.get("method") or row.get("port") or row.get("host")
            found.append(pytest.param(name, row, id=f"{name}-{number}-{what}"))
    missing = pytest.mark.skip(reason=MISSING)
    return found or [pytest.param("", {}, marks=missing, id="absent")]


def path_of(row: dict[str, Any]) -> str:
    """The path of a row, with the names of the target in it."""
    path: str = row.get("path", "/")
    for word, text in (("<ns1>", "ns1"), ("<ns2>", "ns2"), ("<svc>", TARGET), ("<other svc>", "c")):
        path = path.replace(word, text)
    return path


@pytest.mark.parametrize(("name", "row"), rows())
def test_istio_decides_so(name, row):
    """As Istio's integration tests do; every row is asked from both callers."""
    one_set = decisions()[name]
    policies = policies_of(one_set)
    if name in AS_ISTIO_NORMALISES:
        policies.append(mesh_config(pathNormalization={"normalization": "BASE"}))
    labels = row.get("extra_workload_label", {})
    mesh = TestMesh([workload(labels), *policies], f"ns1/{TARGET}")
    headers = list(row.get("headers", {}).items())
    if row.get("jwt"):
        headers.append(("authorization", f"Bearer {tokens()[row['jwt']]['token']}"))
    is_plain = row.get("source") == "plaintext"
    for source in (ALLOWED, DENIED):
        expected = row["allow"]
        if isinstance(expected, str):
            expected = EXPECTED[expected](source)
        head = request(
            path_of(row),
            method=row.get("method", one_set.get("method", "GET")),
            host=row.get("host", f"{TARGET}.ns1").replace("<svc>", TARGET),
            headers=headers,
            scheme="http" if is_plain else "https",
            source_ip=source.ip,
            destination_ip=TARGET_IP,
            port=PORTS[row.get("port", "http")],
            shows=None if is_plain else mesh.issue(f"spiffe://{source.principal}"),
            sni=None if is_plain else SNI,
        )
        assert is_allowed(mesh, head) is expected, source


def test_every_row_of_istio_is_asked():
    """None is left out."""
    if not decisions():
        pytest.skip(MISSING)
    assert len(rows()) == 142


def test_istios_policies_load_without_an_error():
    """They are what users bring."""
    if not decisions():
        pytest.skip(MISSING)
    for name, one_set in decisions().items():
        for text in policies_of(one_set):
            loaded = load_text(text)
            assert loaded.ok, (name, loaded.problems)
