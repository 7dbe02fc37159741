"""Durations as Go and protobuf write them."""

from __future__ import annotations

import re

__all__ = ["parse_duration"]

_DURATION = re.compile(r"(?:[0-9]+(?:\.[0-9]*)?(?:h|ms|us|µs|ns|m|s))+")  # noqa: RUF001
_DURATION_PART = re.compile(r"([0-9]+(?:\.[0-9]*)?)(h|ms|us|µs|ns|m|s)")  # noqa: RUF001
_UNIT_S = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9}  # noqa: RUF001
_LONGEST_S = 9_223_372_036.0  # 292 years: what Go's durations and the timers of systems hold


def parse_duration(text: str) -> float:
    """Return the seconds of a duration as Go and protobuf write it: `1h`, `1m30s`, `0.5s`, `10ms`.

    Raises:
        ValueError: it is not one.
    """
    if len(text) > 40 or not _DURATION.fullmatch(text):
        raise ValueError(text)
    seconds = sum(float(number) * _UNIT_S[unit] for number, unit in _DURATION_PART.findall(text))
    if seconds > _LONGEST_S:
        raise ValueError(text)
    return seconds
