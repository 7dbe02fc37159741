"""The mesh beside the real Envoy: one policy, the same calls and upstreams, the same outcome.

Every case is played on both sides; what differs in any aspect must be one of the differences that
`meshware.envoy.differences` lists with its reason, and must really differ.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from conformance.compare import compare
from conformance.run import Outcome, play
from conformance.tables import CASES, WORLDS

from meshware.envoy.differences import DIFFERENCES

pytestmark = [pytest.mark.conformance, pytest.mark.alone]


@pytest.fixture(scope="module")
def outcomes(engine, tmp_path_factory) -> dict[str, Outcome]:
    """What came of all cases; they are played at the same time, since many wait."""
    program = Path(engine("envoy"))
    return asyncio.run(play(program, tmp_path_factory.mktemp("conformance"), CASES, WORLDS))


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_the_mesh_does_what_envoy_does(outcomes, case):
    """But for what is listed with its reason."""
    outcome = outcomes[case.name]
    found = compare(outcome.envoy, outcome.mesh, unordered=case.unordered)
    for side in (outcome.envoy, outcome.mesh):
        assert side.took_s >= case.at_least_s
    meant = {aspect for name in case.differs for aspect in DIFFERENCES[name].aspects}
    unmeant = {aspect: lines for aspect, lines in found.found.items() if aspect not in meant}
    assert not unmeant, f"{found}\nEnvoy says {[call.details for call in outcome.envoy.calls]}"
    stale = [n for n in case.differs if not set(DIFFERENCES[n].aspects) & set(found.found)]
    assert not stale, "these differences are listed for the case and do not show"


# What an access log says of a call alone, beside what is compared above.
LOGGED_OTHERWISE = {
    "outside-wildcard": "a cluster of the host itself, where Envoy has one of the pattern",
    "fault-abort": "whom a call would have gone to is not drawn for one that is aborted",
}


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_the_access_log_says_what_envoys_does(outcomes, case):
    """Method, paths, codes, details, flags, bytes, attempts, cluster, and JSON's types."""
    if case.differs:
        return  # compared above, and told of in differences
    outcome = outcomes[case.name]
    for envoy, mesh in zip(outcome.envoy.calls, outcome.mesh.calls, strict=True):
        theirs, ours = dict(envoy.logged), dict(mesh.logged)
        for entry in (theirs, ours):
            for field in ("flags", "long_flags"):  # a fixed order, where Envoy's changes
                entry[field] = sorted(entry[field].split(","))
            del entry["call"]
        if theirs["details"] != "via_upstream":
            # Envoy may answer before it has received what it will not send on.
            theirs["bytes_received"] = ours["bytes_received"]
        if case.name.startswith(tuple(LOGGED_OTHERWISE)) or case.name == "fault-delay-abort":
            theirs["cluster"] = ours["cluster"]
        if case.unordered:
            theirs, ours = (
                {key: entry[key] for key in ("text", "nested")} for entry in (theirs, ours)
            )
        assert ours == theirs


def test_every_listed_difference_is_seen_in_a_case():
    """A difference that nothing shows may have gone long ago."""
    shown = {name for case in CASES for name in case.differs}
    assert set(DIFFERENCES) - shown == set()


def test_the_cases_have_names_of_their_own():
    """They are told apart by them, on the wire too."""
    names = [case.name for case in CASES]
    assert len(names) == len(set(names))
    assert len(names) >= 150
