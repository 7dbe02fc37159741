"""Istio's own expectations of AuthorizationPolicy, asked of the gate.

The templates are rendered here by the substitutions that their collection describes. Sets and rows
that need an identity, a token or an SNI join when those are built.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from inbound_world import is_allowed, mesh_config, request

from meshware.policy.load import load_text
from meshware.testing import TestMesh

pytestmark = pytest.mark.conformance

ISTIO = Path(__file__).resolve().parents[2] / ".." / "shared/conformance/istio"
DECISIONS = ISTIO / "decisions/authz.json"

TARGET, TARGET_IP, ALLOWED_IP, DENIED_IP = "b", "192.0.2.9", "192.0.2.1", "198.51.100.1"
PORTS = {"http": 18080, "http2": 18085}
IDENTITY = ("principal", "namespace", "trust-domain", "sni")  # in the paths of `conditions`
SETS = (
    "path-precedence", "path-templating", "path-normalization",
    "not-method", "not-port", "not-host", "conditions",
)  # fmt: skip

# Their rows tell `//` from `/`, which ours takes for the same unless MeshConfig says otherwise.
AS_ISTIO_NORMALISES = ("path-normalization", "path-templating")


def values(namespace: str) -> dict[str, str]:
    """What stands in the braces of a template."""
    return {
        ".To.ServiceName": TARGET,
        ".To.NamespaceName": namespace,
        ".Namespace.Name": namespace,
        ".Namespace.Prefix": namespace,
        ".To.Config.Namespace.Prefix": namespace,
        ".To.ClusterLocalFQDN": f"{TARGET}.{namespace}.svc.cluster.local",
        ".To.MustWorkloads.Addresses | toJson": json.dumps([TARGET_IP]),
        ".Allowed.MustWorkloads.Addresses | toJson": json.dumps([ALLOWED_IP]),
        ".Denied.MustWorkloads.Addresses | toJson": json.dumps([DENIED_IP]),
        "(.To.PortForName `http`).WorkloadPort": str(PORTS["http"]),
        "(.To.PortForName `http2`).WorkloadPort": str(PORTS["http2"]),
    }


def documents(template: str, namespace: str) -> Iterator[str]:
    """Render the AuthorizationPolicies of a template that rest on nothing still to be built."""
    table = {re.sub(r"\s", "", key): text for key, text in values(namespace).items()}
    for document in re.split(r"(?m)^---$", (ISTIO / template).read_text(encoding="utf-8")):
        if "kind: AuthorizationPolicy" not in document:
            continue
        if re.search(r"key: (source\.(principal|namespace|trustDomain)|connection)", document):
            continue
        text = re.sub(r"\{\{(.*?)\}\}", lambda found: table[re.sub(r"\s", "", found[1])], document)
        yield text.replace("metadata:\n", f"metadata:\n  namespace: {namespace}\n", 1)


def workload(namespace: str, labels: dict[str, str]) -> dict[str, Any]:
    """The target."""
    return {
        "apiVersion": "networking.istio.io/v1",
        "kind": "WorkloadGroup",
        "metadata": {"name": TARGET, "namespace": namespace},
        "spec": {"metadata": {"labels": labels}, "template": {}},
    }


@cache
def decisions() -> dict[str, Any]:
    """All sets; none where they are not beside this checkout."""
    if not DECISIONS.exists():
        return {}
    sets: dict[str, Any] = json.loads(DECISIONS.read_text(encoding="utf-8"))["sets"]
    return sets


def rows(names: tuple[str, ...]) -> list[Any]:
    """The rows of some sets, with an id each."""
    found: list[Any] = []
    for name in names if decisions() else ():
        for number, row in enumerate(decisions()[name]["cases"]):
            if name == "conditions" and any(word in row["path"] for word in IDENTITY):
                continue
            what = row.get("path") or row.get("method") or row.get("port") or row.get("host")
            found.append(pytest.param(name, row, id=f"{name}-{number}-{what}"))
    missing = pytest.mark.skip(reason="Istio's expectations are not beside this checkout")
    return found or [pytest.param("", {}, marks=missing, id="absent")]


@pytest.mark.parametrize(("name", "row"), rows(SETS))
def test_istio_decides_so(name, row):
    """As Istio's integration tests do; a row by source is asked from both sources."""
    one_set = decisions()[name]
    policies: list[Any] = [
        text for template in one_set["policies"] for text in documents(template, "ns1")
    ]
    if name in AS_ISTIO_NORMALISES:
        policies.append(mesh_config(pathNormalization={"normalization": "BASE"}))
    mesh = TestMesh([workload("ns1", {"app": TARGET}), *policies], f"ns1/{TARGET}")
    for source in (ALLOWED_IP, DENIED_IP):
        expected = row["allow"]
        if expected == "iff source is Allowed":
            expected = source == ALLOWED_IP
        assert isinstance(expected, bool)
        head = request(
            row.get("path", "/"),
            method=row.get("method", one_set.get("method", "GET")),
            host=row.get("host", f"{TARGET}.ns1").replace("<svc>", TARGET),
            headers=row.get("headers", {}).items(),
            source_ip=source,
            destination_ip=TARGET_IP,
            port=PORTS[row.get("port", "http")],
        )
        assert is_allowed(mesh, head) is expected


@pytest.mark.parametrize(("name", "row"), rows(("workload-selector",)))
def test_istio_selects_workloads_so(name, row):
    """By namespace, root namespace and labels."""
    bad, of_namespace, of_root, plain = (
        "workload-bad", "workload-ns", "workload-system-ns", "workload",
    )  # fmt: skip
    placed = {bad: ["ns1"], of_namespace: ["ns1", "ns2"], of_root: ["istio-system"], plain: ["ns1"]}
    policies = [
        text
        for template in decisions()[name]["policies"]
        for namespace in placed[Path(template).name.removesuffix(".yaml.tmpl")]
        for text in documents(template, namespace)
    ]
    labels = {"app": TARGET, **row.get("extra_workload_label", {})}
    mesh = TestMesh([workload("ns1", labels), *policies], f"ns1/{TARGET}")
    path = row["path"].replace("<ns1>", "ns1").replace("<ns2>", "ns2")
    path = path.replace("<svc>", TARGET).replace("<other svc>", "c")
    assert is_allowed(mesh, request(path)) is row["allow"]


def test_istios_policies_load_without_an_error():
    """They are what users bring."""
    if not decisions():
        pytest.skip("Istio's expectations are not beside this checkout")
    for name in SETS:
        for template in decisions()[name]["policies"]:
            for text in documents(template, "ns1"):
                loaded = load_text(text)
                assert loaded.ok, loaded.problems


def test_the_mesh_wide_deny_of_istio_holds_on_its_ports():
    """Root namespace, ports, paths and notPaths in one rule."""
    template = "integration/security/testdata/authz/deny-global.yaml.tmpl"
    if not (ISTIO / template).exists():
        pytest.skip("Istio's expectations are not beside this checkout")
    mesh = TestMesh([*documents(template, "istio-system")], f"ns1/{TARGET}")
    for path, port, expected in [
        ("/global-deny", 18080, False),
        ("/global-deny?param=value", 18085, False),
        ("/global-deny/allow", 18080, True),
        ("/global-deny/allow?param=value", 18080, True),
        ("/global-deny", 80, True),
        ("/other", 18080, True),
    ]:
        assert is_allowed(mesh, request(path, port=port)) is expected
