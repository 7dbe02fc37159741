"""Policies and calls by chance, beside the real Envoy: there is no difference at all.

Every run plays the same 2,000 calls, `make conformance` 20,000 that are new each time.
"""

from __future__ import annotations

import asyncio
import os
from dataclasses import replace
from pathlib import Path

import hypothesis
import pytest
from conformance.cases import Case, filled
from conformance.compare import Played, Seen, compare
from conformance.random_cases import CALLS, cases
from conformance.run import play
from conformance.upstreams import NAMES

from meshware.policy.load import load_text

pytestmark = pytest.mark.conformance

LOOKS_FURTHER = os.environ.get("MESHWARE_HYPOTHESIS_PROFILE") == "conformance"
BATCHES = 10 if LOOKS_FURTHER else 1
COMPARISONS = 2_000  # of each batch


def collected(number: int) -> list[Case]:
    """That many cases of what hypothesis comes upon, which `meshware check` has nothing against."""
    found: list[Case] = []
    ports = dict.fromkeys((*NAMES, "refused"), 1)

    @hypothesis.settings(
        max_examples=3 * number,
        derandomize=not LOOKS_FURTHER,
        database=None,
        phases=[hypothesis.Phase.generate],
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    @hypothesis.given(cases())
    def collect(case: Case) -> None:
        if len(found) >= number:
            return
        text = "---".join(filled(policy, "x", ports) for policy in case.policies)
        if not load_text(text).ok:
            return
        found.append(replace(case, name=f"random{len(found)}"))

    collect()
    return found


def _as_told(envoy: Played, mesh: Played) -> tuple[Played, Played]:
    """Two sides without what is meant to differ, or is chance.

    Headers of the mesh's answers for failures (`operations-on-failures` in
    `meshware.envoy.differences`), and calls of the default route, whose endpoint is anyone.
    """
    calls: list[tuple[Seen, Seen]] = []
    for theirs, ours in zip(envoy.calls, mesh.calls, strict=True):
        if theirs.route == ours.route == "default":
            continue
        if ours.flags in ("-", "URX", "DI"):
            calls.append((theirs, ours))
        else:
            calls.append((replace(theirs, headers={}), replace(ours, headers={})))
    return Played([a for a, _ in calls], 0.0), Played([b for _, b in calls], 0.0)


@pytest.mark.parametrize("batch", range(BATCHES))
def test_no_random_call_goes_another_way_than_through_envoy(engine, tmp_path, batch):
    """In no aspect: destination, path, headers, status, body, flags, attempts."""
    program = Path(engine("envoy"))
    played = collected(COMPARISONS // CALLS)
    assert len(played) * CALLS >= COMPARISONS
    outcomes = asyncio.run(play(program, tmp_path, played))
    wrong = []
    for case in played:
        outcome = outcomes[case.name]
        sides = _as_told(outcome.envoy, outcome.mesh)
        found = compare(*sides, unordered=False)
        if found.found:
            wrong.append(f"{found}\n{case.policies[-1]}\n{case.calls}\n{case.script}")
    assert not wrong, f"{len(wrong)} cases differ; one of them:\n{min(wrong, key=len)}"
