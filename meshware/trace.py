"""Trace context: read from headers, written to them, and what of it one call carries.

A context says which trace a call belongs to, which span it is caused by, and whether the trace is
kept (sampled). Nothing here makes a span: `meshware.telemetry` does, for sampled calls alone.

Sources: W3C Trace Context; B3 propagation (openzipkin/b3-propagation), "Single Header" and
"Multiple Headers".
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from random import Random
from typing import Literal, NamedTuple, Protocol

from meshware.call import HeaderLookup

__all__ = [
    "NOTHING",
    "TRACE_HEADERS",
    "BeginTrace",
    "Carried",
    "LiveSpan",
    "Propagation",
    "TraceContext",
    "carried",
    "carried_on",
    "child_of",
    "new_span_id",
    "read_context",
    "written",
]

Pairs = tuple[tuple[str, str], ...]

Propagation = Literal["w3c", "b3", "b3multi"]
"""A way to write a trace context: `traceparent`, `b3`, or the `x-b3-...` headers."""

TRACE_HEADERS = frozenset({
    "traceparent", "tracestate", "b3", "x-b3-traceid", "x-b3-spanid", "x-b3-sampled",
    "x-b3-parentspanid", "x-b3-flags",
})  # fmt: skip
"""All headers that say a context, in any format."""

_W3C: tuple[Propagation, ...] = ("w3c",)

# W3C Trace Context, 3.2: version 00 ends here; later versions may go on behind another dash.
_TRACEPARENT = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
# The same of version 00, sound, with a flag at its end.
_USUAL = re.compile(r"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")
_B3 = re.compile(
    r"([0-9a-f]{16}|[0-9a-f]{32})-([0-9a-f]{16})(?:-([01d]|true|false))?(?:-[0-9a-f]{16})?", re.I
)
_NO_TRACE, _NO_SPAN = "0" * 32, "0" * 16
_SAMPLED = frozenset("13579bdf")  # the last bit of the flags
_TRACE_ID = re.compile(r"[0-9a-f]{16}|[0-9a-f]{32}", re.I)
_SPAN_ID = re.compile(r"[0-9a-f]{16}", re.I)
_MOST_TRACESTATE = 8192  # characters; the standard asks for 512 at least

# B3 says "1" and "0"; "d" is a debug trace, which is always kept; the words are of old tracers.
_DECISIONS = {"1": True, "d": True, "true": True, "0": False, "false": False}


class TraceContext(NamedTuple):
    """Which trace, which span in it, and whether it is kept."""

    trace_id: str  # 32 hex digits; "" where a caller has decided on sampling and named no trace
    span_id: str  # 16 hex digits
    is_sampled: bool | None  # None: whoever comes next is to decide (B3 alone can say so)
    tracestate: str | None = None
    traceparent: str | None = None  # as received, where it was: it is carried unchanged


class LiveSpan(Protocol):
    """The server span of a sampled call, while the app runs."""

    def enter(self) -> Callable[[], None]:
        """Make it the current span of this context; what is returned undoes that."""
        ...

    def answers(self, passage: object, status: int) -> None:
        """Note that the response begins. Another instrumentation's span may end with it.

        Args:
            passage: the call's `Passage`.
            status: of the response.
        """
        ...

    def here(self) -> Callable[[], Callable[[], None]]:
        """Return an `enter` for another thread, which makes the span current that is so now."""
        ...


class Carried(NamedTuple):
    """What one inbound call carries on."""

    trace_id: str | None = None
    traceparent: str | None = None
    tracestate: str | None = None
    headers: Pairs = ()  # of the calls that are made for it
    shown: Pairs = ()  # what the app gets in place of the caller's headers, where that differs
    span: LiveSpan | None = None  # None: it is not sampled
    is_sampled: bool = False


NOTHING = Carried()

BeginTrace = Callable[[HeaderLookup, object, float], Carried]
"""Begin or go on with the trace of an inbound call. Never raises.

Takes its headers, the snapshot that decides it, and when it began (monotonic seconds).
"""


def read_context(
    headers: HeaderLookup, formats: Sequence[Propagation] = _W3C
) -> TraceContext | None:
    """Return the context that a request bears; what is malformed counts as absent.

    Args:
        headers: the request's.
        formats: which to read; the first that is there and sound is taken.
    """
    for one in formats:
        found = _READERS[one](headers)
        if found is not None:
            return found
    return None


def carried(
    context: TraceContext | None,
    formats: Sequence[Propagation] = _W3C,
    *,
    is_shown: bool = False,
) -> Carried:
    """Return what a call carries that goes on with a context, or has none.

    Args:
        context: None: there is none.
        formats: how outbound calls bear it.
        is_shown: the app gets it in place of its caller's.
    """
    if context is None or not context.trace_id:
        return NOTHING
    trace_id, _, is_sampled, tracestate, traceparent = context
    if traceparent is None:
        traceparent = _traceparent(context)
    if tracestate is None and formats == _W3C:  # nearly all
        headers: Pairs = (("traceparent", traceparent),)
    else:
        headers = written(context, formats)
    shown = headers if is_shown else ()
    return Carried(trace_id, traceparent, tracestate, headers, shown, None, is_sampled is True)


def carried_on(headers: HeaderLookup) -> Carried | None:
    """Return the same as `carried(read_context(headers))` of most calls, in a third of the time.

    None: the context is not a `traceparent` of version 00 alone.
    """
    values = headers("traceparent")
    if len(values) != 1 or headers("tracestate"):
        return None
    value = values[0]
    if _USUAL.fullmatch(value) is None:
        return None
    pairs = (("traceparent", value),)
    return Carried(value[3:35], value, None, pairs, (), None, value[54] in _SAMPLED)


def written(context: TraceContext, formats: Sequence[Propagation] = _W3C) -> Pairs:
    """Return the headers that say a context."""
    pairs: list[tuple[str, str]] = []
    for one in formats:
        if one == "w3c":
            pairs.append(("traceparent", context.traceparent or _traceparent(context)))
            if context.tracestate is not None:
                pairs.append(("tracestate", context.tracestate))
            continue
        decision = {True: "1", False: "0", None: ""}[context.is_sampled]
        if one == "b3":
            value = f"{context.trace_id}-{context.span_id}"
            pairs.append(("b3", f"{value}-{decision}" if decision else value))
            continue
        pairs += (("x-b3-traceid", context.trace_id), ("x-b3-spanid", context.span_id))
        if decision:
            pairs.append(("x-b3-sampled", decision))
    return tuple(pairs)


def child_of(parent: TraceContext | None, is_sampled: bool, rng: Random) -> TraceContext:
    """Return the context of a new span, in the trace of its parent or in a new one."""
    if parent is None or not parent.trace_id:
        # An id of nothing but zeros is none.
        trace_id = f"{rng.getrandbits(128) or 1:032x}"
        return TraceContext(trace_id, new_span_id(rng), is_sampled)
    return TraceContext(parent.trace_id, new_span_id(rng), is_sampled, parent.tracestate)


def new_span_id(rng: Random) -> str:
    """Return the id of a new span."""
    return f"{rng.getrandbits(64) or 1:016x}"


def _traceparent(context: TraceContext) -> str:
    return f"00-{context.trace_id}-{context.span_id}-{'01' if context.is_sampled else '00'}"


def _read_w3c(headers: HeaderLookup) -> TraceContext | None:
    values = headers("traceparent")
    if len(values) != 1:
        return None
    found = _TRACEPARENT.fullmatch(values[0].strip(" \t"))
    if found is None:
        return None
    version, trace_id, span_id, flags, rest = found.groups()
    is_sound = not rest if version == "00" else version != "ff"
    if not is_sound or trace_id == _NO_TRACE or span_id == _NO_SPAN:
        return None
    states = headers("tracestate")
    state = ",".join(states) if states else None
    if state is not None and not 0 < len(state) <= _MOST_TRACESTATE:
        state = None
    return TraceContext(trace_id, span_id, flags[1] in _SAMPLED, state, found[0])


def _read_b3(headers: HeaderLookup) -> TraceContext | None:
    values = headers("b3")
    if len(values) != 1:
        return None
    value = values[0].strip(" \t")
    if value.lower() in _DECISIONS:  # a decision alone
        return TraceContext("", "", _DECISIONS[value.lower()])
    found = _B3.fullmatch(value)
    if found is None:
        return None
    decision = None if found[3] is None else _DECISIONS[found[3].lower()]
    return _of_b3(found[1], found[2], decision)


def _read_b3multi(headers: HeaderLookup) -> TraceContext | None:
    trace_ids, span_ids = headers("x-b3-traceid"), headers("x-b3-spanid")
    flags, sampled = headers("x-b3-flags"), headers("x-b3-sampled")
    decision = None
    if len(sampled) == 1:
        decision = _DECISIONS.get(sampled[0].strip(" \t").lower())
    if len(flags) == 1 and flags[0].strip(" \t") == "1":
        decision = True
    if not trace_ids and not span_ids:
        return None if decision is None else TraceContext("", "", decision)
    if len(trace_ids) != 1 or len(span_ids) != 1:
        return None
    trace_id, span_id = trace_ids[0].strip(" \t"), span_ids[0].strip(" \t")
    if _TRACE_ID.fullmatch(trace_id) is None or _SPAN_ID.fullmatch(span_id) is None:
        return None
    return _of_b3(trace_id, span_id, decision)


def _of_b3(trace_id: str, span_id: str, decision: bool | None) -> TraceContext | None:
    if not trace_id.strip("0") or not span_id.strip("0"):
        return None
    # 64 bits are the right half of 128, as in OpenTelemetry and Envoy.
    return TraceContext(trace_id.lower().rjust(32, "0"), span_id.lower(), decision)


_READERS: dict[Propagation, Callable[[HeaderLookup], TraceContext | None]] = {
    "w3c": _read_w3c,
    "b3": _read_b3,
    "b3multi": _read_b3multi,
}
