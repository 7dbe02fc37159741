"""Files with keys in directories of other users: written so that no owner of one can trick root.

A user owns the directory of an identity, and so may put anything there at any moment: links, pipes,
files of others. Everything is opened relative to a directory that was opened before, without
following links; a new file is made under a name that was free, gets its owner through its own
descriptor, and is renamed into place. Whatever the user does meanwhile hurts that user alone.

A reader meets the old file or the new one, whole, wherever the writer was killed.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import pwd
import re
import secrets
import stat
from collections.abc import Iterator

from meshware.errors import IdentityError

__all__ = [
    "Owner",
    "clear_away",
    "is_leftover",
    "mode_in",
    "open_or_make",
    "opened",
    "opened_ours",
    "owner_of",
    "read_file",
    "signature",
    "step_into",
    "write_file",
]

Owner = tuple[int, int]
"""User and group id."""

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_MAKE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_LEFTOVER = re.compile(r"\..+\.[0-9a-f]{12}\.tmp")
_MOST_BYTES = 256 * 1024
_MOST_CLEARED = 10_000  # entries of one directory


@contextlib.contextmanager
def opened(path: str | os.PathLike[str], within: int | None = None) -> Iterator[int]:
    """Open a directory that is no link.

    Raises:
        OSError: it is not there, or something else is.
    """
    descriptor = os.open(path, _DIRECTORY, dir_fd=within)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def opened_ours(within: int, name: str) -> Iterator[int]:
    """Open a directory in which nobody but us renames, and through which others may pass.

    Raises:
        OSError: it belongs to somebody else, who could put another in the place of any in it.
    """
    directory = open_or_make(within, name)
    try:
        about = os.fstat(directory)
        if about.st_uid != os.geteuid():
            raise PermissionError(
                1, f"it belongs to user {about.st_uid}: give it to the daemon's, or remove it", name
            )
        mode = 0o711 if os.geteuid() == 0 else 0o700
        if stat.S_IMODE(about.st_mode) != mode:
            os.fchmod(directory, mode)
        yield directory
    finally:
        os.close(directory)


@contextlib.contextmanager
def step_into(within: int, name: str, mode: int, owner: Owner | None) -> Iterator[int]:
    """Open a directory below one that is open, made where absent, with this mode and owner.

    One that belongs to another user is moved out of the way: what that user left in it, and may
    still have open, is nothing to the next.

    Args:
        within: the directory around it, in which nobody else can rename.
        name: its name.
        mode: permissions, exactly these.
        owner: whose it is; None: whoever this process is.

    Raises:
        OSError: it cannot be made.
    """
    user = os.geteuid() if owner is None else owner[0]
    for _ in range(2):
        descriptor = open_or_make(within, name)
        about = os.fstat(descriptor)
        if about.st_uid in (user, os.geteuid()):
            break
        os.close(descriptor)
        clear_away(within, name)
    else:
        raise OSError(errno.EPERM, "it belongs to another user, and cannot be moved", name)
    try:
        if owner is not None and (about.st_uid, about.st_gid) != owner:
            os.fchown(descriptor, *owner)
        if stat.S_IMODE(about.st_mode) != mode:
            os.fchmod(descriptor, mode)
        yield descriptor
    finally:
        os.close(descriptor)


def open_or_make(within: int, name: str) -> int:
    """Return the descriptor of a directory below one that is open; it is made where absent.

    Raises:
        OSError: it cannot be made, or something else is there.
    """
    with contextlib.suppress(FileNotFoundError):
        return os.open(name, _DIRECTORY, dir_fd=within)
    with contextlib.suppress(FileExistsError):
        os.mkdir(name, 0o700, dir_fd=within)
    return os.open(name, _DIRECTORY, dir_fd=within)


def write_file(
    within: int,
    name: str,
    data: bytes,
    owner: Owner | None,
    *,
    mode: int = 0o600,
    is_durable: bool = True,
) -> tuple[int, ...]:
    """Replace a file by another. Returns its `signature`.

    Args:
        within: the directory, open.
        name: of the file.
        data: the whole content.
        owner: whose it is; None: whoever this process is.
        mode: permissions, exactly these.
        is_durable: also survive a power cut right after (fsync of file and directory).

    Raises:
        OSError: nothing has changed, and no temporary file is left. It names the file.
    """
    temporary = f".{name}.{secrets.token_hex(6)}.tmp"
    try:
        descriptor = os.open(temporary, _MAKE, 0o600, dir_fd=within)
        try:
            left = memoryview(data)
            while left:
                left = left[os.write(descriptor, left) :]
            os.fchmod(descriptor, mode)
            if owner is not None:
                os.fchown(descriptor, *owner)
            if is_durable:
                os.fsync(descriptor)
            os.rename(temporary, name, src_dir_fd=within, dst_dir_fd=within)
            about = os.fstat(descriptor)
        finally:
            os.close(descriptor)
    except BaseException as error:
        with contextlib.suppress(OSError):  # what went wrong first is the better hint
            os.unlink(temporary, dir_fd=within)
        if isinstance(error, OSError):
            error.filename, error.filename2 = name, None
        raise
    if is_durable:
        with contextlib.suppress(OSError):  # some file systems cannot, and the file is there
            os.fsync(within)
    return _signature(about)


def read_file(within: int, name: str, owners: frozenset[int]) -> bytes:
    """Return what a file says, if it is a regular file with one name, and of one of these users.

    Raises:
        IdentityError: it is something else.
        OSError: it cannot be opened.
    """
    descriptor = os.open(name, _READ, dir_fd=within)
    with os.fdopen(descriptor, "rb") as file:
        about = os.fstat(descriptor)
        if not stat.S_ISREG(about.st_mode) or about.st_nlink != 1:
            raise IdentityError(f"{name} is not a file with one name")
        if about.st_uid not in owners:
            raise IdentityError(f"{name} belongs to user {about.st_uid}")
        data = file.read(_MOST_BYTES + 1)
    if len(data) > _MOST_BYTES:
        raise IdentityError(f"{name} has more than {_MOST_BYTES} bytes")
    return data


def signature(within: int, name: str) -> tuple[int, ...] | None:
    """Return what changes with a file, its owner and its mode; None where nothing is there."""
    try:
        return _signature(os.stat(name, dir_fd=within, follow_symlinks=False))
    except OSError:
        return None


def mode_in(signature: tuple[int, ...]) -> int:
    """Return the permissions of a file, as its `signature` has them."""
    return stat.S_IMODE(signature[4])


def clear_away(within: int, name: str) -> None:
    """Remove a file, or a directory with the files in it; what cannot be removed is moved aside.

    Raises:
        OSError: it cannot even be renamed.
    """
    aside = f".{name}.{secrets.token_hex(6)}.tmp"
    try:
        os.rename(name, aside, src_dir_fd=within, dst_dir_fd=within)
    except FileNotFoundError:
        return
    with contextlib.suppress(OSError):
        try:
            os.unlink(aside, dir_fd=within)
        except (IsADirectoryError, PermissionError):
            with opened(aside, within) as directory, os.scandir(directory) as entries:
                # A user may have filled it; what is left stays aside, and is nobody's.
                for entry in itertools.islice(entries, _MOST_CLEARED):
                    os.unlink(entry.name, dir_fd=directory)
            os.rmdir(aside, dir_fd=within)


def is_leftover(name: str) -> bool:
    """Say whether a name is of a file that a writer left which was killed."""
    return _LEFTOVER.fullmatch(name) is not None


def owner_of(user: str | None) -> Owner | None:
    """Return whose an identity is; None: the daemon's own user's, which it is without root, too.

    Raises:
        IdentityError: there is no such user.
    """
    if user is None or os.geteuid() != 0:
        return None
    try:
        found = pwd.getpwuid(int(user)) if user.isdecimal() else pwd.getpwnam(user)
    except (KeyError, OverflowError):
        raise IdentityError(f"there is no Unix user {user!r} here; mend nodeIdentities") from None
    return found.pw_uid, found.pw_gid


def _signature(about: os.stat_result) -> tuple[int, ...]:
    return (
        about.st_dev,
        about.st_ino,
        about.st_size,
        about.st_mtime_ns,
        about.st_mode,
        about.st_uid,
        about.st_nlink,
    )
