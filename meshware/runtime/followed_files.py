"""Files that somebody else keeps current, read again when they change.

1. They are looked at when somebody asks, and no oftener than each quarter of a second.
2. What cannot be used (half written, a key of another certificate, readable by others) is told once
   in the log, and what was read before stays. It is read again at each look until it can be used,
   whether or not it seems to change: what was wrong may have been the process's own (no descriptor
   left), or a write within one tick of the file system's clock.
"""

from __future__ import annotations

import logging
import os
import stat
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from meshware.errors import IdentityError
from meshware.runtime.fork import renew_after_fork

__all__ = ["FollowedFiles", "States", "read_file", "read_secret", "state_of"]

_LOOK_AGAIN_S = 0.25
_MOST_BYTES = 256 * 1024

_log = logging.getLogger("meshware.identity")

States = tuple[tuple[int, ...] | None, ...]
"""What changes with each of some files; None for one that is not there."""


class FollowedFiles:
    """Reads files of one directory again when they change. Safe to use from any thread.

    Args:
        directory: where they lie; they may appear later.
        names: of the files.
        read: reads them, given their states in the order of their names; returns what cannot be
            used and what holds in its place, or None.
    """

    def __init__(
        self, directory: Path, names: Sequence[str], read: Callable[[States], str | None]
    ) -> None:
        self._directory = directory
        self._paths = tuple(directory / name for name in names)
        self._read = read
        self._states: States | None = None  # of what was read and could be used
        self._looked_at = float("-inf")
        self._told: str | None = None
        self.renew()
        renew_after_fork(self)

    def renew(self) -> None:
        """Forget, in a child process, the lock of the parent."""
        self._lock = threading.Lock()

    def look(self) -> None:
        """Have them read if they have changed."""
        now = time.monotonic()
        if now - self._looked_at < _LOOK_AGAIN_S:
            return
        with self._lock:
            if now - self._looked_at < _LOOK_AGAIN_S:
                return
            states = tuple(map(state_of, self._paths))
            if states != self._states:
                problem = self._read(states)
                if problem is not None and problem != self._told:
                    _log.error("%s cannot be used: %s", self._directory, problem)
                self._told = problem
                self._states = states if problem is None else None
            self._looked_at = now


def state_of(path: Path) -> tuple[int, ...] | None:
    """Return what changes with a file; None: there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return (found.st_mtime_ns, found.st_ctime_ns, found.st_size, found.st_ino)


def read_secret(path: Path) -> bytes:
    """Return the bytes of a file that nobody else may read.

    Raises:
        IdentityError: others may read it, or it is none that can be one.
        OSError: it cannot be read.
    """

    def check(about: os.stat_result) -> None:
        if about.st_mode & _others_of(about):
            mode = stat.S_IMODE(about.st_mode)
            raise IdentityError(
                f"{path.name} holds a key that others may read (mode {mode:04o}); chmod 600"
            )

    return read_file(path, check)


def read_file(path: Path, check: Callable[[os.stat_result], None] | None = None) -> bytes:
    """Return the bytes of a file, which never waits for the writer of a pipe.

    Args:
        path: where it lies; links are followed, of which a mounted Secret is made.
        check: shown what was opened, and raises `IdentityError` to refuse it.

    Raises:
        IdentityError: it is no file, too long, or refused.
        OSError: it cannot be read.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        about = os.fstat(descriptor)
        if not stat.S_ISREG(about.st_mode):
            raise IdentityError(f"{path.name} is not a file")
        if about.st_size > _MOST_BYTES:
            raise IdentityError(f"{path.name} has more than {_MOST_BYTES} bytes")
        if check is not None:
            check(about)
        return os.read(descriptor, _MOST_BYTES + 1)
    finally:
        os.close(descriptor)


def _others_of(about: os.stat_result) -> int:
    """Return the rights that nobody else may have.

    A file of root's that is read through a group of ours is as Kubernetes mounts a secret for a pod
    with `fsGroup`: there is no other way for us to read it.
    """
    is_mounted = about.st_uid == 0 != os.geteuid() and about.st_gid in {
        os.getegid(),
        *os.getgroups(),
    }
    others = stat.S_IWGRP | stat.S_IRWXO
    return others if is_mounted else others | stat.S_IRGRP
