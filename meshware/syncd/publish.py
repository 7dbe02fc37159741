"""Publish policy: write it whole, under a generation that nobody has seen, and keep the last.

The order of a publish, and what is left where it ends early:

1. The daemon's own copy is written, with the new generation. Killed here: the number is used up,
   the old file stays, and the next start publishes the copy or something newer.
2. What lies in the run directory becomes `policy.mesh.prev`. Killed here: both are the same file.
3. The new file is written beside it, fsynced, renamed over it, and the directory is fsynced.

At no time is `policy.mesh` absent, torn, or older than before. Temporary files of a daemon that
was killed are removed by the next one, which is why the lock must be held to make a `Publisher`.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from meshware.clock import Clock
from meshware.errors import PolicyError, PolicyFileError
from meshware.policy.file import (
    MAX_BYTES,
    MAX_HEADER_BYTES,
    Header,
    decode,
    encode,
    parse_header,
)
from meshware.runtime.files import remove_leftovers, replace_file, temporary_beside
from meshware.runtime.readers import PREVIOUS_SUFFIX
from meshware.runtime.sources import signature_of
from meshware.syncd.generation import next_generation
from meshware.syncd.places import Places

__all__ = ["Publisher", "Restored"]

FILE_MODE = 0o644
"""Workers of other users read it; nobody else writes it, or no worker would trust it."""

_STATE_MODE = 0o600
_WRITABLE = stat.S_IWGRP | stat.S_IWOTH


@dataclass(frozen=True, slots=True)
class _Content:
    """A policy file's content, verified."""

    header: Header
    records: Mapping[str, bytes]


@dataclass(frozen=True, slots=True)
class Restored:
    """Policy that is served although the sources cannot be used."""

    header: Header
    is_republished: bool  # it was not in the run directory, and is now, under a new generation


class Publisher:
    """Writes the policy file of one run directory. Its lock must be held.

    Args:
        places: where everything lies; run and state directory must exist.
        clock: dates the files.

    Raises:
        OSError: a directory cannot be read or written.
    """

    def __init__(self, places: Places, clock: Clock) -> None:
        self._file = places.policy_file
        self._previous = self._file.with_name(self._file.name + PREVIOUS_SUFFIX)
        self._last = places.last_file
        self._clock = clock
        self._in_place: Header | None = None  # what the file says, when it was verified last
        self._signature: object = None
        self._wanted: _Content | None = None  # what the file shall say
        for path in (self._file, self._last):
            remove_leftovers(path)
        content = _read(self._file)
        if content is not None:
            self._take_note(content.header)

    @property
    def current(self) -> Header | None:
        """The header of the file in the run directory; None when there is none that is whole."""
        return self._in_place

    @property
    def wanted_records(self) -> Mapping[str, bytes]:
        """What the file shall say; empty before anything was published or restored."""
        return {} if self._wanted is None else self._wanted.records

    def last_records(self) -> Mapping[str, bytes]:
        """Return what the newest policy file of any daemon says; empty where there is none."""
        found = [content for content in map(_read, (self._file, self._last)) if content is not None]
        newest = max(found, key=lambda content: content.header.generation, default=None)
        return {} if newest is None else newest.records

    def publish(
        self,
        records: Mapping[str, bytes],
        *,
        trust_domain: str,
        source: str,
        claims: Iterable[int | None] = (),
    ) -> bool:
        """Make the policy file say this. Returns whether it had to be written.

        Args:
            records: the whole policy.
            trust_domain: the mesh's own.
            source: where it came from, for people.
            claims: generations that live workers say they applied.

        Raises:
            PolicyError: it cannot be written as a policy file; nothing has changed.
            SyncError: there is no generation left.
            OSError: it cannot be written; the old file stays.
        """
        number = self._next(claims)
        try:
            data = encode(
                records,
                generation=number,
                trust_domain=trust_domain,
                made_at=self._clock.now().isoformat(timespec="milliseconds"),
                source=source,
            )
        except ValueError as error:
            raise PolicyError(f"the policy cannot be written: {error}") from error
        if len(data) > MAX_BYTES:
            raise PolicyError(
                f"the policy file would have {len(data)} bytes, and {MAX_BYTES} is the most that "
                "workers read; split the mesh"
            )
        header = parse_header(data.partition(b"\n")[0])
        is_whole = self.is_in_place()
        if is_whole and self._in_place is not None and header.says_the_same(self._in_place):
            self._wanted = _Content(self._in_place, records)
            return False
        self._wanted = _Content(header, records)
        replace_file(self._last, data, mode=_STATE_MODE, is_durable=True)
        if is_whole:
            self._keep_previous()
        self._file.parent.mkdir(parents=True, exist_ok=True)
        replace_file(self._file, data, mode=FILE_MODE, is_durable=True)
        self._take_note(header)
        return True

    def republish(self, claims: Iterable[int | None] = ()) -> Header | None:
        """Write the policy that was published last once more, under a new generation.

        For a run directory that was deleted or altered, and for workers that have met a later
        generation than the file's. Returns whether there was anything to write.

        Raises:
            SyncError: there is no generation left.
            OSError: it cannot be written.
        """
        wanted = self._wanted
        if wanted is None:
            return None
        self._in_place = None  # whatever it says, it is written
        self.publish(
            wanted.records,
            trust_domain=wanted.header.trust_domain,
            source=wanted.header.source,
            claims=claims,
        )
        return self._in_place

    def restore(self, claims: Iterable[int | None] = ()) -> Restored | None:
        """See to it that the last good policy is served, as far as there is one.

        Returns:
            What is served: the newest of the file, the daemon's copy and the file before.

        Raises:
            SyncError: there is no generation left.
            OSError: it cannot be written.
        """
        found = [
            content
            for content in map(_read, (self._file, self._last, self._previous))
            if content is not None
        ]
        if not found:
            return None
        newest = max(found, key=lambda content: content.header.generation)  # the file before others
        self._wanted = newest
        in_place = self._in_place
        if in_place is not None and newest.header.says_the_same(in_place):
            return Restored(in_place, is_republished=False)
        header = self.republish(claims)
        assert header is not None
        return Restored(header, is_republished=True)

    def is_in_place(self) -> bool:
        """Say whether the file in the run directory still is the one that was written."""
        if self._in_place is None:
            return False
        try:
            about = self._file.stat(follow_symlinks=False)
        except OSError:
            return False
        signature = signature_of(about)
        if signature == self._signature:
            return True
        # A link to it or a change of its mode is no change of what it says.
        content = _read(self._file)
        if content is None or content.header != self._in_place:
            return False
        self._signature = signature
        return True

    def _next(self, claims: Iterable[int | None]) -> int:
        known = [_generation(path) for path in (self._file, self._previous, self._last)]
        if self._wanted is not None:
            known.append(self._wanted.header.generation)
        if self._in_place is not None:
            known.append(self._in_place.generation)
        return next_generation(known, claims, self._clock.now().timestamp())

    def _keep_previous(self) -> None:
        """Give what is there a second name, under which it outlives its replacement."""
        temporary = temporary_beside(self._file)
        try:
            os.link(self._file, temporary, follow_symlinks=False)
            os.replace(temporary, self._previous)
        except FileNotFoundError:
            return  # removed this moment: there is nothing to keep
        except OSError:
            # A file system without hard links.
            replace_file(self._previous, self._file.read_bytes(), mode=FILE_MODE)
        finally:
            # It stays, too, where it is the previous file already: then nothing is renamed.
            temporary.unlink(missing_ok=True)

    def _take_note(self, header: Header) -> None:
        self._in_place = header
        try:
            self._signature = signature_of(self._file.stat(follow_symlinks=False))
        except FileNotFoundError:  # removed this moment: it is missed at the next look
            self._signature = None


def _read(path: Path) -> _Content | None:
    """Return what a policy file says; None where it is absent, not whole, or not to be trusted."""
    try:
        with _open(path) as file:
            about = os.fstat(file.fileno())
            if about.st_uid not in {0, os.geteuid()} or about.st_mode & _WRITABLE:
                return None  # workers would not take it either
            return _Content(*decode(file.read(MAX_BYTES + 1)))
    except (OSError, PolicyFileError):
        return None


def _generation(path: Path) -> int | None:
    """Return the generation of a policy file, though the rest of it be torn."""
    try:
        with _open(path) as file:
            return parse_header(file.read(MAX_HEADER_BYTES).partition(b"\n")[0]).generation
    except (OSError, PolicyFileError):
        return None


def _open(path: Path) -> BinaryIO:
    """Open a file without waiting for a writer, as a named pipe in its place would have it."""
    return os.fdopen(
        os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC), "rb"
    )
