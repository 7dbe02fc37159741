"""See to it that one daemon alone writes a run directory."""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path

from meshware.errors import SyncError

__all__ = ["LOCK_NAME", "RunLock", "TakenError", "is_held"]

LOCK_NAME = ".sync.lock"

_TRIES = 4
_PAUSE_S = 0.02


class TakenError(SyncError):
    """Another daemon has the run directory: the one error that no patience mends."""


class RunLock:
    """A lock on a run directory, held from `acquire` to `release` or to the end of the process.

    The kernel lets go of it however the process ends. The file stays: who removed it would let a
    third daemon in beside one that still waits for the old file.
    """

    def __init__(self, run_dir: Path) -> None:
        self._run_dir = run_dir
        self._path = run_dir / LOCK_NAME
        self._descriptor: int | None = None

    def acquire(self) -> None:
        """Take the lock; again, if its file was removed meanwhile.

        Raises:
            TakenError: another daemon has it.
            SyncError: the run directory cannot be written.
        """
        if self.is_held_here():
            return
        self.release()
        tries = 0
        while True:
            descriptor = self._open()
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                tries += 1
                if tries < _TRIES:  # it may be no more than somebody's look, as `is_held` takes
                    os.close(descriptor)
                    time.sleep(_PAUSE_S)
                    continue
                holder = os.pread(descriptor, 32, 0).decode(errors="replace").strip()
                os.close(descriptor)
                who = f"pid {holder}" if holder.isdigit() else "its pid is not known yet"
                raise TakenError(
                    f"another daemon ({who}) publishes into {self._run_dir}: "
                    "end it, or name another --run-dir"
                ) from None
            except BaseException:
                os.close(descriptor)
                raise
            self._descriptor = descriptor
            if self.is_held_here():
                break
            self.release()  # the file was replaced between opening and locking it
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, b"%d\n" % os.getpid(), 0)

    def is_held_here(self) -> bool:
        """Say whether this process holds the lock of the directory that is there now."""
        if self._descriptor is None:
            return False
        ours = os.fstat(self._descriptor)
        try:
            there = self._path.stat(follow_symlinks=False)
        except OSError:
            return False
        return (ours.st_dev, ours.st_ino) == (there.st_dev, there.st_ino)

    def release(self) -> None:
        """Let go of the lock."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _open(self) -> int:
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            return os.open(self._path, flags, 0o600)
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            raise SyncError(
                f"the run directory {self._run_dir} cannot be written: {reason}; mend that, or "
                "name another by --run-dir"
            ) from error


def is_held(run_dir: Path) -> bool | None:
    """Say whether a daemon runs on this directory; None: this user cannot find out."""
    try:
        descriptor = os.open(run_dir / LOCK_NAME, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    except OSError:
        return None
    try:
        # Shared, and let go at once: a daemon that starts just now tries again.
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False
