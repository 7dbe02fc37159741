"""The cases, by subject: each module has them in `CASES`."""

from __future__ import annotations

from conformance.run import World
from conformance.tables import (
    answers,
    balancing,
    destinations,
    failures,
    faults,
    headers,
    localities,
    matching,
    others,
    outliers,
    retries,
    rewrites,
    tls,
    visibility,
)

TABLES = (
    matching,
    destinations,
    headers,
    rewrites,
    answers,
    faults,
    failures,
    retries,
    balancing,
    outliers,
    visibility,
    localities,
    tls,
    others,
)
CASES = [case for table in TABLES for case in table.CASES]
WORLDS: dict[str, World] = {
    **visibility.WORLDS,
    **localities.WORLDS,
}
