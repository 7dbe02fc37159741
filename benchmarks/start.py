"""What starting costs: the imports of an app, in time and memory, beside a bare interpreter."""

from __future__ import annotations

import statistics
import subprocess
import sys

from benchmarks.measure import table

__all__ = ["run"]

ROUNDS = 9
PROGRAM = """
import os, time
began = time.perf_counter()
{statement}
took_ms = (time.perf_counter() - began) * 1e3
pages = int(open("/proc/self/statm").read().split()[1])
print(took_ms, pages * os.sysconf("SC_PAGE_SIZE") / 2**20)
"""
STATEMENTS = {
    "nothing": ("pass", ""),
    "meshware": ("import meshware", ""),
    "meshware.asgi": ("import meshware.asgi", "150 ms, 12 MiB"),
    "meshware.wsgi": ("import meshware.wsgi", "150 ms, 12 MiB"),
}


def run() -> None:
    """Print the rows of starting."""
    figures: dict[str, list[tuple[float, float]]] = {name: [] for name in STATEMENTS}
    for _ in range(ROUNDS):
        for name, (statement, _budget) in STATEMENTS.items():
            done = subprocess.run(
                [sys.executable, "-c", PROGRAM.format(statement=statement)],
                capture_output=True,
                text=True,
                check=True,
                timeout=60,
            )
            took_ms, mib = map(float, done.stdout.split())
            figures[name].append((took_ms, mib))
    bare = statistics.median(mib for _, mib in figures["nothing"])
    rows = []
    for name, pairs in figures.items():
        times = [ms for ms, _ in pairs]
        middle = statistics.median(times)
        spread = (max(times) - min(times)) / (middle or 1.0)
        added = statistics.median(mib for _, mib in pairs) - bare
        rows.append([name, f"{middle:.1f}", f"{spread:.0%}", f"{added:+.1f}", STATEMENTS[name][1]])
    table("Start: an import in a fresh process", ["", "ms", "spread", "added MiB", "budget"], rows)
