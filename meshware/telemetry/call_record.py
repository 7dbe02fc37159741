"""What is kept of a call that was refused or failed: enough to say why, and no secret.

Tokens, values of headers, query strings and bodies are never in it. Every text is cut, so that a
record has a size that is known.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import msgspec

from meshware.call import Flag, HeaderLookup, current_call
from meshware.events import InboundEvent, OutboundEvent, Try
from meshware.telemetry.code_details import outbound_details
from meshware.telemetry.redaction import without_queries, without_secrets, without_tokens
from meshware.trace import Propagation, read_context

__all__ = [
    "MOST_LISTED",
    "MOST_PATH",
    "MOST_TEXT",
    "CallRecord",
    "TryRecord",
    "is_inbound_trouble",
    "is_outbound_trouble",
    "of_call",
]

MOST_TEXT = 256
"""Characters of a text."""

MOST_PATH = 512
"""Characters of a path, of which the end often matters."""

MOST_LISTED = 8
"""Of attempts (and then the last is one of them), of paths that a call may mean, and so on."""

_SERVER_ERROR = 500

# Not failures by themselves: a call that was only delayed on purpose, or whose caller had enough.
_HARMLESS = frozenset({"-", Flag.DELAY_INJECTED.value, Flag.DOWNSTREAM_CLOSED.value})

_FORMATS: tuple[Propagation, ...] = ("w3c", "b3", "b3multi")


class TryRecord(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One attempt of an outbound call."""

    number: int  # from 1
    endpoint: str
    began_s: float  # since the call began
    duration_s: float
    status: int = 0  # 0: no response headers came
    failure: str | None = None
    detail: str = ""


class CallRecord(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One call that was refused or failed.

    `number` counts the records of a process, from 1; `left_out` says how many calls were not kept
    between the record before and this one.
    """

    number: int
    at: float  # unix seconds, when it was over
    direction: Literal["inbound", "outbound"]
    outcome: Literal["refused", "failed"]  # by the mesh here; by whoever was called
    method: str
    host: str  # as the caller wrote it
    path: str  # as received, encoded, without its query
    status: int  # 0: there was no response
    reason: str  # Envoy's response code details
    duration_s: float
    generation: int  # of the policy that decided; 0: there was none
    scheme: str = "http"
    port: int | None = None
    flags: str = "-"
    request_id: str | None = None
    trace_id: str | None = None
    route: str | None = None  # the framework's template; outbound, the VirtualService's route
    left_out: int = 0
    # Inbound.
    policy: str | None = None  # "ns/name"
    rule: int | None = None
    place: str | None = None  # "file:line"
    principal: str | None = None  # who called, without scheme, as far as that is proved
    proved_by: str | None = None
    request_principal: str | None = None  # "iss/sub" of the verified token
    source_ip: str | None = None
    candidates: tuple[str, ...] = ()
    audited: tuple[str, ...] = ()
    shadow: str | None = None
    shadow_policy: str | None = None
    exception: str | None = None  # the type of what the app raised
    # Outbound.
    service: str | None = None  # "host:port"
    cluster: str | None = None
    attempts: int = 0
    endpoint: str | None = None  # of the last attempt
    tries: tuple[TryRecord, ...] = ()


def of_call(
    event: InboundEvent | OutboundEvent, number: int, at: float, left_out: int = 0
) -> CallRecord:
    """Return the record of a call.

    Args:
        event: how it went; the caller has asked whether it is worth a record.
        number: of this record.
        at: unix seconds.
        left_out: calls that were not kept since the record before.
    """
    if isinstance(event, InboundEvent):
        return _inbound(event, number, at, left_out)
    return _outbound(event, number, at, left_out)


def is_inbound_trouble(event: InboundEvent) -> bool:
    """Say whether the mesh refused a call, or the app failed. A caller that left is neither."""
    passage = event.passage
    return (
        event.status >= _SERVER_ERROR
        or passage.is_refused
        or passage.exception is not None
        or (event.flag is not None and event.flag is not Flag.DOWNSTREAM_CLOSED)
    )


def is_outbound_trouble(event: OutboundEvent) -> bool:
    """Say whether a call failed, or its caller gave up before there was an answer.

    A copy for a mirror is none: nobody waits for its answer.
    """
    if event.is_mirror:
        return False
    if event.status >= _SERVER_ERROR or not event.status:
        return True
    return event.flags != "-" and not _HARMLESS.issuperset(event.flags.split(","))


def _inbound(event: InboundEvent, number: int, at: float, left_out: int) -> CallRecord:
    head, peer = event.head, event.peer
    principal = event.principal
    if principal is None and peer is not None:
        principal = peer.id.removeprefix("spiffe://")
    call = event.call
    trace_id = event.trace_id or (None if call is None else call.trace_id)
    if trace_id is None and call is None:
        trace_id = _trace_id(head.headers)
    return CallRecord(
        number=number,
        at=at,
        direction="inbound",
        outcome="refused" if event.is_refused else "failed",
        method=_cut(event.method),
        host=_cut(without_secrets(event.host)),
        path=_cut(without_tokens(event.path), MOST_PATH),
        status=event.status,
        reason=_cut(event.reason),
        duration_s=event.duration_s,
        generation=event.generation,
        scheme=_cut(head.scheme),
        port=head.port,
        flags=event.flags,
        request_id=_some(event.request_id),
        trace_id=trace_id,
        route=_some(event.route),
        left_out=left_out,
        policy=_some(event.policy),
        rule=event.rule,
        place=_some(event.place),
        principal=_some(principal),
        proved_by=None if peer is None else peer.proved_by,
        request_principal=_some(event.request_principal),
        source_ip=_some(event.source_ip),
        candidates=_several(map(without_tokens, event.candidates[:MOST_LISTED]), MOST_PATH),
        audited=_several(event.audited[:MOST_LISTED]),
        shadow=event.shadow,
        shadow_policy=_some(event.shadow_policy),
        exception=_some(event.exception),
    )


def _outbound(event: OutboundEvent, number: int, at: float, left_out: int) -> CallRecord:
    head = event.head
    call = (None if head is None else head.call) or current_call()
    trace_id = event.trace_id or (None if call is None else call.trace_id)
    if trace_id is None and head is not None:
        trace_id = _trace_id(head.headers)
    return CallRecord(
        number=number,
        at=at,
        direction="outbound",
        outcome="failed" if event.attempts else "refused",
        method=_cut(event.method),
        host=_cut(without_secrets(event.service if head is None else head.host)),
        path="" if head is None else _cut(without_tokens(head.target.partition("?")[0]), MOST_PATH),
        status=event.status,
        reason=outbound_details(event, has_library=False),
        duration_s=event.duration_s,
        generation=event.generation,
        scheme="http" if head is None else _cut(head.scheme),
        port=None if head is None else head.port,
        flags=event.flags,
        request_id=None if call is None else _some(call.request_id),
        trace_id=trace_id,
        route=_some(event.route),
        left_out=left_out,
        service=_some(without_secrets(event.service)),
        cluster=_some(event.cluster) or None,
        attempts=event.attempts,
        endpoint=_some(event.endpoint),
        tries=tuple(
            map(_try, (*event.tries[: MOST_LISTED - 1], *event.tries[MOST_LISTED - 1 :][-1:]))
        ),
    )


def _try(tried: Try) -> TryRecord:
    return TryRecord(
        number=tried.number,
        endpoint=_cut(tried.endpoint),
        began_s=tried.began_s,
        duration_s=tried.duration_s,
        status=tried.status,
        failure=_some(tried.failure),
        detail=_cut(without_queries(tried.detail)),
    )


def _trace_id(headers: HeaderLookup) -> str | None:
    context = read_context(headers, _FORMATS)
    return None if context is None else context.trace_id or None


def _several(texts: Iterable[str], most: int = MOST_TEXT) -> tuple[str, ...]:
    return tuple(_cut(text, most) for text in texts)


def _some(text: str | None) -> str | None:
    return None if text is None else _cut(text)


def _cut(text: str, most: int = MOST_TEXT) -> str:
    """Return a text that is not too long, and that UTF-8 can hold whatever an app made of it."""
    if len(text) > most:
        text = text[: most - 3] + "..."
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()
