"""What must cost little, on a machine that does other things as well."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

import pytest

T = TypeVar("T")

_TRIES = 3  # a cold cache, or a collection of garbage, comes once


def cheaply(work: Callable[[], T], most_s: float = 0.05) -> T:
    """Do something, and make sure that it can be done in so much CPU time."""
    took = []
    for _ in range(_TRIES):
        begin = time.thread_time()
        result = work()
        took.append(time.thread_time() - begin)
        if took[-1] < most_s:
            return result
    raise AssertionError(f"it took {took} s of CPU each time, and not {most_s}")


def raised(kind: type[Exception], work: Callable[[], object]) -> Exception:
    """Do what must fail, and return how it did."""
    with pytest.raises(kind) as caught:
        work()
    return caught.value
