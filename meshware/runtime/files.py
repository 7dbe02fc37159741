"""Replace files so that no reader ever sees half of one, whatever happens to the writer."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
from pathlib import Path
from typing import TypeVar

import msgspec

__all__ = [
    "printable",
    "read_json",
    "remove_leftovers",
    "replace_file",
    "sync_directory",
    "temporary_beside",
]

_SUFFIX = ".tmp"

T = TypeVar("T")


def replace_file(path: Path, data: bytes, *, mode: int, is_durable: bool = False) -> None:
    """Write a file and move it into place: a reader sees the old one or the new one, whole.

    Args:
        path: what to replace; its directory must exist.
        data: the whole content.
        mode: permissions, exactly these whatever the umask.
        is_durable: also survive a power cut right after (fsync of file and directory).

    Raises:
        OSError: nothing has changed, and no temporary file is left. It names `path`.
    """
    temporary = temporary_beside(path)
    try:
        _write(temporary, data, mode, is_durable=is_durable)
        os.replace(temporary, path)
    except BaseException as error:
        with contextlib.suppress(OSError):  # what went wrong first is the better hint
            temporary.unlink()
        if isinstance(error, OSError):
            # The name that a user knows; an error of a full disk has none.
            error.filename, error.filename2 = os.fspath(path), None
        raise
    if is_durable:
        sync_directory(path.parent)


def read_json(path: Path, kind: type[T], most_bytes: int) -> T | None:
    """Return what a JSON file of ours says; None: it is not there, or says nothing of this kind."""
    try:
        # Without O_NONBLOCK a named pipe in its place would be waited for.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            return msgspec.json.decode(file.read(most_bytes), type=kind)
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None


def printable(text: str) -> str:
    r"""Return text that UTF-8 and JSON can hold: a byte that is none becomes `\udcff`.

    A file's name is any bytes, and may come up in whatever is said about the file.
    """
    return text.encode("utf-8", "backslashreplace").decode()


def temporary_beside(path: Path) -> Path:
    """Return a fresh name in the same directory, which `remove_leftovers` knows again."""
    return path.with_name(f".{path.name}.{secrets.token_hex(6)}{_SUFFIX}")


def remove_leftovers(path: Path) -> int:
    """Remove the temporary files that dead writers of `path` left. Returns how many there were.

    Only for whoever holds the right to write `path`: a live writer's file would go, too.
    """
    start, removed = f".{path.name}.", 0
    for entry in list(os.scandir(path.parent)):
        if entry.name.startswith(start) and entry.name.endswith(_SUFFIX):
            Path(entry.path).unlink(missing_ok=True)
            removed += 1
    return removed


def sync_directory(path: Path) -> None:
    """Make the names in a directory survive a power cut."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    except OSError as error:
        # Some network and overlay file systems cannot, and say so in this way.
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(descriptor)


def _write(path: Path, data: bytes, mode: int, *, is_durable: bool) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(path, flags, 0o600)
    try:
        left = memoryview(data)
        while left:
            left = left[os.write(descriptor, left) :]
        os.fchmod(descriptor, mode)
        if is_durable:
            os.fsync(descriptor)
    finally:
        os.close(descriptor)
