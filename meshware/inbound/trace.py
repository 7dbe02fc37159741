"""Read the headers by which one call is told from others: request id and trace context."""

from __future__ import annotations

import re
from typing import NamedTuple

from meshware.call import HeaderLookup

__all__ = ["TraceContext", "read_request_id", "read_trace"]

_REQUEST_ID = re.compile(r"[!-~]{1,200}")
# W3C Trace Context, 3.2: version 00 ends here; later versions may go on behind another dash.
_TRACEPARENT = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}(-.*)?")
_MOST_TRACESTATE = 8192  # characters; the standard asks for 512 at least


class TraceContext(NamedTuple):
    """What a caller said about the trace that its call belongs to."""

    trace_id: str | None = None
    traceparent: str | None = None
    tracestate: str | None = None


_NONE = TraceContext()


def read_request_id(headers: HeaderLookup) -> str | None:
    """Return `x-request-id` as sent; None when there is none, or not exactly one that is sound."""
    values = headers("x-request-id")
    if len(values) == 1 and _REQUEST_ID.fullmatch(values[0]):
        return values[0]
    return None


def read_trace(headers: HeaderLookup) -> TraceContext:
    """Return the trace context of a request; what is malformed counts as absent.

    Source: W3C Trace Context.
    """
    values = headers("traceparent")
    if len(values) != 1:
        return _NONE
    found = _TRACEPARENT.fullmatch(values[0].strip(" \t"))
    if found is None:
        return _NONE
    version, trace_id, span_id, rest = found.groups()
    is_sound = version != "ff" and (version != "00" or not rest)
    if not is_sound or not trace_id.strip("0") or not span_id.strip("0"):
        return _NONE
    states = headers("tracestate")
    state = ",".join(states) if states else None
    return TraceContext(
        trace_id, found[0], state if state and len(state) <= _MOST_TRACESTATE else None
    )
