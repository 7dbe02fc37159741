"""What starting costs: the mesh's imports, alone and on top of those of an app and its server."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile

from benchmarks.measure import table

__all__ = ["run"]

ROUNDS = 7
PROGRAM = """
import os, time
{before}
began = time.perf_counter()
{statement}
took_ms = (time.perf_counter() - began) * 1e3
pages = int(open("/proc/self/statm").read().split()[1])
print(took_ms, pages * os.sysconf("SC_PAGE_SIZE") / 2**20)
"""
FASTAPI = "import fastapi, uvicorn, uvicorn.protocols.http.auto"
FLASK = "import flask, gunicorn.app.wsgiapp"
ROWS = (
    ("meshware.asgi, alone", "pass", "import meshware.asgi", "150 ms"),
    ("meshware.wsgi, alone", "pass", "import meshware.wsgi", "150 ms"),
    ("on FastAPI and uvicorn", FASTAPI, "import meshware.asgi", "12 MiB"),
    ("on Flask and gunicorn", FLASK, "import meshware.wsgi", "12 MiB"),
)


def _once(before: str, statement: str, cache: str) -> tuple[float, float]:
    # Compiled once, as installed packages are, whatever this machine says about writing bytecode.
    environ = {**os.environ, "PYTHONPYCACHEPREFIX": cache}
    environ.pop("PYTHONDONTWRITEBYTECODE", None)
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(before=before, statement=statement)],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
        env=environ,
    )
    took_ms, mib = done.stdout.split()
    return float(took_ms), float(mib)


def run() -> None:
    """Print the rows of starting."""
    rows = []
    with tempfile.TemporaryDirectory() as cache:
        for name, before, statement, budget in ROWS:
            times, added = [], []
            _once(before, statement, cache)
            for _ in range(ROUNDS):
                _, bare_mib = _once(before, "pass", cache)
                took_ms, mib = _once(before, statement, cache)
                times.append(took_ms)
                added.append(mib - bare_mib)
            middle = statistics.median(times)
            spread = f"{(max(times) - min(times)) / middle:.0%}"
            rows.append([name, f"{middle:.0f}", spread, f"{statistics.median(added):+.1f}", budget])
    table("Start: the mesh's import in a fresh process", _HEAD, rows)


_HEAD = ("", "ms", "spread", "added MiB", "budget")
