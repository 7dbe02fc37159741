"""CEL's arithmetic: which kinds go together, what comes of them, and of which kind that is.

One table says it where policy is loaded, of the kinds that show there, and where a call is asked
about, of values. Errors are as in `cel_values`. Source: the CEL specification, "Standard
Definitions".
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from meshware.policy.cel_tree import Uint
from meshware.policy.cel_values import kind_of

__all__ = ["ARITHMETIC", "NEGATIVE", "arithmetic", "fits", "negative", "results_of"]

_INT = (-(2**63), 2**63 - 1)
_UINT = (0, 2**64 - 1)
_MOST_TEXT = 65536  # characters that a sum of texts may have

_Do = Callable[[Any, Any], object]


def fits(value: int, is_unsigned: bool) -> int:
    """Return a whole number that is of 64 bits.

    Raises:
        ValueError: it is beyond them.
    """
    low, high = _UINT if is_unsigned else _INT
    if not low <= value <= high:
        raise ValueError("the number does not fit into 64 bits")
    return Uint(value) if is_unsigned else value


def _joined(left: Any, right: Any) -> object:
    total = left + right
    if len(total) > _MOST_TEXT:
        raise ValueError("the sum is too long")
    return total


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


def _left_over(left: float, right: float) -> float:
    return left - right * _divided(left, right)


def _whole(do: Callable[[int, int], float], *, is_unsigned: bool) -> _Do:
    return lambda left, right: fits(int(do(left, right)), is_unsigned)


def _of_numbers(sign: str, do: Callable[[float, float], float]) -> dict[_Kinds, tuple[str, _Do]]:
    return {
        (sign, "int", "int"): ("int", _whole(do, is_unsigned=False)),
        (sign, "uint", "uint"): ("uint", _whole(do, is_unsigned=True)),
        (sign, "double", "double"): ("double", do),
    }


_Kinds = tuple[str, str, str]

ARITHMETIC: Mapping[_Kinds, tuple[str, _Do]] = MappingProxyType(
    {
        **_of_numbers("+", operator.add),
        **_of_numbers("-", operator.sub),
        **_of_numbers("*", operator.mul),
        **_of_numbers("/", _divided),
        ("%", "int", "int"): ("int", _whole(_left_over, is_unsigned=False)),
        ("%", "uint", "uint"): ("uint", _whole(_left_over, is_unsigned=True)),
        ("+", "string", "string"): ("string", _joined),
        ("+", "bytes", "bytes"): ("bytes", _joined),
        ("+", "list", "list"): ("list", _joined),
        ("+", "timestamp", "duration"): ("timestamp", operator.add),
        ("+", "duration", "timestamp"): ("timestamp", operator.add),
        ("+", "duration", "duration"): ("duration", operator.add),
        ("-", "timestamp", "timestamp"): ("duration", operator.sub),
        ("-", "timestamp", "duration"): ("timestamp", operator.sub),
        ("-", "duration", "duration"): ("duration", operator.sub),
    }
)
"""Sign and the kinds on its two sides -> the kind of what comes of them, and how."""

NEGATIVE = ("int", "double", "duration")
"""Kinds of which there is an opposite; it is of the same kind."""


def results_of(sign: str, left: str | None, right: str | None) -> frozenset[str]:
    """Return the kinds that may come of two; none: they do not go together.

    Args:
        sign: between them.
        left: the kind on this side; None: it does not show yet.
        right: likewise.
    """
    return frozenset(
        kind
        for (of, first, second), (kind, _) in ARITHMETIC.items()
        if of == sign and left in (None, first) and right in (None, second)
    )


def arithmetic(sign: str) -> Callable[[object, object], object]:
    """Return what works out a sum, difference, product, quotient or rest."""

    def work_out(left: object, right: object) -> object:
        found = ARITHMETIC.get((sign, kind_of(left), kind_of(right)))
        if found is None:
            raise TypeError(f"{kind_of(left)} and {kind_of(right)} do not go together")
        return found[1](left, right)

    return work_out


def negative(value: Any) -> object:
    """Return the opposite of a number or duration."""
    kind = kind_of(value)
    if kind not in NEGATIVE:
        raise TypeError(f"{kind} has no opposite")
    return fits(-value, False) if kind == "int" else -value
