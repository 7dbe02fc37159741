"""`make bench`: every table, or those named: `make bench ARGS="inbound outbound"`."""

from __future__ import annotations

import os
import platform
import sys

from benchmarks import (
    dashboard,
    identity,
    inbound,
    observed,
    outbound,
    scale,
    sidecar,
    start,
    telemetry,
    tokens,
)

TABLES = {
    "inbound": inbound.run,
    "tokens": tokens.run,
    "outbound": outbound.run,
    "observed": observed.run,
    "telemetry": telemetry.run,
    "dashboard": dashboard.run,
    "scale": scale.run,
    "identity": identity.run,
    "start": start.run,
    "sidecar": sidecar.run,
}


def main(names: list[str]) -> int:
    """Run the tables that are named, or all."""
    unknown = [name for name in names if name not in TABLES]
    if unknown:
        print(f"no table {unknown[0]!r}; there are {', '.join(TABLES)}", file=sys.stderr)
        return 2
    print(
        f"Python {platform.python_version()}, {os.cpu_count()} cores. Medians over rounds in which "
        "all variants took turns;\nspread is (largest - smallest) / median."
    )
    for name in names or TABLES:
        TABLES[name]()
    return 0


sys.exit(main(sys.argv[1:]))
