"""Compare what both sides answered, and find which listed difference a difference is."""

from __future__ import annotations

import base64
import json
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from itertools import combinations

from conformance.rules.cases import Answer, Ask, RuleCase
from conformance.rules.mesh_side import MeshSide
from conformance.rules.readings import COMPILED, READINGS, reading
from meshware.policy.file import Records
from meshware.testing import TestMesh

TOLD = (
    "authorization", "x-token", "cookie", "x-payload", "x-sub", "x-org-id", "x-azp", "x-exp",
    "x-groups", "x-org-admin",
)  # fmt: skip
"""Headers with tokens, and with what is passed on of them."""

Ours = Callable[..., Awaitable[list[Answer]]]


@dataclass
class Judged:
    """What came of many comparisons."""

    statuses: Counter[tuple[int, int]] = field(default_factory=Counter)  # Envoy's and ours
    differences: Counter[str] = field(default_factory=Counter)  # by name, listed ones
    wrong: list[str] = field(default_factory=list)  # for the reader of a failure
    count: int = 0


@dataclass(frozen=True)
class Played:
    """A case, and what Envoy has answered to its requests."""

    case: RuleCase
    records: Records
    address: str  # where its requests arrive
    envoy: Sequence[Answer]


async def judge(found: Judged, side: MeshSide, played: Played) -> None:
    """Compare the answers to one case's requests with ours."""
    meshes: dict[frozenset[str], TestMesh] = {}
    asks = played.case.asks

    async def ours(asks: Sequence[Ask], *names: str) -> list[Answer]:
        """Our answers without some differences, of which some are compiled into rules."""
        compiled = COMPILED.intersection(names)
        with reading(*names):
            if compiled not in meshes:
                meshes[compiled] = side.mesh_of(played.records)
            return await side.ask_all(meshes[compiled], asks, played.address)

    own = await ours(asks)
    alike = await ours(asks, *READINGS)
    for ask, envoy, as_is, read_alike in zip(asks, played.envoy, own, alike, strict=True):
        found.count += 1
        found.statuses[envoy.status, as_is.status] += 1
        if envoy.status == as_is.status == 400:
            continue  # what both refuse says nothing about rules
        if envoy.status == 0:
            found.differences["plaintext-under-strict"] += 1
        if len(ask.values("host")) > 1 and as_is.status == 400:
            found.differences["one-meaning-only"] += 1
            continue  # Envoy makes one Host of them, and asks rules about that
        wrong = _unlike(envoy, read_alike) or _seen_unlike(envoy, read_alike)
        if wrong is not None and _is_about_a_token(envoy) and _is_about_a_token(read_alike):
            # It is refused either way; of several reasons each side tells its own.
            found.differences["what-is-wrong-with-a-token"] += 1
            continue
        if wrong is None and envoy.status == 200:
            wrong = _told_unlike(envoy, read_alike)
            if wrong is not None and len(ask.tokens) > 1:
                found.differences["one-user-a-request"] += 1
                wrong = None
            if _sees_a_list(envoy):
                found.differences["lists-in-headers"] += 1
        if wrong is not None:
            found.wrong.append(_told(played.case, ask, wrong))
        elif envoy.status == as_is.status == 200 and _seen_unlike(envoy, as_is) is not None:
            found.differences["path-left-alone"] += 1
        elif _unlike(envoy, as_is) is not None:
            found.differences.update(await _explained(ours, ask, envoy))


def _told_unlike(envoy: Answer, own: Answer) -> str | None:
    """Say in which way two apps were told other things of the end user; None: they were not."""
    for name in TOLD:
        theirs, ours = (
            ",".join(value for key, value in answer.seen if key.lower() == name)
            for answer in (envoy, own)
        )
        if theirs != ours and not (_is_list(theirs) and not ours):
            return f"the app sees {name}: {theirs!r} and {ours!r}"
    return None


def _sees_a_list(envoy: Answer) -> bool:
    return any(_is_list(value) for name, value in envoy.seen if name == "x-groups")


def _is_list(value: str) -> bool:
    """Say whether a header is a claim that is a list, as Envoy writes it."""
    try:
        return isinstance(json.loads(base64.b64decode(value, validate=True)), list)
    except ValueError:
        return False


async def _explained(ours: Ours, ask: Ask, envoy: Answer) -> tuple[str, ...]:
    """Return the fewest differences without which we answer as Envoy does."""
    for count in range(1, len(READINGS) + 1):
        for names in combinations(READINGS, count):
            [answer] = await ours([ask], *names)
            if _unlike(envoy, answer) is None:
                return names
    raise AssertionError("all of them together did explain it")


def _is_about_a_token(answer: Answer) -> bool:
    """Say whether a request was refused for its token; a HEAD is told nothing."""
    return answer.status in (401, 403) and answer.body.startswith(("Jw", "Audiences", "Found"))


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


def _told(case: RuleCase, ask: Ask, wrong: str) -> str:
    wire = ask.wire.decode("latin-1").strip()
    return f"{wrong}\n{ask.tokens}\n{wire}\n{ask.source}\n{case.policies}"
