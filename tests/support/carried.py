"""`meshware.install()` for one test: threads and executors carry the call, and then no more."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import meshware


@contextmanager
def installed() -> Iterator[None]:
    """Install within this block."""
    start, submit = threading.Thread.start, ThreadPoolExecutor.submit
    meshware.install()
    try:
        yield
    finally:
        threading.Thread.start, ThreadPoolExecutor.submit = start, submit  # type: ignore[method-assign]
