"""Play cases by chance on both sides."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from identities import MeshAuthority

from conformance.rules import by_hand
from conformance.rules.by_chance import cases_of
from conformance.rules.cases import TRUST_DOMAINS, RuleCase
from conformance.rules.envoy_side import App, InboundEnvoy, records_of
from conformance.rules.judge import Judged, Played, judge
from conformance.rules.mesh_side import MeshSide
from meshware.policy.load import load_text

CASES = 110
COMPARISONS = 3_000  # at the least, of each seed


async def play(program: Path, directory: Path, *, seed: int) -> Judged:
    """Play the cases of a seed, and return what came of them."""
    authorities = {name: MeshAuthority(name) for name in TRUST_DOMAINS}
    found = Judged()
    played: list[tuple[MeshSide, list[Played]]] = []
    cases = [*cases_of(seed, CASES), *by_hand.CASES]
    for is_said in (True, False):  # what becomes of fragments is a matter of a whole Envoy
        chosen = [case for case in cases if ("pathNormalization" in case.policies) is is_said]
        async with App() as app:
            place = directory / f"envoy-{is_said}"
            envoy = InboundEnvoy(program, place, authorities, app.port)
            played.append((MeshSide(authorities, envoy.port), await _play(envoy, chosen)))
    for side, these in played:
        for one in these:
            await judge(found, side, one)
    return found


async def _play(envoy: InboundEnvoy, cases: Sequence[RuleCase]) -> list[Played]:
    filled = [_filled(case, envoy.port) for case in cases]
    records = {case.name: records_of(case.policies, envoy.authorities) for case in filled}
    envoy.write([(case, records[case.name]) for case in filled])
    async with envoy:
        answers = await envoy.ask_all(filled)
    return [
        Played(case, records[case.name], envoy.listeners[case.name], answers[case.name])
        for case in filled
    ]


def _filled(case: RuleCase, port: int) -> RuleCase:
    """A case with its port in its policies, which `meshware check` has nothing against."""
    policies = case.policies.replace("$port", str(port))
    load_text(policies).raise_for_errors()
    return replace(case, policies=policies)
