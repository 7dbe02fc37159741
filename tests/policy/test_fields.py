"""The table of fields: what it names exists, and it names what Istio has."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from meshware.policy.fields import fields_of, kinds
from meshware.policy.kinds import OURS, Kind
from meshware.policy.support import SUPPORT, Status

ROOT = Path(__file__).resolve().parents[2]
CRDS = ROOT / ".." / "shared/reference/istio-crds.yaml"

EVERY = {f"{kind.label}.{field.path}" for kind in kinds() for field in fields_of(kind)}


def test_every_entry_of_the_table_is_a_field():
    """A slip in a path would leave its field with the status of the one above it."""
    roots = {f"{kind.label}.spec" for kind in kinds()}
    assert [path for path in SUPPORT if path.removesuffix("[]") not in EVERY | roots] == []


def test_the_page_is_what_the_code_has():
    """`make docs` writes it anew."""
    done = subprocess.run(
        [sys.executable, ROOT / "scripts/make_docs.py", "--check"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_what_is_said_of_a_field_is_said_with_a_reason():
    """Only "done" and "not supported yet" speak for themselves."""
    silent = [
        path
        for path, support in SUPPORT.items()
        if support.status in (Status.DIFFERS, Status.NOT_APPLICABLE) and not support.note
    ]
    assert silent == []


def schema_paths(schema: dict, path: str) -> set[str]:
    """Every field below a schema, in the words of the table."""
    found: set[str] = set()
    for name, child in (schema.get("properties") or {}).items():
        found.add(f"{path}.{name}")
        found |= schema_paths(child, f"{path}.{name}")
    if "items" in schema:
        found |= schema_paths(schema["items"], f"{path}[]")
    values = schema.get("additionalProperties")
    if isinstance(values, dict):
        found |= schema_paths(values, f"{path}{{}}")
    return found


def written(kind: Kind) -> dict[str, dict]:
    """The schema of a kind's spec in each version, from Istio's own definitions."""
    if not CRDS.exists():
        pytest.skip("Istio's definitions are not here")
    for definition in yaml.load_all(CRDS.read_text(), yaml.CSafeLoader):
        if definition and definition["spec"]["names"]["kind"] == kind.name:
            return {
                version["name"]: version["schema"]["openAPIV3Schema"]["properties"]["spec"]
                for version in definition["spec"]["versions"]
            }
    raise AssertionError(f"Istio has no kind {kind.name}")


@pytest.mark.conformance
@pytest.mark.parametrize(
    "kind", [kind for kind in kinds() if kind.group != OURS], ids=lambda kind: kind.name
)
def test_every_field_of_istio_is_known(kind):
    """Known is not done: what is not carried out is refused by name, not as unknown."""
    versions = written(kind)
    assert set(versions) == set(kind.versions)
    mine = {field.path for field in fields_of(kind)}
    closed = {f.path for f in fields_of(kind) if f.support.status is Status.NOT_APPLICABLE}
    for schema in versions.values():
        theirs = {
            path
            for path in schema_paths(schema, "spec")
            if not any(path.startswith((f"{one}.", f"{one}[", f"{one}{{")) for one in closed)
        }
        assert theirs - mine == set()
        assert mine - theirs == set()
