"""What CEL's functions and methods do with values, and of which kind what they return is.

Kinds and errors are as in `cel_values`. Source: the CEL specification, "Standard Definitions".
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from types import MappingProxyType

from meshware.policy.cel_arithmetic import fits
from meshware.policy.cel_tree import Uint
from meshware.policy.cel_values import Table, is_number, kind_of
from meshware.policy.durations import parse_duration

__all__ = ["FUNCTIONS", "METHODS", "shown"]

_WHOLE = re.compile(r"[+-]?[0-9]{1,20}")
_REAL = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]{1,4})?|[+-]?(inf|nan)", re.I)
_INSTANT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d)", re.ASCII)


# --- functions --------------------------------------------------------------------------------


def _size(value: object) -> int:
    if isinstance(value, str | bytes | tuple | Table):
        return len(value)
    raise TypeError(f"{kind_of(value)} has no size")


def _to_int(value: object) -> int:
    match value:
        case bool():
            raise TypeError("a truth value is no number")
        case int():
            return fits(int(value), False)
        case float():
            if not math.isfinite(value):
                raise ValueError("the number is not finite")
            return fits(int(value), False)
        case str() if _WHOLE.fullmatch(value):
            return fits(int(value), False)
        case datetime():
            return math.floor(value.timestamp())
        case timedelta():
            return int(value.total_seconds())
        case str():
            raise ValueError("the text is no whole number")
    raise TypeError(f"{kind_of(value)} is no number")


def _to_uint(value: object) -> int:
    if isinstance(value, datetime | timedelta):
        raise TypeError("it is no number")
    if isinstance(value, Uint):
        return value
    if isinstance(value, str) and _WHOLE.fullmatch(value):
        return fits(int(value), True)
    if isinstance(value, float) and math.isfinite(value):
        return fits(int(value), True)
    return fits(_to_int(value), True)


def _to_double(value: object) -> float:
    if is_number(value):
        return float(value)  # type: ignore[arg-type]
    if isinstance(value, str):
        if not _REAL.fullmatch(value):
            raise ValueError("the text is no number")
        return float(value)
    raise TypeError(f"{kind_of(value)} is no number")


def _to_string(value: object) -> str:
    if value is None:
        raise TypeError("null is no text")
    return shown(value)


def shown(value: object) -> str:
    """Return a value as labels and texts have it.

    Raises:
        TypeError: it is a list or a map.
    """
    match value:
        case str():
            return value
        case bool():
            return "true" if value else "false"
        case None:
            return "null"
        case int():
            return str(int(value))
        case float():
            if value.is_integer() and abs(value) < 1e15:
                return str(int(value))
            return repr(value)
        case datetime():
            text = value.astimezone(UTC).replace(tzinfo=None).isoformat()
            return f"{text.rstrip('0') if '.' in text else text}Z"
        case timedelta():
            return f"{value.total_seconds():.6f}".rstrip("0").rstrip(".") + "s"
        case bytes():
            return value.decode()
    raise TypeError(f"{kind_of(value)} is no text")


def _to_duration(value: object) -> timedelta:
    if isinstance(value, timedelta):
        return value
    if not isinstance(value, str):
        raise TypeError(f"{kind_of(value)} is no duration")
    bare = value.removeprefix("-")
    try:
        span = timedelta(seconds=parse_duration(bare))
    except ValueError:
        raise ValueError("the text is no duration, such as 500ms, 1.5s or 1h") from None
    return -span if bare != value else span


def _to_timestamp(value: object) -> datetime:
    if isinstance(value, datetime):
        return value
    if isinstance(value, int) and not isinstance(value, bool | Uint):
        return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=value)
    if not isinstance(value, str):
        raise TypeError(f"{kind_of(value)} is no timestamp")
    found = _INSTANT.fullmatch(value)
    if found is None:
        raise ValueError("the text is no timestamp, such as 2026-01-02T03:04:05Z")
    fraction = (found[1] or "")[:7]  # microseconds
    zone = "+00:00" if found[2] == "Z" else found[2]
    return datetime.fromisoformat(value[:19] + fraction.ljust(7, "0") * bool(fraction) + zone)


def _to_bool(value: object) -> bool:
    if isinstance(value, bool):
        return value
    if value in ("true", "True", "TRUE", "t", "1") and isinstance(value, str):
        return True
    if value in ("false", "False", "FALSE", "f", "0") and isinstance(value, str):
        return False
    raise ValueError("it is neither true nor false")


FUNCTIONS: Mapping[str, tuple[Callable[[object], object], str]] = MappingProxyType(
    {
        "size": (_size, "int"),
        "int": (_to_int, "int"),
        "uint": (_to_uint, "uint"),
        "double": (_to_double, "double"),
        "string": (_to_string, "string"),
        "bool": (_to_bool, "bool"),
        "duration": (_to_duration, "duration"),
        "timestamp": (_to_timestamp, "timestamp"),
    }
)
"""Functions of one argument, each with the kind of what it returns."""


# --- methods ----------------------------------------------------------------------------------


def _on_texts(do: Callable[[str, str], bool]) -> Callable[..., object]:
    def method(of: object, argument: object) -> bool:
        if not isinstance(of, str) or not isinstance(argument, str):
            raise TypeError("it is no text")
        return do(of, argument)

    return method


def _on_text(do: Callable[[str], object]) -> Callable[..., object]:
    def method(of: object) -> object:
        if not isinstance(of, str):
            raise TypeError("it is no text")
        return do(of)

    return method


def _ascii(to_upper: bool) -> Callable[[str], str]:
    low, high = "abcdefghijklmnopqrstuvwxyz", "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
    table = str.maketrans(*((low, high) if to_upper else (high, low)))
    return lambda text: text.translate(table)


def _of_time(
    of_instant: Callable[[datetime], int], of_span: Callable[[timedelta], int] | None = None
) -> Callable[..., object]:
    def method(of: object) -> int:
        if isinstance(of, datetime):
            return of_instant(of.astimezone(UTC))
        if isinstance(of, timedelta) and of_span is not None:
            return of_span(of)
        raise TypeError("it is no time")

    return method


METHODS: Mapping[str, tuple[int, Callable[..., object], str]] = MappingProxyType(
    {
        "contains": (1, _on_texts(lambda text, part: part in text), "bool"),
        "startsWith": (1, _on_texts(str.startswith), "bool"),
        "endsWith": (1, _on_texts(str.endswith), "bool"),
        "size": (0, _size, "int"),
        "lowerAscii": (0, _on_text(_ascii(to_upper=False)), "string"),
        "upperAscii": (0, _on_text(_ascii(to_upper=True)), "string"),
        "getFullYear": (0, _of_time(lambda at: at.year), "int"),
        "getMonth": (0, _of_time(lambda at: at.month - 1), "int"),  # CEL counts from 0
        "getDate": (0, _of_time(lambda at: at.day), "int"),
        "getDayOfMonth": (0, _of_time(lambda at: at.day - 1), "int"),
        "getDayOfWeek": (0, _of_time(lambda at: at.isoweekday() % 7), "int"),
        "getDayOfYear": (0, _of_time(lambda at: at.timetuple().tm_yday - 1), "int"),
        "getHours": (
            0,
            _of_time(lambda at: at.hour, lambda span: int(span.total_seconds() / 3600)),
            "int",
        ),
        "getMinutes": (
            0,
            _of_time(lambda at: at.minute, lambda span: int(span.total_seconds() / 60)),
            "int",
        ),
        "getSeconds": (
            0,
            _of_time(lambda at: at.second, lambda span: int(span.total_seconds())),
            "int",
        ),
        "getMilliseconds": (
            0,
            _of_time(
                lambda at: at.microsecond // 1000, lambda span: span // timedelta(milliseconds=1)
            ),
            "int",
        ),
    }
)
"""Methods: how many arguments each takes, what it does, and the kind of what it returns."""
