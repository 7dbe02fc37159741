"""Istio's own expectations of RequestAuthentication, asked of the gate.

Keys stand in the policy where Istio's tests serve them at an address; where they cannot be had
there, the address stays, and nobody fetches anything from it.
"""

from __future__ import annotations

import json
import re
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from inbound_world import request

from meshware.inbound.passage import Admission
from meshware.testing import TestMesh

pytestmark = pytest.mark.conformance

ISTIO = Path(__file__).resolve().parents[2] / ".." / "shared/conformance/istio"
DECISIONS = ISTIO / "decisions/jwt-authn.json"
NO_KEYS = ("timeout", "invalid-jwks")  # sets whose point is that there are none


@cache
def collection() -> dict[str, Any]:
    """All sets; none where they are not beside this checkout."""
    if not DECISIONS.exists():
        return {"sets": []}
    found: dict[str, Any] = json.loads(DECISIONS.read_text(encoding="utf-8"))
    return found


@cache
def tokens() -> dict[str, str]:
    """Istio's tokens by name."""
    made = json.loads((ISTIO / collection()["tokens"]).read_text(encoding="utf-8"))["tokens"]
    return {name: one["token"] for name, one in made.items()}


def policies(one_set: dict[str, Any]) -> list[str]:
    """The policies of a set, rendered."""
    if one_set["policy"] is None:
        return []
    text = (ISTIO / one_set["policy"]).read_text(encoding="utf-8")
    text = text.replace("{{ .To.ServiceName }}", "b")
    if one_set["name"] in NO_KEYS:
        return [text.replace("{{ .JWTServer.JwksURI }}", "https://jwt-server/keys")]
    keys = json.dumps((ISTIO / collection()["jwks"]).read_text(encoding="utf-8"))
    return [re.sub(r'jwksUri: "\{\{.*?\}\}"', lambda _: f"jwks: {keys}", text)]


def rows() -> list[Any]:
    """The rows of all sets, with an id each."""
    found = [
        pytest.param(one_set, row, id=f"{one_set['name']}-{row['name']}")
        for one_set in collection()["sets"]
        for row in one_set["cases"]
    ]
    missing = pytest.mark.skip(reason="Istio's expectations are not beside this checkout")
    return found or [pytest.param({}, {}, marks=missing, id="absent")]


def test_all_of_them_are_asked():
    """27, as the collection says."""
    if not DECISIONS.exists():
        pytest.skip("Istio's expectations are not beside this checkout")
    assert len(rows()) == 27


@pytest.mark.parametrize(("one_set", "row"), rows())
def test_istio_decides_so(one_set, row):
    """The status, and the headers that the app sees."""
    written = policies(one_set)
    mesh = TestMesh(written or [NOTHING], "default/b")
    headers = {
        name: re.sub(r"<(\w+)>", lambda found: tokens()[found[1]], value)
        for name, value in row.get("headers", {}).items()
    }
    if "token" in row:
        headers["Authorization"] = f"Bearer {tokens()[row['token']]}"
    query = "&".join(f"{name}={tokens()[value]}" for name, value in row.get("query", {}).items())
    passage = mesh.gate.admit(
        request(
            f"/?{query}" if query else "/",
            method=row.get("method", one_set.get("method", "GET")),
            headers=headers.items(),
        )
    )
    status = 200 if isinstance(passage, Admission) else passage.status
    assert status == row["status"]
    if not isinstance(passage, Admission):
        return
    seen = {name.lower(): value for name, value in headers.items()}
    seen = {name: value for name, value in seen.items() if name not in passage.remove}
    seen |= dict(passage.add)
    made = tokens().get(row.get("token", ""), "..")
    stands_for = {
        "<payload segment of token>": made.split(".")[1],
        "Bearer <token>": f"Bearer {made}",
    }
    for name, value in row.get("backend_headers", {}).items():
        assert seen.get(name) == stands_for.get(value, value)


NOTHING = """
apiVersion: networking.istio.io/v1
kind: WorkloadGroup
metadata: {name: b}
spec: {template: {}}
"""
