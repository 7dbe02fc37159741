"""How long something takes, of which a machine that others use as well takes its part."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SLACK_S = 0.25  # for the work itself
_TASKS = Path("/proc/self/task")


@contextmanager
def lasting(seconds: float) -> Iterator[None]:
    """Do something that must take so long: a tenth more at most, and hardly less.

    Time that threads of this process spent waiting for a processor comes on top: it is none on a
    machine that does nothing else.
    """
    before, began = _kept_waiting_s(), time.monotonic()
    yield
    took_s = time.monotonic() - began
    kept_s = sum(
        waited_s - before.get(thread, 0.0) for thread, waited_s in _kept_waiting_s().items()
    )
    assert seconds * 0.95 <= took_s <= seconds * 1.1 + SLACK_S + kept_s, (took_s, kept_s)


def _kept_waiting_s() -> dict[str, float]:
    """How long each thread has been ready to run and did not; only Linux says so."""
    found = {}
    for task in _TASKS.glob("*/schedstat"):
        try:
            found[task.parent.name] = int(task.read_text("ascii").split()[1]) / 1e9
        except (OSError, IndexError):  # it has just ended
            continue
    return found
