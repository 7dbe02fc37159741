"""Write the file of this process's rings beside its report, whenever it says something new.

It stays when the process ends, however that is: the daemon shows the last calls of those that are
gone for a while, and then removes their files. What goes wrong here is told once, and costs nothing
else: a full disk keeps no report and no call from its way.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable
from pathlib import Path

from meshware.runtime.files import replace_file

__all__ = ["RING_SUFFIX", "RingWriter"]

RING_SUFFIX = ".rings"

_log = logging.getLogger("meshware.report")


class RingWriter:
    """Writes one process's file. Of whoever holds the reporter's lock for writing.

    Args:
        made: returns the file; the very same object as before where nothing has changed, b"" while
            there is nothing to tell.
    """

    def __init__(self, made: Callable[[], bytes]) -> None:
        self._made = made
        self.renew()

    def renew(self) -> None:
        """Forget, in a child process, the file of the parent."""
        self._path: Path | None = None
        self._written = b""
        self._is_warned = False

    def write(self, directory: Path, worker: str) -> bool:
        """Write the file if it says something new. Returns whether it was written.

        Args:
            directory: of the reports of this workload.
            worker: the id of this process; a file under an earlier one of it is removed.
        """
        try:
            data = self._made()
            path = directory / f"{worker}{RING_SUFFIX}"
            before, is_same = self._path, data == self._written
            if not data or (is_same and path == before and path.exists()):
                return False
            replace_file(path, data, mode=0o600)
            self._path, self._written = path, data
            if before is not None and before != path:
                with contextlib.suppress(OSError):  # the daemon clears away what is dead
                    before.unlink()
        except Exception as error:
            # Said once. Whoever reports to us would otherwise lose the report for a mistake here.
            if not self._is_warned:
                self._is_warned = True
                _log.warning(
                    "refused and failed calls are not reported (%s); all else works", error
                )
            return False
        return True
