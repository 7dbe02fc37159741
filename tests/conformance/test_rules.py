"""Who may do what, beside the real Envoy: one policy, the same requests, the same decision.

Policies and requests are by chance; whatever is decided otherwise must be one of the differences
that `meshware.envoy.differences` lists, and must be gone as soon as that difference is taken out of
the gate. Every run makes the same comparisons, `make conformance` more that are new each time.
"""

from __future__ import annotations

import asyncio
import os
import secrets
from pathlib import Path

import pytest
from conformance.rules.judge import Judged
from conformance.rules.play import COMPARISONS, play
from conformance.rules.tokens import make_anew

from meshware.envoy.differences import RULE_DIFFERENCES

pytestmark = pytest.mark.conformance

LOOKS_FURTHER = os.environ.get("MESHWARE_HYPOTHESIS_PROFILE") == "conformance"
SEEDS = [secrets.randbits(32) for _ in range(6)] if LOOKS_FURTHER else [1]


@pytest.fixture(scope="module", params=SEEDS, ids=lambda seed: f"seed {seed}")
def judged(request, engine, tmp_path_factory) -> Judged:
    """What came of all comparisons of a seed."""
    directory = tmp_path_factory.mktemp("rules")
    make_anew()
    return asyncio.run(play(Path(engine("envoy")), directory, seed=request.param))


def test_no_request_is_decided_otherwise_than_by_envoy(judged):
    """But for what is listed; statuses, bodies of refusals and what the app sees are compared."""
    assert judged.count >= COMPARISONS
    assert not judged.wrong, (
        f"{len(judged.wrong)} requests differ; one of them, Envoy's answer first:\n"
        f"{min(judged.wrong, key=len)}"
    )


def test_the_comparisons_are_of_every_kind(judged):
    """Requests are let in and refused, for each reason, and neither side is ever at a loss."""
    agreed = {envoy for envoy, own in judged.statuses if envoy == own}
    assert agreed >= {200, 400, 403}
    assert min(judged.statuses[200, 200], judged.statuses[403, 403]) >= COMPARISONS // 10
    assert not {status for pair in judged.statuses for status in pair} - {0, 200, 400, 401, 403}


def test_every_listed_difference_is_seen(judged):
    """What nothing shows may have gone long ago; what is not listed has no name."""
    assert set(judged.differences) == set(RULE_DIFFERENCES)
