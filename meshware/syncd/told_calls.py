"""Refused and failed calls, and traces, in the shapes that the dashboard takes."""

from __future__ import annotations

from typing import Any

import msgspec

from meshware.dashboard.listing import cursor
from meshware.dashboard.traces import Placed, join
from meshware.syncd.rings import Remembered, SeenCall

__all__ = ["call_told", "calls_told", "traces_told"]


def calls_told(remembered: Remembered) -> list[dict[str, Any]]:
    """Return calls, the newest first."""
    return [call_told(remembered.epoch, seen) for seen in remembered.calls]


def call_told(epoch: str, seen: SeenCall) -> dict[str, Any]:
    """Return one call; who tells of it is said by where its file lies."""
    return {
        "id": cursor(epoch, seen.seen),
        "seen": seen.seen,
        "namespace": seen.namespace,
        "workload": seen.workload,
        "worker": seen.worker,
        **msgspec.structs.asdict(seen.call),
        "tries": [msgspec.structs.asdict(each) for each in seen.call.tries],
    }


def traces_told(remembered: Remembered) -> list[dict[str, Any]]:
    """Return traces, the newest first."""
    return join(
        Placed(seen.seen, seen.namespace, seen.workload, seen.worker, span)
        for seen in remembered.spans
        for span in seen.spans
    )
