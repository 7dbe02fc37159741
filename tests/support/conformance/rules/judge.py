"""Compare what both sides answered, and find which listed difference a difference is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import combinations

from conformance.rules.cases import Answer, Ask, RuleCase
from conformance.rules.mesh_side import MeshSide
from conformance.rules.readings import READINGS, reading


@dataclass
class Judged:
    """What came of many comparisons."""

    statuses: Counter[tuple[int, int]] = field(default_factory=Counter)  # Envoy's and ours
    differences: Counter[str] = field(default_factory=Counter)  # by name, listed ones
    wrong: list[str] = field(default_factory=list)  # for the reader of a failure
    count: int = 0


async def judge(
    found: Judged, side: MeshSide, case: RuleCase, theirs: Sequence[Answer], address: str
) -> None:
    """Compare the answers to one case's requests."""
    mesh = side.mesh_of(case)
    ours = await side.ask_all(mesh, case.asks, address)
    with reading(*READINGS):
        read_alike = await side.ask_all(side.mesh_of(case), case.asks, address)
    for ask, envoy, own, alike in zip(case.asks, theirs, ours, read_alike, strict=True):
        found.count += 1
        found.statuses[envoy.status, own.status] += 1
        wrong = _unlike(envoy, alike) or _seen_unlike(envoy, alike)
        if envoy.status == own.status == 400:
            continue  # what both refuse says nothing about rules
        if wrong is not None:
            found.wrong.append(_told(case, ask, wrong))
        elif _unlike(envoy, own) is not None:
            names = await _explained(side, case, ask, envoy, address)
            found.differences.update(names)
        if envoy.status == 0:
            found.differences["plaintext-under-strict"] += 1


def _unlike(envoy: Answer, own: Answer) -> str | None:
    """Say in which way two answers differ; None: they do not."""
    if envoy.status == 0:
        # Envoy takes no plaintext under STRICT at all; ours reads the request and refuses it.
        return None if own.status in (400, 403) else f"no answer, and {own.status}"
    if envoy.status != own.status:
        return f"{envoy.status} and {own.status}"
    if envoy.status == 403 and envoy.body != own.body:
        return f"{envoy.body!r} and {own.body!r}"
    return None


def _seen_unlike(envoy: Answer, own: Answer) -> str | None:
    """Say in which way two apps saw different requests; None: they did not, or saw none."""
    if envoy.path is not None and envoy.path.partition("?")[0] != own.path:
        return f"the app sees {envoy.path!r} and {own.path!r}"
    return None


async def _explained(
    side: MeshSide, case: RuleCase, ask: Ask, envoy: Answer, address: str
) -> tuple[str, ...]:
    """Return the fewest differences without which we answer as Envoy does."""
    for count in range(1, len(READINGS) + 1):
        for names in combinations(READINGS, count):
            with reading(*names):
                [answer] = await side.ask_all(side.mesh_of(case), [ask], address)
            if _unlike(envoy, answer) is None:
                return names
    raise AssertionError("all of them together did explain it")


def _told(case: RuleCase, ask: Ask, wrong: str) -> str:
    return f"{wrong}\n{ask.wire.decode('latin-1').strip()}\n{ask.source}\n{case.policies}"
