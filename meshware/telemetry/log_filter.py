"""A filter for the standard library's logging that says for which call a record is made."""

from __future__ import annotations

import logging

from meshware.call import Call, current_call

__all__ = ["FIELDS", "LoggingFilter", "fields_of"]

FIELDS = ("trace_id", "span_id", "request_id", "peer", "route")
"""The attributes of records."""


class LoggingFilter(logging.Filter):
    """Add `trace_id`, `span_id`, `request_id`, `peer` and `route` to log records.

    On a handler it sees the records of all loggers: ``handler.addFilter(LoggingFilter())``, or in
    `dictConfig` ``{"filters": {"mesh": {"()": "meshware.telemetry.LoggingFilter"}}}``. Behind a
    `QueueHandler` put it on that one, which runs where the record is made. It lets every record
    pass, and leaves alone what a record has already.

    Args:
        name: of a logger; records of others get no call. "": those of all do.
        missing: what stands where there is no call, or it has no such thing.
    """

    def __init__(self, name: str = "", missing: str = "-") -> None:
        super().__init__(name)
        self._missing = missing

    def filter(self, record: logging.LogRecord) -> bool:
        """Add what is known. Returns True."""
        call = current_call() if super().filter(record) else None
        found = {} if call is None else fields_of(call)
        for field in FIELDS:
            if not hasattr(record, field):
                setattr(record, field, found.get(field) or self._missing)
        return True


def fields_of(call: Call) -> dict[str, str | None]:
    """Return what records say of a call."""
    context = call.traceparent
    return {
        "trace_id": call.trace_id,
        "span_id": None if context is None else context[36:52],
        "request_id": call.request_id,
        "peer": None if call.peer is None else call.peer.id,
        "route": call.route,
    }
