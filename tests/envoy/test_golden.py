"""What rules come to in Envoy's words, by golden pairs.

`MESHWARE_GOLDEN=write` writes the second of each pair anew; a person reads the difference.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from meshware.envoy import Settings, export_files
from meshware.policy.file import MemoryRecords
from meshware.policy.load import load_text
from meshware.policy.records import build_records
from meshware.policy.view import Client

GOLDEN = Path(__file__).resolve().parents[1] / "golden" / "envoy"
NAMES = sorted(path.name.removesuffix(".in.yaml") for path in GOLDEN.glob("*.in.yaml"))

WORKLOAD = """
apiVersion: networking.istio.io/v1
kind: WorkloadEntry
metadata: {name: app, namespace: shop}
spec: {address: 127.0.0.1, labels: {app: app}}
---
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: default, namespace: istio-system}
spec: {mtls: {mode: DISABLE}}
---
"""


def exported(policies: str) -> dict[str, object]:
    """The inbound connection manager that policies come to, the warnings, and what keys take."""
    loaded = load_text(WORKLOAD + policies)
    loaded.raise_for_errors()
    records = MemoryRecords(build_records(loaded.resources))
    settings = Settings(directory="/envoy", inbound=("127.0.0.1", 8443))
    export = export_files(records, Client(namespace="shop", name="app"), settings)
    found: dict[str, object] = {}
    for listener in json.loads(export.files["lds.json"])["resources"]:
        if listener["name"] == "inbound":
            [chain] = listener["filter_chains"]
            manager = chain["filters"][0]["typed_config"]
            words = ("path", "slashes", "hops", "remote")
            found["manager"] = {
                name: value for name, value in manager.items() if any(w in name for w in words)
            }
            found["http_filters"] = manager["http_filters"][:-1]
    clusters = json.loads(export.files["cds.json"])["resources"]
    if of_keys := [each for each in clusters if each["name"].startswith("jwks")]:
        found["clusters"] = of_keys
    if export.warnings:
        found["warnings"] = list(export.warnings)
    return found


def pretty(value: object, indent: int = 0, room: int = 96) -> str:
    """JSON in which whatever fits stands in one line."""
    flat = json.dumps(value)
    if len(flat) + indent <= room or not isinstance(value, dict | list) or not value:
        return flat
    pad = " " * (indent + 1)
    if isinstance(value, list):
        inner = [pretty(each, indent + 1) for each in value]
        return "[\n" + ",\n".join(pad + each for each in inner) + "\n" + " " * indent + "]"
    inner = [f"{json.dumps(name)}: {pretty(each, indent + 1)}" for name, each in value.items()]
    return "{\n" + ",\n".join(pad + each for each in inner) + "\n" + " " * indent + "}"


@pytest.mark.parametrize("name", NAMES)
def test_rules_are_written_as_the_golden_pair_has_them(name):
    """The policies of `NAME.in.yaml` come to `NAME.out.json`."""
    text = pretty(exported((GOLDEN / f"{name}.in.yaml").read_text())) + "\n"
    golden = GOLDEN / f"{name}.out.json"
    if os.environ.get("MESHWARE_GOLDEN") == "write":
        golden.write_text(text)
    assert text == golden.read_text()


def test_there_are_pairs():
    """An empty directory would test nothing."""
    assert len(NAMES) >= 8
