"""Formats of times in access logs: what `%START_TIME(...)%` takes, compiled.

They are those of `strftime` in the C locale, whatever the process's own is, with Envoy's and
Abseil's additions: `%s`, `%f`, `%3f`, `%E3S`, `%E*S`, `%E4Y`, `%Ez`, `%ET`.
Source: Envoy, `DateFormatter`; Abseil, `FormatTime`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime

__all__ = ["Stamp", "compile_time", "complaint_about_time"]

Stamp = Callable[[datetime], str]
"""Write a time, an aware one."""

_DIRECTIVE = re.compile(
    r"%(?:(?P<digits>[1-9])?f|E(?P<width>[0-9]{1,2}|\*)(?P<of>[Sf])|E(?P<e>4Y|\*?z|T)"
    r"|(?P<flags>[-_0^#]*)(?P<letter>[A-Za-z%])|(?P<bad>.?))",
    re.DOTALL,
)
_DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_MONTHS = (
    "January", "February", "March", "April", "May", "June", "July", "August", "September",
    "October", "November", "December",
)  # fmt: skip


def _number(of: Callable[[datetime], int], width: int, fill: str = "0") -> Stamp:
    return lambda at: str(of(at)).rjust(width, fill)


def _together(*letters: str) -> Stamp:
    """Return what writes several directives; other letters stand for themselves."""
    stamps = [_LETTERS.get(letter) for letter in letters]
    return lambda at: "".join(
        letter if stamp is None else stamp(at)
        for letter, stamp in zip(letters, stamps, strict=True)
    )


def _hour12(at: datetime) -> int:
    return at.hour % 12 or 12


def _zone(at: datetime) -> str:
    return at.strftime("%z")[:5]


def _zone_name(at: datetime) -> str:
    return at.tzname() or "UTC"


_LETTERS: dict[str, Stamp] = {
    "%": lambda _: "%",
    "t": lambda _: "\t",
    "Y": _number(lambda at: at.year, 1),
    "C": _number(lambda at: at.year // 100, 2),
    "y": _number(lambda at: at.year % 100, 2),
    "G": _number(lambda at: at.isocalendar().year, 1),
    "g": _number(lambda at: at.isocalendar().year % 100, 2),
    "m": _number(lambda at: at.month, 2),
    "d": _number(lambda at: at.day, 2),
    "e": _number(lambda at: at.day, 2, " "),
    "H": _number(lambda at: at.hour, 2),
    "k": _number(lambda at: at.hour, 2, " "),
    "I": _number(_hour12, 2),
    "l": _number(_hour12, 2, " "),
    "M": _number(lambda at: at.minute, 2),
    "S": _number(lambda at: at.second, 2),
    "j": _number(lambda at: at.timetuple().tm_yday, 3),
    "u": _number(lambda at: at.isoweekday(), 1),
    "w": _number(lambda at: at.isoweekday() % 7, 1),
    "V": _number(lambda at: at.isocalendar().week, 2),
    "U": lambda at: at.strftime("%U"),
    "W": lambda at: at.strftime("%W"),
    "a": lambda at: _DAYS[at.weekday()][:3],
    "A": lambda at: _DAYS[at.weekday()],
    "b": lambda at: _MONTHS[at.month - 1][:3],
    "h": lambda at: _MONTHS[at.month - 1][:3],
    "B": lambda at: _MONTHS[at.month - 1],
    "p": lambda at: "AM" if at.hour < 12 else "PM",
    "P": lambda at: "am" if at.hour < 12 else "pm",
    "z": _zone,
    "Z": _zone_name,
    "s": lambda at: str(int(at.timestamp())),
}
_LETTERS["D"] = _LETTERS["x"] = _together(*"m/d/y")
_LETTERS["F"] = _together(*"Y-m-d")
_LETTERS["T"] = _LETTERS["X"] = _together(*"H:M:S")
_LETTERS["R"] = _together(*"H:M")
_LETTERS["r"] = _together(*"I:M:S p")
_LETTERS["c"] = _together("a", " ", "b", " ", "e", " ", "T", " ", "Y")


def complaint_about_time(written: str) -> str | None:
    """Return what is wrong with a format, and its remedy; None: nothing."""
    for found in _DIRECTIVE.finditer(written):
        letter = found["letter"]
        if letter == "n":
            return "%n would begin a new line within the log's line; remove it"
        if found["bad"] is not None or (letter is not None and letter not in _LETTERS):
            return (
                f"there is no directive {found[0]!r}; write those of strftime, %s for seconds "
                "since the epoch, %3f for milliseconds, or %% for a percent sign"
            )
    return None


def compile_time(written: str, *, is_local: bool = False) -> Stamp:
    """Return what writes times in a format.

    Args:
        written: "": Envoy's own, `2026-01-31T23:59:59.123Z`.
        is_local: in the time zone of the process; else UTC.

    Raises:
        ValueError: there is no such format.
    """
    wrong = complaint_about_time(written)
    if wrong is not None:
        raise ValueError(wrong)
    if not written and not is_local:
        # Of every line by default: the shortest way.
        return lambda at: at.isoformat(timespec="milliseconds")[:23] + "Z"
    parts: list[str | Stamp] = []
    last = 0
    for found in _DIRECTIVE.finditer(written or "%Y-%m-%dT%H:%M:%E3S%z"):
        text = (written or "%Y-%m-%dT%H:%M:%E3S%z")[last : found.start()]
        parts += [text] if text else []
        parts.append(_stamp(found))
        last = found.end()
    rest = written[last:] if written else ""
    if rest:
        parts.append(rest)

    def stamp(at: datetime) -> str:
        if is_local:
            at = at.astimezone()
        return "".join(part if isinstance(part, str) else part(at) for part in parts)

    return stamp


def _stamp(found: re.Match[str]) -> Stamp:
    if found["letter"] is not None:
        return _flagged(_LETTERS[found["letter"]], found["flags"])
    if found["e"] is not None:
        return _EXTENDED[found["e"]]
    width = found["width"]
    if width is None:  # %f, %3f
        return _fraction(int(found["digits"] or 9))
    if found["of"] == "f":  # %E3f, %E*f
        return _whole_fraction if width == "*" else _fraction(int(width))
    fraction = _whole_fraction if width == "*" else _fraction(int(width))

    def seconds(at: datetime) -> str:
        behind = fraction(at)
        # Abseil: no point where nothing is behind it.
        is_bare = width == "0" or (width == "*" and not at.microsecond)
        return f"{at.second:02}" if is_bare else f"{at.second:02}.{behind}"

    return seconds


def _fraction(digits: int) -> Stamp:
    """Return what writes the fraction of a second; clocks here know microseconds."""
    return lambda at: f"{at.microsecond:06}".ljust(digits, "0")[:digits]


def _whole_fraction(at: datetime) -> str:
    return f"{at.microsecond:06}".rstrip("0") or "0"


def _colon_zone(at: datetime) -> str:
    zone = _zone(at)
    return f"{zone[:3]}:{zone[3:]}"


_EXTENDED: dict[str, Stamp] = {
    "4Y": _number(lambda at: at.year, 4),
    "z": _colon_zone,
    "*z": lambda at: _colon_zone(at) + ":00",
    "T": lambda _: "T",
}


def _flagged(stamp: Stamp, flags: str) -> Stamp:
    """Return a directive with glibc's flags: `-` no padding, `_` blanks for it, `^` capitals."""
    if not flags:
        return stamp

    def flagged(at: datetime) -> str:
        text = stamp(at)
        if "-" in flags:
            text = text.lstrip("0 ") or "0"
        elif "_" in flags:
            bare = text.lstrip("0") or "0"
            text = bare.rjust(len(text))
        elif "0" in flags:
            text = text.replace(" ", "0")
        if "^" in flags:
            text = text.upper()
        elif "#" in flags:
            text = text.swapcase()
        return text

    return flagged
