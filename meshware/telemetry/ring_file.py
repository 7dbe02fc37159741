"""The file of a worker's rings: its last refused and failed calls, and its last sampled spans.

It is one object of MessagePack, replaced whole, and never longer than `MAX_RING_BYTES`: the newest
come first into what room there is. It is a claim like every report: whoever reads it bounds its
size, says itself who wrote it, and shows texts that cannot do anything to who looks at them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import chain
from math import isfinite

import msgspec

from meshware.legible import legible
from meshware.policy.file import MAX_GENERATION
from meshware.telemetry.call_record import MOST_LISTED, MOST_PATH, CallRecord, TryRecord
from meshware.telemetry.call_ring import MOST_CALLS
from meshware.telemetry.redaction import without_queries, without_tokens
from meshware.telemetry.span_ring import MOST_ATTRIBUTE, SpanRecord

__all__ = ["MAX_RING_BYTES", "MOST_SPANS", "RING_FORMAT", "Rings", "WorkerRings", "decode"]

RING_FORMAT = 1

MAX_RING_BYTES = 384 * 1024
"""No file is longer; the daemon reads no longer one."""

MOST_SPANS = 600
"""Spans in one file: a few hundred calls, with their attempts."""

_CALLS_BYTES = 192 * 1024  # of the file; the rest is for spans

_MOST_ATTRIBUTES = 40  # of one span
_MOST_TIME = 2.0**40  # seconds
_MOST_TEXT = 4 * MOST_PATH  # characters of any text: what cannot be seen is written longer

# Not written: what the mesh says of a span under two names, for backends, and a caller's headers.
_LEFT_OUT = frozenset({
    "component", "error", "guid:x-request-id", "http.method", "http.protocol", "http.status_code",
    "http.url", "peer.address", "response_flags", "user_agent", "user_agent.original",
})  # fmt: skip

_ID = "0123456789abcdef"


class Rings(msgspec.Struct, frozen=True, kw_only=True):
    """What one worker remembers."""

    meshware: int = RING_FORMAT
    left_out: int = 0  # calls that were not kept since the last that was
    calls: tuple[CallRecord, ...] = ()  # newest first
    spans: tuple[tuple[SpanRecord, ...], ...] = ()  # those of a call together, newest call first


class WorkerRings:
    """Makes the file of a process's rings, when it says something new.

    A call or span is encoded once, however often the file is made.

    Args:
        calls: returns the refused and failed calls, oldest first, always the same objects.
        left_out: returns how many were not kept since.
        spans: returns the spans of the last sampled calls, likewise.
    """

    def __init__(
        self,
        calls: Callable[[], list[CallRecord]],
        left_out: Callable[[], int],
        spans: Callable[[], list[tuple[SpanRecord, ...]]],
    ) -> None:
        self._calls = calls
        self._left_out = left_out
        self._spans = spans
        self._encoder = msgspec.msgpack.Encoder()
        # By the object's place in memory, beside the object: it cannot be another's meanwhile.
        self._encoded: dict[int, tuple[object, bytes]] = {}
        self._made: tuple[object, object, int, bytes] | None = None

    def __call__(self) -> bytes:
        """Return the file, b"" where there is nothing to tell; the very same object as before
        where nothing has changed."""
        calls, spans, left_out = self._calls(), self._spans(), self._left_out()
        newest = (calls[-1] if calls else None, spans[-1] if spans else None)
        made = self._made
        if made is not None and (
            made[0] is newest[0] and made[1] is newest[1] and made[2] == left_out
        ):
            return made[3]
        data = self._file(calls, spans, left_out) if calls or spans else b""
        self._made = (*newest, left_out, data)
        return data

    def _file(
        self, calls: list[CallRecord], spans: list[tuple[SpanRecord, ...]], left_out: int
    ) -> bytes:
        kept = {id(each): self._encoded.get(id(each)) for each in chain(calls, spans)}
        self._encoded = {key: found for key, found in kept.items() if found is not None}
        written_calls, size = [], 256
        for call in reversed(calls):
            data = self._once(call)
            if size + len(data) > _CALLS_BYTES:
                break
            written_calls.append(msgspec.Raw(data))
            size += len(data)
        written_spans, count = [], 0
        for of_call in reversed(spans):
            data = self._once(of_call)
            count += len(of_call)
            if size + len(data) > MAX_RING_BYTES or count > MOST_SPANS:
                break
            written_spans.append(msgspec.Raw(data))
            size += len(data)
        return self._encoder.encode(
            {
                "meshware": RING_FORMAT,
                "left_out": left_out,
                "calls": written_calls,
                "spans": written_spans,
            }
        )

    def _once(self, what: CallRecord | tuple[SpanRecord, ...]) -> bytes:
        found = self._encoded.get(id(what))
        if found is not None and found[0] is what:
            return found[1]
        told = what if isinstance(what, CallRecord) else tuple(map(_shortened, what))
        try:
            data = self._encoder.encode(told)
        except UnicodeEncodeError:  # half of a surrogate pair, in a text that an app has made
            data = self._encoder.encode(_mended(msgspec.to_builtins(told)))
        self._encoded[id(what)] = (what, data)
        return data


def _shortened(span: SpanRecord) -> SpanRecord:
    """Return a span as it is told: without what is said twice, and without secrets."""
    told = {
        name: without_tokens(value) if isinstance(value, str) else value
        for name, value in span.attributes.items()
        if name not in _LEFT_OUT
    }
    failure = told.get("meshware.failure")  # what a library says
    if isinstance(failure, str):
        told["meshware.failure"] = without_queries(failure)
    full = told.get("url.full")
    if isinstance(full, str) and "@" in full:
        scheme, _, rest = full.partition("://")
        told["url.full"] = f"{scheme}://***{rest[rest.rindex('@') :]}"
    return msgspec.structs.replace(span, name=without_tokens(span.name), attributes=told)


def _mended(value: object) -> object:
    """Return what MessagePack can hold of a value."""
    if isinstance(value, str):
        return value.encode(errors="replace").decode()
    if isinstance(value, Mapping):
        return {_mended(key): _mended(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_mended(each) for each in value]
    return value


# --- reading ----------------------------------------------------------------------------------


def decode(data: bytes, now: float) -> Rings | None:
    """Return what a file says; None: it is none, or of a format that is not known here.

    What makes no sense in it is left out, and texts are made harmless.

    Args:
        data: the file.
        now: unix seconds; nothing has happened after it.
    """
    if len(data) > MAX_RING_BYTES:
        return None
    try:
        rings = msgspec.msgpack.decode(data, type=Rings)
    except (msgspec.MsgspecError, ValueError, RecursionError, OverflowError):
        return None
    if rings.meshware != RING_FORMAT:
        return None
    calls = tuple(_call(each, now) for each in rings.calls[:MOST_CALLS] if _is_sound_call(each))
    spans: list[tuple[SpanRecord, ...]] = []
    left = MOST_SPANS
    for of_call in rings.spans[:MOST_SPANS]:
        sound = tuple(_span(each, now) for each in of_call[:left] if _is_sound_span(each))
        left -= len(of_call[:left])
        if sound:
            spans.append(sound)
    left_out = rings.left_out if 0 <= rings.left_out < 2**48 else 0
    return Rings(left_out=left_out, calls=calls, spans=tuple(spans))


def _is_sound_call(call: CallRecord) -> bool:
    return (
        0 <= call.number < 2**48
        and 0 <= call.status < 1000
        and 0 <= call.generation <= MAX_GENERATION
        and 0 <= call.left_out < 2**48
        and 0 <= call.attempts < 2**31
        and (call.port is None or 0 <= call.port <= 65535)
        and (call.rule is None or 0 <= call.rule < 2**31)
        and all(_is_time(each) for each in (call.at, call.duration_s))
        and (call.trace_id is None or _is_hex(call.trace_id, 32))
        and len(call.tries) <= MOST_LISTED
        and max(len(call.candidates), len(call.audited)) <= MOST_LISTED
        and all(map(_is_sound_try, call.tries))
    )


def _is_sound_try(tried: TryRecord) -> bool:
    return (
        0 < tried.number < 2**31
        and 0 <= tried.status < 1000
        and _is_time(tried.began_s)
        and _is_time(tried.duration_s)
    )


def _is_sound_span(span: SpanRecord) -> bool:
    return (
        _is_hex(span.trace_id, 32)
        and _is_hex(span.span_id, 16)
        and (span.parent_id is None or _is_hex(span.parent_id, 16))
        and span.kind in ("server", "client")
        and span.status in ("ok", "error")
        and _is_time(span.start)
        and _is_time(span.duration_s)
        and len(span.attributes) <= _MOST_ATTRIBUTES
        and all(
            isinstance(value, str | bool) or abs(value) < _MOST_TIME
            for value in span.attributes.values()
        )
    )


def _call(call: CallRecord, now: float) -> CallRecord:
    """Return a call as it may be shown."""
    changed = {
        name: _shown(value)
        for name in _TEXTS
        if isinstance(value := getattr(call, name), str) and value
    }
    return msgspec.structs.replace(
        call,
        at=min(call.at, now),
        candidates=tuple(map(_shown, call.candidates)),
        audited=tuple(map(_shown, call.audited)),
        tries=tuple(
            msgspec.structs.replace(
                each,
                endpoint=_shown(each.endpoint),
                failure=None if each.failure is None else _shown(each.failure),
                detail=_shown(each.detail),
            )
            for each in call.tries
        ),
        **changed,
    )


def _span(span: SpanRecord, now: float) -> SpanRecord:
    """Return a span as it may be shown."""
    return msgspec.structs.replace(
        span,
        start=min(span.start, now),
        name=_shown(span.name),
        attributes={
            _shown(name[:MOST_ATTRIBUTE]): _shown(value) if isinstance(value, str) else value
            for name, value in span.attributes.items()
        },
    )


_TEXTS = tuple(
    name
    for name in CallRecord.__struct_fields__
    if name not in ("candidates", "audited", "tries", "trace_id", "direction", "outcome")
)


def _shown(text: str) -> str:
    return legible(text[:MOST_PATH])[:_MOST_TEXT]


def _is_hex(text: str, length: int) -> bool:
    return len(text) == length and not text.strip(_ID)


def _is_time(seconds: float) -> bool:
    return isfinite(seconds) and 0 <= seconds < _MOST_TIME
