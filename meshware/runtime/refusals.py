"""Tell the log why the mesh refused a call: one record for each refusal, never more than a few.

The caller learns a status and a word; whoever reads the log of `meshware.refused` learns which rule
decided, where it is written, about whom and about which paths. A flood of refused calls must not
become a flood of lines, so beyond a number of them in a second they are counted and told as one.

What a caller wrote stands in a record escaped: a line end in a path makes no line of its own.
Neither headers nor tokens are ever in it.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from typing import Any

from meshware.events import Event, InboundEvent
from meshware.telemetry.redaction import without_secrets, without_tokens

__all__ = ["MOST_A_SECOND", "RefusalLog", "decision_of"]

MOST_A_SECOND = 20
"""Records in any one second."""

_MOST_CHARACTERS = 200  # of one value
_log = logging.getLogger("meshware.refused")
_marked = logging.getLogger("meshware.marked")


def decision_of(event: InboundEvent) -> dict[str, Any]:
    """Return the decision record of a refusal, by what `meshware explain` calls its parts."""
    return {
        "status": event.status,
        "reason": event.reason,
        "detail": event.detail,
        "policy": event.policy,
        "rule": event.rule,
        "place": event.place,
        "principal": event.principal,
        "request_principal": event.request_principal,
        "source_ip": event.source_ip,
        "method": event.method,
        "host": without_secrets(event.host),
        "path": without_tokens(event.path),
        "candidates": [without_tokens(path) for path in event.candidates],
        "audited": list(event.audited) or None,
        "shadow": event.shadow,
        "shadow_policy": event.shadow_policy,
        "generation": event.generation,
        "request_id": event.request_id,
    }


class RefusalLog:
    """An event sink that logs refusals. Safe to use from any thread.

    The record is also the log record's attribute `meshware`, for formatters of JSON.

    Args:
        monotonic: time in seconds.
    """

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._second = 0
        self._told = 0
        self._left_out = 0
        # Taken without waiting: an event may come in garbage collection, on a thread that has it.
        self._lock = threading.Lock()

    def __call__(self, event: Event) -> None:
        """Log refusals and marked calls; other events are none of its business."""
        if not isinstance(event, InboundEvent):
            return
        # A refusal is no reason to leave out the mark of it, for whoever looks at those alone.
        if event.is_refused:
            self._tell(event, _log, logging.WARNING, "refused")
        if _is_marked(event):
            self._tell(event, _marked, logging.INFO, "marked")

    def _tell(self, event: InboundEvent, log: logging.Logger, level: int, what: str) -> None:
        if not log.isEnabledFor(level):
            return
        left_out = self._take()
        if left_out is None:
            return
        if left_out:
            log.log(level, "%d more calls were %s and not told one by one", left_out, what)
        decision = decision_of(event)
        log.log(level, "%s", _line(decision), extra={"meshware": decision})

    def _take(self) -> int | None:
        """Return how many refusals were left out before this one; None: leave it out, too."""
        if not self._lock.acquire(blocking=False):
            return None
        try:
            second = int(self._monotonic())
            if second != self._second:
                self._second, self._told = second, 0
            if self._told >= MOST_A_SECOND:
                self._left_out += 1
                return None
            self._told += 1
            left_out, self._left_out = self._left_out, 0
            return left_out
        finally:
            self._lock.release()


def _is_marked(event: InboundEvent) -> bool:
    """Say whether a call is audited, or policies on trial would decide it otherwise."""
    if event.audited:
        return True
    return event.shadow is not None and (event.shadow == "deny") is not event.is_refused


def _line(decision: Mapping[str, Any]) -> str:
    words = [
        f"{name}={_written(decision[name])}"
        for name in decision
        if decision[name] is not None and name not in ("status", "method", "host", "path")
    ]
    what = f"{_text(decision['method'])} {_text(decision['host'] + decision['path'])}"
    return f"{decision['status']} {what} {' '.join(words)}"


def _written(value: object) -> str:
    if isinstance(value, list):
        return "[" + ",".join(_text(str(each)) for each in value[:4]) + "]"
    return _text(str(value))


def _text(value: str) -> str:
    """Return a value on one line, in ASCII, without blanks to mistake for a next word."""
    cut = value[:_MOST_CHARACTERS] + ("..." if len(value) > _MOST_CHARACTERS else "")
    if cut.isascii() and cut.isprintable() and " " not in cut:
        return cut
    return ascii(cut)
