"""A Unix socket at a path, for every user of the machine, in the place of one that a killed
process left.

It is bound under a name that was free and renamed into place once it listens: a caller finds the
old one, or the new one with its rights, and never one that refuses for a moment. All that happens
within its directory, once opened, in which nobody else can rename: else somebody could put a file
of root's in the place of the socket just when everybody is given rights to that.
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
        directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            _refuse_what_others_may_change(path, os.fstat(directory))
            # `bind` and `chmod` take no directory, and this path is of nothing else.
            at = f"/proc/self/fd/{directory}/{temporary.name}"
            listener.bind(at)
            try:
                os.chmod(at, 0o666)
                listener.listen(_BACKLOG)
                os.rename(temporary.name, path.name, src_dir_fd=directory, dst_dir_fd=directory)
            except OSError:
                os.unlink(temporary.name, dir_fd=directory)
                raise
        finally:
            os.close(directory)
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


def _refuse_what_others_may_change(path: Path, about: os.stat_result) -> None:
    is_writable = about.st_mode & (stat.S_IWGRP | stat.S_IWOTH) and not about.st_mode & stat.S_ISVTX
    if is_writable or about.st_uid not in (0, os.geteuid()):
        raise SyncError(
            f"--workload-api {path}: others than root and the daemon's user can rename in its "
            "directory, and so listen in its place; name a path in a directory of the daemon's own"
        )


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
