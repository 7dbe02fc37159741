"""Readers of the shop who go on while it is kept open: its dashboard has something to show."""

from __future__ import annotations

import itertools
import threading

from meshware.demo.load import fetch, knock

__all__ = ["Traffic"]

_PAUSE_S = 0.2
_TESTER_EACH = 5  # readers, one of whom is jason
_STRANGER_EACH = 20  # one who knocks without an identity, and is refused


class Traffic:
    """Requests from a thread of its own. A context manager.

    Args:
        page: port of the page.
        closed: port of a service that nobody may call without an identity.
    """

    def __init__(self, page: int, closed: int) -> None:
        self._page = page
        self._closed = closed
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="readers", daemon=True)

    def __enter__(self) -> Traffic:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        for number in itertools.count(1):
            fetch(self._page, user="" if number % _TESTER_EACH else "jason")
            if number % _STRANGER_EACH == 0:
                knock(self._closed)
            if self._ended.wait(_PAUSE_S):
                return
