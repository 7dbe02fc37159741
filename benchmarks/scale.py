"""What 5,000 services cost one worker: to load, to hold, and to follow when one endpoint moves."""

from __future__ import annotations

import gc
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.measure import table
from benchmarks.policies import services
from meshware.policy.file import encode
from meshware.policy.load import load_mapping
from meshware.policy.parse import Resource
from meshware.policy.records import build_records
from meshware.policy.snapshot import Snapshot, build_snapshot
from meshware.policy.view import Client
from meshware.runtime.files import replace_file
from meshware.runtime.policy_file import open_policy_file, trusted_owners

__all__ = ["run"]

SERVICES, ENDPOINTS, CALLED = 5000, 10, 20
ROUNDS = 9


def _resources(changed: int | None = None) -> list[Resource]:
    found: list[Resource] = []
    for mapping in services(SERVICES, ENDPOINTS, changed=changed):
        found += load_mapping(mapping).resources
    return found


def _write(path: Path, generation: int, changed: int | None) -> None:
    data = encode(
        build_records(_resources(changed)), generation=generation, trust_domain="cluster.local"
    )
    replace_file(path, data, mode=0o644)


def _follow(path: Path, generation: int, previous: Snapshot | None, called: int) -> Snapshot:
    """Do what a follower does with a new file, then what calls to `called` services need."""
    snapshot = build_snapshot(
        open_policy_file(path, trusted_owners(None)),
        Client(),
        generation=generation,
        on_refusal=_broken,
        previous=previous,
    )
    for number in range(called):
        table_ = snapshot.routes(f"service-{number}", 80)
        assert table_ is not None
        snapshot.cluster(table_.routes[0].targets[0].key)
    return snapshot


def _broken(name: str, error: Exception) -> None:
    raise RuntimeError(name) from error


def _resident_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def measure(path: Path, called: int) -> None:
    """Load in this process; print milliseconds of CPU and KiB of memory that it took."""
    gc.collect()
    before, began = _resident_bytes(), time.process_time()
    snapshot = _follow(path, 1, None, called)
    took_ms = (time.process_time() - began) * 1e3
    gc.collect()
    print(f"{took_ms:.3f} {(_resident_bytes() - before) / 1024:.0f}")
    del snapshot


def run() -> None:
    """Print the rows of size."""
    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / "policy.mesh"
        _write(path, 1, None)
        rows = []
        for called, budget_ms, budget_mib in ((SERVICES, 500, 60), (CALLED, 100, 15)):
            loads = [_in_a_process(path, called) for _ in range(5)]
            rows.append(
                _row(f"load, {called:,} of them called", [ms for ms, _ in loads], budget_ms)
            )
            memory = sorted(kib / 1024 for _, kib in loads)
            rows.append(
                [
                    f"memory, {called:,} of them called",
                    f"{statistics.median(memory):.1f} MiB",
                    f"{(memory[-1] - memory[0]) / memory[len(memory) // 2]:.0%}",
                    f"{budget_mib} MiB",
                ]
            )
        rows.append(_row("one endpoint moves", _changes(path), 3))
    head = ["", "median", "spread", "budget"]
    table(f"{SERVICES:,} services of {ENDPOINTS} endpoints, in one worker: CPU, memory", head, rows)


def _in_a_process(path: Path, called: int) -> tuple[float, float]:
    program = (
        "from pathlib import Path; from benchmarks.scale import measure; "
        f"measure(Path({str(path)!r}), {called})"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=120
    )
    took_ms, kib = done.stdout.split()
    return float(took_ms), float(kib)


def _changes(path: Path) -> list[float]:
    """Return the CPU milliseconds of taking up a file in which one endpoint has moved."""
    snapshot = _follow(path, 1, None, CALLED)
    took = []
    for number in range(ROUNDS):
        _write(path, number + 2, number % CALLED)
        gc.collect()
        began = time.process_time()
        snapshot = _follow(path, number + 2, snapshot, CALLED)
        took.append((time.process_time() - began) * 1e3)
    return took


def _row(name: str, took_ms: list[float], budget_ms: float) -> list[str]:
    middle = statistics.median(took_ms)
    spread = (max(took_ms) - min(took_ms)) / middle
    return [name, f"{middle:.1f} ms", f"{spread:.0%}", f"{budget_ms:g} ms"]
