"""Telemetry as policy has it, merged to the plan of one workload."""

from __future__ import annotations

from policy_check import resource

from meshware.policy.telemetry_plan import METRICS
from meshware.testing import TestMesh

TELEMETRY = "telemetry.istio.io/v1"
COUNT, DURATION = METRICS["REQUEST_COUNT"], METRICS["REQUEST_DURATION"]
SIZE, RESPONSE = METRICS["REQUEST_SIZE"], METRICS["RESPONSE_SIZE"]
ROOT, OWN = "istio-system", "shop"
WEB, FRONT = {"matchLabels": {"app": "web"}}, {"matchLabels": {"tier": "front"}}
DB = {"matchLabels": {"app": "db"}}
OLD, OLDER = "2026-01-02T00:00:00Z", "2026-01-01T00:00:00Z"
APP = resource(
    "WorkloadEntry",
    {"address": "10.0.0.1", "serviceAccount": "app", "labels": {"app": "web", "tier": "front"}},
    "app",
    OWN,
)


def telemetry(spec, name="it", namespace=OWN, **metadata):
    """One Telemetry."""
    return resource("Telemetry", spec, name, namespace, TELEMETRY, **metadata)


def mesh_config(**spec):
    """The MeshConfig."""
    return resource("MeshConfig", spec, "mesh", ROOT, "meshware.dev/v1alpha1")


def plan_of(*documents):
    """What holds for the workload shop/app."""
    mesh = TestMesh("".join((APP, *documents)), f"{OWN}/app")
    return mesh.cell.current.telemetry


def metrics(*overrides, providers=None, **more):
    """A spec with one entry of metrics."""
    entry = {"overrides": list(overrides), **more}
    if providers is not None:
        entry["providers"] = [{"name": name} for name in providers]
    return {"metrics": [entry]}


def override(metric=None, mode=None, disabled=None, **tags):
    """One override; of tags a value, or None for removal."""
    found = {}
    match = {"metric": metric, "mode": mode}
    match = {name: value for name, value in match.items() if value is not None}
    if match:
        found["match"] = match
    if disabled is not None:
        found["disabled"] = disabled
    if tags:
        found["tagOverrides"] = {
            name: {"operation": "REMOVE"} if value is None else {"value": value}
            for name, value in tags.items()
        }
    return found


def shown(plan):
    """What is changed, in a form that can be compared."""
    if not plan.is_on:
        return "off"
    return {
        metric: {
            **({} if one.is_on else {"off": True}),
            **{name: expression(None) for name, expression in one.tags.items()},
            **dict.fromkeys(one.removed),
        }
        for metric, one in plan.changed.items()
    }


ALL = dict.fromkeys(METRICS.values())


def all_with(**said):
    """All metrics with the same."""
    return dict.fromkeys(METRICS.values(), said)
