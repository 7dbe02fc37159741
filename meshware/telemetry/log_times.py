"""Operators of access logs that tell when something was, and how long it took.

Source: Envoy, "Substitution Formatter".
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from meshware.policy.log_time import compile_time
from meshware.telemetry.log_entry import Entry, Maker, Value, ValueOf

__all__ = ["MAKERS", "PLAIN", "time_maker"]


def time_maker(at: Callable[[Entry], datetime | None], *, is_local: bool = False) -> Maker:
    """Return what makes a time of a format, in UTC or as the machine has it."""

    def maker(argument: str) -> ValueOf:
        stamp = compile_time(argument, is_local=is_local)

        def value(entry: Entry) -> Value:
            found = at(entry)
            return None if found is None else stamp(found)

        return value

    return maker


def _whole(seconds: float | None, a_second: int = 1000) -> int | None:
    """Return a whole number of units, less than one of them cut off, as Envoy does."""
    if seconds is None:
        return None
    return round(seconds * 10**9) // (10**9 // a_second)  # floats are a little off


def _after_answer(entry: Entry) -> Value:
    answered = entry.answered_s
    return None if answered is None else _whole(max(0.0, entry.event.duration_s - answered))


_POINTS: dict[str, Callable[[Entry], float | None]] = {
    "DS_RX_BEG": lambda _: 0.0,
    "US_TX_BEG": lambda entry: entry.attempt_s,
    "US_RX_BEG": lambda entry: entry.answered_s,
    "DS_TX_BEG": lambda entry: entry.answered_s,
    "DS_TX_END": lambda entry: entry.event.duration_s,
}


def _duration_between(argument: str) -> ValueOf:
    begin, end, *precision = argument.split(":")
    a_second = {"ms": 10**3, "us": 10**6, "ns": 10**9}[precision[0] if precision else "ms"]
    begins, ends = _POINTS[begin], _POINTS[end]

    def value(entry: Entry) -> Value:
        begun, ended = begins(entry), ends(entry)
        if begun is None or ended is None or ended < begun:
            return None
        return _whole(ended - begun, a_second)

    return value


MAKERS: dict[str, Maker] = {
    "START_TIME": time_maker(lambda entry: entry.started_at),
    "START_TIME_LOCAL": time_maker(lambda entry: entry.started_at, is_local=True),
    "EMIT_TIME": time_maker(lambda entry: entry.ended_at),
    "EMIT_TIME_LOCAL": time_maker(lambda entry: entry.ended_at, is_local=True),
    "COMMON_DURATION": _duration_between,
}

PLAIN: dict[str, ValueOf] = {
    "DURATION": lambda entry: _whole(entry.event.duration_s),
    "REQUEST_DURATION": lambda entry: _whole(entry.request_end_s),
    "RESPONSE_DURATION": lambda entry: _whole(entry.answered_s),
    "RESPONSE_TX_DURATION": _after_answer,
}
