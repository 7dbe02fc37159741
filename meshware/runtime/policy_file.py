"""Open a policy file that others write: check whose it is, verify it, read single records.

The file is opened once, and everything is asked of that descriptor, so that a replacement in
between cannot mix two files. The path may lead through symbolic links: that is how a Kubernetes
ConfigMap swaps its content.
"""

from __future__ import annotations

import os
import pwd
import stat
import weakref
from collections.abc import Iterator
from pathlib import Path

from meshware.errors import PolicyFileError, SettingsError
from meshware.policy.file import (
    MAX_BYTES,
    MAX_HEADER_BYTES,
    Header,
    PolicyIndex,
    parse_header,
    verified,
)

__all__ = ["FileRecords", "open_policy_file", "trusted_owners"]

_CHUNK_BYTES = 1024 * 1024


def trusted_owners(policy_owner: str | None) -> frozenset[int]:
    """Return the ids of the users whose policy file is trusted: root, oneself, and the one named.

    Args:
        policy_owner: MESH_POLICY_OWNER, a user name or id; None: nobody else.

    Raises:
        SettingsError: there is no such user.
    """
    owners = {0, os.geteuid()}
    if policy_owner is not None:
        if policy_owner.isascii() and policy_owner.isdigit() and len(policy_owner) <= 10:
            owners.add(int(policy_owner))
        else:
            try:
                owners.add(pwd.getpwnam(policy_owner).pw_uid)
            except KeyError:
                raise SettingsError(
                    f"MESH_POLICY_OWNER is {policy_owner[:80]!r}, which is no user here; write "
                    "the name or id of the user whose policy file is to be trusted"
                ) from None
    return frozenset(owners)


def open_policy_file(path: Path, owners: frozenset[int]) -> FileRecords:
    """Open and verify a policy file: whose it is, its header and its index; records when read.

    Args:
        path: the file; symbolic links are followed.
        owners: ids of the users whose file is trusted.

    Raises:
        PolicyFileError: it is not a policy file, is torn or altered, or is not ours to trust.
        OSError: it cannot be opened or read.
    """
    # Without O_NONBLOCK a named pipe in its place would hold this thread for ever.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        about = os.fstat(descriptor)
        _check_trust(path, about, owners)
        return FileRecords(descriptor, about)
    except BaseException:
        os.close(descriptor)
        raise


def _check_trust(path: Path, about: os.stat_result, owners: frozenset[int]) -> None:
    if not stat.S_ISREG(about.st_mode):
        raise PolicyFileError(f"{path} is not a regular file")
    if about.st_uid not in owners:
        raise PolicyFileError(
            f"{path} belongs to user {about.st_uid}; it must be root's, or that of this process, "
            "or of the user that MESH_POLICY_OWNER names"
        )
    if about.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise PolicyFileError(
            f"{path} may be written by others (mode {stat.S_IMODE(about.st_mode):04o}); "
            "take that right from group and world"
        )
    if about.st_size > MAX_BYTES:
        raise PolicyFileError(
            f"{path} has {about.st_size} bytes; a policy file has {MAX_BYTES} at most"
        )


class FileRecords:
    """The records of an open policy file, each read and verified when it is asked for.

    Holds the descriptor until it is collected: a snapshot goes on reading the file that it was
    made from, although another one has taken its place. Safe to use from any thread and after
    `fork`, for reads carry their own position.

    Attributes:
        header: the file's.
    """

    def __init__(self, descriptor: int, about: os.stat_result) -> None:
        """Take over an open descriptor; the caller closes it if this raises."""
        head = os.pread(descriptor, MAX_HEADER_BYTES, 0)
        line, newline, rest = head.partition(b"\n")
        if not newline:
            raise PolicyFileError(
                "the policy file is empty" if not head else "the policy file has no header line"
            )
        self.header: Header = parse_header(line)
        start = len(line) + 1
        lines = _read_lines(descriptor, rest, start + len(rest), self.header.records)
        self._index = PolicyIndex(self.header, lines)
        self._base = start + len(lines)
        if about.st_size != self._base + self._index.body_bytes:
            raise PolicyFileError("the policy file is torn: it has a wrong length")
        self._descriptor = descriptor
        finalizer = weakref.finalize(self, _close, descriptor, (about.st_dev, about.st_ino))
        finalizer.atexit = False  # the end of the process closes it

    def get(self, key: str) -> bytes | None:
        """Return a record, verified; None when there is none.

        Raises:
            PolicyFileError: the record cannot be read, or does not fit its digest.
        """
        entry = self._index.entry(key)
        if entry is None:
            return None
        try:
            record = os.pread(self._descriptor, entry.length, self._base + entry.offset)
        except OSError as error:
            raise PolicyFileError(f"record {key} cannot be read: {error}") from error
        return verified(key, entry, record)

    def digest(self, key: str) -> str | None:
        """Return the digest of a record without reading it; None when there is none."""
        entry = self._index.entry(key)
        return None if entry is None else entry.sha256

    def keys(self, prefix: str = "") -> Iterator[str]:
        """Yield the keys that begin with a prefix, sorted."""
        return self._index.keys(prefix)


def _read_lines(descriptor: int, rest: bytes, position: int, wanted: int) -> bytes:
    """Return the next `wanted` lines: of what is read already, and of the file behind it."""
    if wanted == 0:
        return b""
    chunks, found = [rest], rest.count(b"\n")
    while found < wanted:
        guess = (wanted - found) * 112  # a usual line; a wrong guess costs another read
        chunk = os.pread(descriptor, min(max(guess, 4096), _CHUNK_BYTES), position)
        if not chunk:
            raise PolicyFileError("the policy file is torn: it ends within its index")
        chunks.append(chunk)
        found += chunk.count(b"\n")
        position += len(chunk)
    return b"".join(chunks).rsplit(b"\n", found - wanted + 1)[0] + b"\n"


def _close(descriptor: int, identity: tuple[int, int]) -> None:
    """Close a descriptor if it still is the one that was opened.

    Programs that become daemons close every descriptor, and the number may be somebody else's now.
    """
    try:
        about = os.fstat(descriptor)
        if (about.st_dev, about.st_ino) == identity:
            os.close(descriptor)
    except OSError:
        return  # closed already
