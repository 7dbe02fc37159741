"""A Unix socket at a path, for every user of the machine, in the place of one that a killed
process left.

It is bound under a name that was free and renamed into place once it listens: a caller finds the
old one, or the new one with its rights, and never one that refuses for a moment.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import socket
import stat
from pathlib import Path

from meshware.errors import SyncError

__all__ = ["listen_at", "remove_socket"]

_MOST_PATH_BYTES = 107  # Linux: sun_path without its end
_BACKLOG = 128


def listen_at(path: Path) -> socket.socket:
    """Return a socket that listens at a path, mode 0666: who calls is told by the kernel.

    Its directory is made where absent.

    Raises:
        SyncError: something else is there, somebody else listens there, or it cannot be made.
    """
    if not hasattr(socket, "SO_PEERCRED"):
        raise SyncError("--workload-api needs Linux: this system does not tell who has connected")
    temporary = path.with_name(f".{secrets.token_hex(3)}.sock")
    longest = max(len(os.fsencode(path)), len(os.fsencode(temporary)))
    if longest > _MOST_PATH_BYTES:
        raise SyncError(f"--workload-api {path}: the path of a socket has at most 100 bytes")
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        _refuse_what_is_there(path)
        listener.bind(os.fspath(temporary))
        try:
            temporary.chmod(0o666)
            listener.listen(_BACKLOG)
            temporary.replace(path)
        except OSError:
            temporary.unlink()
            raise
    except OSError as error:
        listener.close()
        reason = (error.strerror or str(error)).lower()
        raise SyncError(f"--workload-api {path}: {reason}; name another path") from error
    except SyncError:
        listener.close()
        raise
    listener.setblocking(False)
    return listener


def remove_socket(path: Path, inode: int) -> None:
    """Remove a socket, if it is still the same one."""
    with contextlib.suppress(OSError):
        if path.stat(follow_symlinks=False).st_ino == inode:
            path.unlink()


def _refuse_what_is_there(path: Path) -> None:
    try:
        about = path.stat(follow_symlinks=False)
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(about.st_mode):
        raise SyncError(f"--workload-api {path}: there is something that is no socket; remove it")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(os.fspath(path))
        except (ConnectionRefusedError, FileNotFoundError):
            return  # nobody listens: a killed process left it
    raise SyncError(f"--workload-api {path}: another process listens there; end it first")
