"""The steps of the demo: an edit, a load, and what must come of it."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol

from meshware.demo import policies
from meshware.demo.load import Sample
from meshware.demo.report import Row

__all__ = ["STEPS", "Stage", "Step"]


class Stage(Protocol):
    """What a step can do to the shop."""

    @property
    def good_ratings(self) -> str:
        """`address:port` of the ratings that work."""
        ...

    def edit(self, name: str, text: str) -> None:
        """Save a policy file, and wait until every process has taken the edit up."""
        ...

    def remove(self, name: str) -> None:
        """Remove a policy file, and wait until every process has taken that up."""
        ...

    def edit_refused(self, name: str, text: str) -> str:
        """Save a broken policy file, wait for the daemon to refuse it; return its reason."""
        ...

    def ratings(self, *names: str) -> None:
        """Make these processes the endpoints of the ratings, as `edit` does."""
        ...

    def load(self, count: int, *, user: str = "") -> list[Sample]:
        """Ask for the page `count` times."""
        ...

    def knock(self, name: str) -> str:
        """Call a workload directly, without an identity; return its answer or "no answer"."""
        ...

    def generation(self) -> int:
        """Return the generation of the policy that is published."""
        ...


@dataclass(frozen=True, slots=True)
class Step:
    """One step: its title, and what does it and returns the rows of its table."""

    title: str
    run: Callable[[Stage], list[Row]]


_NONE = "no answer"


def exactly(what: str, wanted: int, seen: int, of: int) -> Row:
    """Expect a count of `wanted` among `of`."""
    return Row(what, f"{wanted} of {of}", f"{seen} of {of}", seen == wanted)


def share(what: str, ratio: float, seen: int, of: int) -> Row:
    """Expect a share, within four standard deviations: once in 16,000 runs chance fails it."""
    middle = ratio * of
    slack = 4 * math.sqrt(of * ratio * (1 - ratio))
    low, high = max(0, math.ceil(middle - slack)), min(of, math.floor(middle + slack))
    return Row(
        what, f"{ratio:.0%}: {low} to {high} of {of}", f"{seen} of {of}", low <= seen <= high
    )


def pages(samples: Iterable[Sample]) -> Row:
    """Expect that every page came."""
    statuses = [sample.status for sample in samples]
    return exactly("pages with status 200", len(statuses), statuses.count(200), len(statuses))


def versions(samples: Iterable[Sample]) -> Counter[str]:
    """Count the versions of the reviews that were shown."""
    return Counter(sample.version for sample in samples)


def _first(stage: Stage) -> list[Row]:
    samples = stage.load(100)
    seen = versions(samples)
    return [pages(samples), exactly("reviews by v1", 100, seen["v1"], 100)]


def _nobody(stage: Stage) -> list[Row]:
    answers = [stage.knock(name) for name in ("reviews-v1", "ratings")]
    samples = stage.load(20)
    return [
        Row("reviews, called without an identity", "no answer", answers[0], answers[0] == _NONE),
        Row("ratings, called without an identity", "no answer", answers[1], answers[1] == _NONE),
        pages(samples),
        exactly("pages with reviews, by mutual TLS", 20, versions(samples)["v1"], 20),
    ]


def _canary(stage: Stage) -> list[Row]:
    stage.edit("reviews.yaml", policies.CANARY)
    samples = stage.load(200)
    seen = versions(samples)
    return [
        pages(samples),
        share("reviews by v1", 0.8, seen["v1"], 200),
        share("reviews by v2", 0.2, seen["v2"], 200),
        exactly("reviews by v3", 0, seen["v3"], 200),
    ]


def _testers(stage: Stage) -> list[Row]:
    stage.edit("reviews.yaml", policies.TESTERS)
    jason = stage.load(40, user="jason")
    others = stage.load(80, user="anna")
    seen = versions(others)
    return [
        pages([*jason, *others]),
        exactly("v3 for jason", 40, versions(jason)["v3"], 40),
        exactly("v3 for others", 0, seen["v3"], 80),
        share("v2 for others", 0.2, seen["v2"], 80),
    ]


def _failing(stage: Stage) -> list[Row]:
    stage.edit("reviews.yaml", policies.V2_ONLY)
    stage.ratings("ratings", "ratings-failing")
    samples = stage.load(100)
    calls = [sample.ratings or {} for sample in samples]
    again = sum(call.get("attempts", 0) > 1 for call in calls)
    # Which endpoint is tried first depends on what is in flight; about half of the calls meet the
    # broken one, and with next to none of them the step would show nothing.
    return [
        pages(samples),
        exactly("pages with stars", 100, sum(sample.stars for sample in samples), 100),
        Row("ratings tried again", "15 of 100 or more", f"{again} of 100", again >= 15),
        exactly(
            "answered by the good one",
            100,
            sum(call.get("endpoint") == stage.good_ratings for call in calls),
            100,
        ),
    ]


def _hanging(stage: Stage) -> list[Row]:
    stage.edit("ratings.yaml", policies.IMPATIENT)
    stage.ratings("ratings-hanging")
    samples = stage.load(16)
    calls = [sample.ratings or {} for sample in samples]
    cut = sum(call.get("status") == 504 and call.get("flags") == "UT" for call in calls)
    slowest = max(sample.elapsed_s for sample in samples)
    quickest = min(sample.elapsed_s for sample in samples)
    limit = policies.IMPATIENT_TIMEOUT_S
    return [
        pages(samples),
        exactly("ratings cut: 504, flag UT", 16, cut, 16),
        Row(
            "time for a page",
            f"{limit:.1f} s to {limit + 1:.1f} s",
            f"{quickest:.2f} to {slowest:.2f} s",
            limit * 0.95 <= quickest and slowest <= limit + 1,
        ),
    ]


def _denied(stage: Stage) -> list[Row]:
    stage.edit("closed.yaml", policies.DENY)
    closed = stage.load(40)
    return [
        pages(closed),
        exactly("reviews refused: 403", 40, sum(s.reviews_status == 403 for s in closed), 40),
    ]


def _allowed(stage: Stage) -> list[Row]:
    stage.remove("closed.yaml")
    stage.ratings("ratings")
    opened = stage.load(40)
    return [
        pages(opened),
        exactly("reviews shown again: 200", 40, sum(s.reviews_status == 200 for s in opened), 40),
        exactly("pages with stars", 40, sum(sample.stars for sample in opened), 40),
    ]


def _broken(stage: Stage) -> list[Row]:
    before = stage.generation()
    with ThreadPoolExecutor(1) as pool:
        traffic = pool.submit(stage.load, 120)
        reason = stage.edit_refused("reviews.yaml", policies.BROKEN)
        samples = traffic.result()
    after = stage.generation()
    return [
        Row("the edit", "refused", f"refused: {reason}" if reason else "taken", bool(reason)),
        Row("generation in force", f"still {before}", f"{after}", after == before),
        pages(samples),
        exactly("reviews by v2, as before", 120, versions(samples)["v2"], 120),
    ]


STEPS = (
    Step("1. Everything goes to reviews v1, by mutual TLS", _first),
    Step("2. Whoever has no identity is not answered", _nobody),
    Step("3. A canary: 80 % to v1, 20 % to v2", _canary),
    Step("4. The user jason sees v3", _testers),
    Step("5. One of two ratings always answers 500; retries hide it", _failing),
    Step("6. The ratings hang; the time-out cuts them", _hanging),
    Step("7. A DENY rule closes the reviews", _denied),
    Step("8. The rule goes, the reviews are back", _allowed),
    Step("9. A broken edit is refused while traffic goes on", _broken),
)
"""The demo, in order."""
