"""Measure two or more ways of doing the same, in turns, and print them side by side.

The variants take turns within each round, so that whatever else the machine does hits all of them;
what is reported is the median over the rounds, and its spread.
"""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

__all__ = ["Timing", "in_turns", "table"]

Work = Callable[[int], float]
"""Do the work so many times; return the seconds of CPU that it took."""


@dataclass(frozen=True, slots=True)
class Timing:
    """Microseconds for one repetition, one figure a round."""

    rounds_us: tuple[float, ...]

    @property
    def median_us(self) -> float:
        """The middle round."""
        return statistics.median(self.rounds_us)

    @property
    def spread(self) -> float:
        """How far the rounds lie apart: (largest - smallest) / median."""
        return (max(self.rounds_us) - min(self.rounds_us)) / (self.median_us or 1.0)

    def added_us(self, bare: Timing) -> float:
        """The median, over the rounds, of what this costs more than `bare` in the same round."""
        pairs = zip(self.rounds_us, bare.rounds_us, strict=True)
        return statistics.median(mine - theirs for mine, theirs in pairs)


def in_turns(
    variants: Mapping[str, Work], *, rounds: int = 9, seconds: float = 0.15
) -> dict[str, Timing]:
    """Measure each variant `rounds` times, in turns, for about `seconds` each time."""
    counts = {name: _count_for(work, seconds) for name, work in variants.items()}
    figures: dict[str, list[float]] = {name: [] for name in variants}
    for _ in range(rounds):
        for name, work in variants.items():
            gc.collect()
            figures[name].append(work(counts[name]) / counts[name] * 1e6)
    return {name: Timing(tuple(rounds_us)) for name, rounds_us in figures.items()}


def _count_for(work: Work, seconds: float) -> int:
    """Return how many repetitions take about `seconds`; warms caches on the way."""
    count = 16
    while True:
        took = work(count)
        if took > seconds / 4:
            return max(1, int(count * seconds / took))
        count *= 4


def cpu(work: Callable[[int], object]) -> Work:
    """Wrap plain work so that it returns the CPU time of this process that it took."""

    def timed(count: int) -> float:
        began = time.process_time()
        work(count)
        return time.process_time() - began

    return timed


def table(title: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table: the first column to the left, the others to the right."""
    widths = [max(len(row[i]) for row in [head, *rows]) for i in range(len(head))]
    print(f"\n{title}")
    for row in [head, ["-" * width for width in widths], *rows]:
        cells = [
            cell.ljust(width) if i == 0 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        print("  " + "  ".join(cells).rstrip())


def against_bare(title: str, timings: Mapping[str, Timing], bare: str, budget_us: float) -> None:
    """Print timings beside the bare one, with what each adds to it."""
    rows = []
    for name, timing in timings.items():
        is_bare = name == bare
        rows.append(
            [
                name,
                f"{timing.median_us:.2f}",
                "" if is_bare else f"{timing.added_us(timings[bare]):+.2f}",
                f"{timing.spread:.0%}",
                "" if is_bare else f"{budget_us:.0f}",
            ]
        )
    table(title, ["", "us", "added us", "spread", "budget us"], rows)
