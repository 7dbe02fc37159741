"""Numbers as people read them, in as few characters as tell them apart; None is a dash."""

from __future__ import annotations

__all__ = ["age", "left", "milliseconds", "rate", "ratio", "share", "size"]

DASH = "-"


def rate(per_s: float | None) -> str:
    """Return calls a second: "0.4", "12", "3.4k"."""
    if per_s is None:
        return DASH
    if per_s >= 9_999.5:
        return f"{per_s / 1000:.0f}k"
    if per_s >= 999.5:
        return f"{per_s / 1000:.1f}k"
    if per_s >= 9.95:
        return f"{per_s:.0f}"
    if per_s >= 0.05:
        return f"{per_s:.1f}"
    return "<0.1" if per_s > 0 else "0"


def share(part: float | None) -> str:
    """Return a share of 0 to 1 in percent: "0%", "<0.1%", "3.4%", "27%"."""
    if part is None:
        return DASH
    percent = part * 100
    if percent >= 9.95:
        return f"{percent:.0f}%"
    if percent >= 0.05:
        return f"{percent:.1f}%"
    return "<0.1%" if percent > 0 else "0%"


def ratio(number: float | None) -> str:
    """Return how many of something come on one of another: "1.00"."""
    return DASH if number is None else f"{number:.2f}"


def milliseconds(ms: float | None) -> str:
    """Return a duration: "0.8 ms", "38 ms", "1.2 s"."""
    if ms is None:
        return DASH
    if ms >= 9_999.5:
        return f"{ms / 1000:.0f} s"
    if ms >= 999.5:
        return f"{ms / 1000:.1f} s"
    return f"{ms:.0f} ms" if ms >= 9.95 or ms == 0 else f"{ms:.1f} ms"


def size(count: int | None) -> str:
    """Return bytes in binary units: "48.2 MiB"."""
    if count is None:
        return DASH
    value, unit = float(count), "B"
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if value < 1023.95 or unit == "TiB":
            break
        value /= 1024
    return f"{value:.0f} {unit}" if unit == "B" or value >= 99.95 else f"{value:.1f} {unit}"


def age(seconds: float | None) -> str:
    """Return how long something is ago: "42 s", "3 min", "2 h 5 min", "4 d"."""
    if seconds is None:
        return DASH
    whole = int(max(seconds, 0.0))
    if whole < 90:
        return f"{whole} s"
    if whole < 5400:
        return f"{whole // 60} min"
    if whole < 172_800:
        hours, minutes = whole // 3600, whole % 3600 // 60
        return f"{hours} h {minutes} min" if minutes else f"{hours} h"
    return f"{whole // 86_400} d"


def left(seconds: float) -> str:
    """Return for how long something will still last; "ended" where it is over."""
    return "ended" if seconds <= 0 else age(seconds)
