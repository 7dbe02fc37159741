"""Which tests run at the same time, when several processes share the tests of a run.

Most tests wait for servers, so a few of them side by side are quicker than one after another. Those
marked `alone` measure time, or need most of the machine: while one of them runs no other test does.

Theory of operation: two locked files that all processes of the run share. The *room* is held by
every test, shared or, by one that is alone, exclusively. The *turnstile* is passed on the way in. A
test that is alone keeps it from there on, so that those in the room leave it and nobody else comes
in: it waits for the tests that run, never for those that follow. It holds both until a test comes
that is not alone: a module of such tests waits once.
"""

from __future__ import annotations

import fcntl
from pathlib import Path


class Room:
    """What tests are in while they run; for one thread of a process that shares the directory."""

    def __init__(self, directory: Path) -> None:
        self._turnstile = (directory / "turnstile").open("wb")
        self._room = (directory / "room").open("wb")
        self._is_alone = False

    def enter(self, *, alone: bool) -> None:
        """Wait until a test may run."""
        if self._is_alone:
            if alone:
                return
            self.leave()
        fcntl.flock(self._turnstile, fcntl.LOCK_EX)
        fcntl.flock(self._room, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
        self._is_alone = alone
        if not alone:
            fcntl.flock(self._turnstile, fcntl.LOCK_UN)

    def leave(self) -> None:
        """Let others in; said aloud, since processes that tests forked may hold the files open."""
        fcntl.flock(self._room, fcntl.LOCK_UN)
        fcntl.flock(self._turnstile, fcntl.LOCK_UN)
        self._is_alone = False

    def close(self) -> None:
        """Leave for good."""
        self.leave()
        self._room.close()
        self._turnstile.close()
