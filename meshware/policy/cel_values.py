"""What CEL's operators and functions do with values.

=============  ===============================================
CEL            here
=============  ===============================================
int, uint      `int`, `Uint`; 64 bits, beyond which is an error
double         `float`
string, bytes  `str`, `bytes`
bool, null     `bool`, `None`
list, map      `tuple`, `Table`, or what attributes give as a map
timestamp      aware `datetime`
duration       `timedelta`
=============  ===============================================

Everything raises `TypeError` for kinds that do not go together, `ValueError` for values that do
not, and `KeyError` for what a map does not have. Source: the CEL specification.
"""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Any

from meshware.policy.cel_tree import Uint
from meshware.policy.durations import parse_duration

__all__ = [
    "ARITHMETIC",
    "COMPARISONS",
    "FUNCTIONS",
    "METHODS",
    "Table",
    "equal",
    "index",
    "is_in",
    "negative",
    "shown",
]

_INT = (-(2**63), 2**63 - 1)
_UINT = (0, 2**64 - 1)
_MOST_TEXT = 65536  # characters that a sum of texts may have
_WHOLE = re.compile(r"[+-]?[0-9]{1,20}")
_REAL = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]{1,4})?|[+-]?(inf|nan)", re.I)
_INSTANT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d)", re.ASCII)


class Table(dict[object, object]):
    """A map literal. Keys of unlike kinds stay apart: `true` is not `1`."""

    def __init__(self, pairs: Iterable[tuple[object, object]]) -> None:
        for key, value in pairs:
            plain = _key(key)
            if plain in self:
                raise ValueError(f"the map has {key!r} twice")
            self[plain] = value


def _key(key: object) -> object:
    if isinstance(key, bool):
        return ("bool", key)
    if isinstance(key, int | str) or (isinstance(key, float) and key.is_integer()):
        return key
    raise TypeError("a key is a text, a whole number or a truth value")


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _kind(value: object) -> str:
    for kind, name in _KINDS:
        if isinstance(value, kind):
            return name
    return "null" if value is None else "map"


_KINDS: tuple[tuple[type, str], ...] = (
    (bool, "bool"), (Uint, "uint"), (int, "int"), (float, "double"), (str, "string"),
    (bytes, "bytes"), (tuple, "list"), (datetime, "timestamp"), (timedelta, "duration"),
)  # fmt: skip


# --- comparison -------------------------------------------------------------------------------


def equal(left: object, right: object) -> bool:
    """Say whether two values are equal; those of unlike kinds are not, but for numbers."""
    if _is_number(left) and _is_number(right):
        return left == right
    if _kind(left) != _kind(right):
        return False
    if isinstance(left, tuple) and isinstance(right, tuple):
        return len(left) == len(right) and all(map(equal, left, right))
    if isinstance(left, Table) and isinstance(right, Table):
        return left.keys() == right.keys() and all(equal(left[key], right[key]) for key in left)
    return left == right


def _ordered(compare: Callable[[Any, Any], bool]) -> Callable[[object, object], bool]:
    def decide(left: object, right: object) -> bool:
        if _is_number(left) and _is_number(right):
            return compare(left, right)
        kind = _kind(left)
        if kind != _kind(right) or kind in ("null", "map", "list"):
            raise TypeError(f"{kind} and {_kind(right)} have no order")
        return compare(left, right)

    return decide


COMPARISONS: Mapping[str, Callable[[object, object], bool]] = MappingProxyType(
    {
        "==": equal,
        "!=": lambda left, right: not equal(left, right),
        "<": _ordered(lambda left, right: left < right),
        "<=": _ordered(lambda left, right: left <= right),
        ">": _ordered(lambda left, right: left > right),
        ">=": _ordered(lambda left, right: left >= right),
    }
)


def is_in(item: object, of: object) -> bool:
    """Say whether a list or map has an item or key."""
    if isinstance(of, tuple):
        return any(equal(item, each) for each in of)
    if isinstance(of, Table):
        return _key(item) in of
    if _kind(of) != "map":
        raise TypeError(f"{_kind(of)} has nothing in it")
    return item in of  # type: ignore[operator]


def index(of: object, key: object) -> object:
    """Return a member of a list or map."""
    if isinstance(of, tuple):
        if not isinstance(key, int) or isinstance(key, bool):
            raise TypeError("the index of a list is a whole number")
        if not 0 <= key < len(of):
            raise ValueError("the list is shorter")
        return of[key]
    if isinstance(of, Table):
        return of[_key(key)]
    if _kind(of) != "map":
        raise TypeError(f"{_kind(of)} has no members")
    return of[key]  # type: ignore[index]


# --- arithmetic -------------------------------------------------------------------------------


def _fits(value: int, is_unsigned: bool) -> int:
    low, high = _UINT if is_unsigned else _INT
    if not low <= value <= high:
        raise ValueError("the number does not fit into 64 bits")
    return Uint(value) if is_unsigned else value


def _add(left: Any, right: Any) -> object:
    match left, right:
        case (str(), str()) | (bytes(), bytes()) | (tuple(), tuple()):
            total: Any = left + right
            if len(total) > _MOST_TEXT:
                raise ValueError("the sum is too long")
            return total
        case (datetime() | timedelta(), timedelta()) | (timedelta(), datetime()):
            return left + right
    return _numbers(left, right, operator.add)


def _subtract(left: Any, right: Any) -> object:
    match left, right:
        case (datetime(), datetime()) | (datetime() | timedelta(), timedelta()):
            return left - right
    return _numbers(left, right, operator.sub)


def _numbers(left: object, right: object, do: Callable[[float, float], float]) -> object:
    kind = _kind(left)
    if kind != _kind(right) or kind not in ("int", "uint", "double"):
        raise TypeError(f"{kind} and {_kind(right)} do not go together")
    assert isinstance(left, int | float) and isinstance(right, int | float)
    result = do(left, right)
    return _fits(int(result), kind == "uint") if kind != "double" else result


def _divided(left: float, right: float) -> float:
    if isinstance(left, int) and isinstance(right, int):
        if right == 0:
            raise ValueError("division by zero")
        whole = abs(left) // abs(right)
        return whole if (left < 0) == (right < 0) else -whole  # towards zero
    if right == 0:
        sign = math.copysign(1, left) * math.copysign(1, right)
        return math.nan if left == 0 or math.isnan(left) else math.copysign(math.inf, sign)
    return left / right


def _left_over(left: object, right: object) -> object:
    if isinstance(left, float) or isinstance(right, float):
        raise TypeError("% is for whole numbers")
    return _numbers(left, right, lambda a, b: a - b * _divided(a, b))


ARITHMETIC: Mapping[str, Callable[[object, object], object]] = MappingProxyType(
    {
        "+": _add,
        "-": _subtract,
        "*": lambda left, right: _numbers(left, right, operator.mul),
        "/": lambda left, right: _numbers(left, right, _divided),
        "%": _left_over,
    }
)


def negative(value: object) -> object:
    """Return the opposite of a number or duration."""
    if isinstance(value, timedelta | float):
        return -value
    if _kind(value) != "int":
        raise TypeError(f"{_kind(value)} has no opposite")
    assert isinstance(value, int)
    return _fits(-value, False)


# --- functions --------------------------------------------------------------------------------


def _size(value: object) -> int:
    if isinstance(value, str | bytes | tuple | Table):
        return len(value)
    raise TypeError(f"{_kind(value)} has no size")


def _to_int(value: object) -> int:
    match value:
        case bool():
            raise TypeError("a truth value is no number")
        case int():
            return _fits(int(value), False)
        case float():
            if not math.isfinite(value):
                raise ValueError("the number is not finite")
            return _fits(int(value), False)
        case str() if _WHOLE.fullmatch(value):
            return _fits(int(value), False)
        case datetime():
            return math.floor(value.timestamp())
        case timedelta():
            return int(value.total_seconds())
        case str():
            raise ValueError("the text is no whole number")
    raise TypeError(f"{_kind(value)} is no number")


def _to_uint(value: object) -> int:
    if isinstance(value, datetime | timedelta):
        raise TypeError("it is no number")
    if isinstance(value, Uint):
        return value
    if isinstance(value, str) and _WHOLE.fullmatch(value):
        return _fits(int(value), True)
    if isinstance(value, float) and math.isfinite(value):
        return _fits(int(value), True)
    return _fits(_to_int(value), True)


def _to_double(value: object) -> float:
    if _is_number(value):
        return float(value)  # type: ignore[arg-type]
    if isinstance(value, str):
        if not _REAL.fullmatch(value):
            raise ValueError("the text is no number")
        return float(value)
    raise TypeError(f"{_kind(value)} is no number")


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
    raise TypeError(f"{_kind(value)} is no text")


def _to_duration(value: object) -> timedelta:
    if isinstance(value, timedelta):
        return value
    if not isinstance(value, str):
        raise TypeError(f"{_kind(value)} is no duration")
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
        raise TypeError(f"{_kind(value)} is no timestamp")
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
