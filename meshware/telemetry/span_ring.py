"""The spans of the last sampled calls, kept for whoever looks at this process."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping

import msgspec

__all__ = ["MOST_ATTRIBUTE", "MOST_CALLS", "SpanRecord", "SpanRing", "Value"]

MOST_CALLS = 200
MOST_ATTRIBUTE = 256  # characters of a value: callers write some of them

Value = str | int | float | bool
"""Of a span's attribute."""


class SpanRecord(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One span that has ended."""

    trace_id: str  # 32 hex digits
    span_id: str  # 16 hex digits
    parent_id: str | None = None  # None: it began the trace
    name: str
    kind: str  # "server" or "client"
    start: float  # unix seconds
    duration_s: float
    status: str  # "ok" or "error"
    attributes: Mapping[str, Value] = {}


class SpanRing:
    """The spans of the last calls, those of a call together, its first span first.

    Safe from any thread, and from finalizers: there is no lock.
    """

    def __init__(self, most_calls: int = MOST_CALLS) -> None:
        self._calls: deque[tuple[SpanRecord, ...]] = deque(maxlen=most_calls)

    def add(self, records: tuple[SpanRecord, ...]) -> None:
        """Keep the spans of a call; the oldest call goes where there are too many."""
        self._calls.append(records)

    def snapshot(self) -> list[tuple[SpanRecord, ...]]:
        """Return what is kept, oldest call first."""
        # A copy in C does not give up the interpreter in the middle: nobody appends meanwhile.
        return list(self._calls)

    def clear(self) -> None:
        """Forget everything; a child process begins with nothing."""
        self._calls.clear()
