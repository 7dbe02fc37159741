"""Find new policy at the place that MESH_CONFIG names: in a policy file, or in YAML.

A reader is asked again and again. It answers with records when there is something new, with None
when there is not, and raises what is wrong with something new once it has met it; what it refused
is not looked at again until it changes.
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from meshware.errors import PolicyFileError
from meshware.policy.file import Header, MemoryRecords, Records
from meshware.runtime.dns_lookup import Lookup, lookup_for
from meshware.runtime.lookups import Lookups
from meshware.runtime.policy_file import FileRecords, open_policy_file
from meshware.runtime.sources import Sweep, signature_of, sweep
from meshware.runtime.unknown_keys import UnknownKeys

if TYPE_CHECKING:
    from meshware.policy.parse import Resource

__all__ = [
    "Fresh",
    "PolicyFileReader",
    "SourcesReader",
    "compile_sources",
    "is_source",
    "load_sources",
]

PREVIOUS_SUFFIX = ".prev"
"""What the daemon keeps beside the policy file: the one before."""

_log = logging.getLogger("meshware.lookups")

# A change of the sources counts when it has held still from one look to the next; whoever never
# holds still is read anyway after so many looks.
_MOST_LOOKS = 10


@dataclass(frozen=True, slots=True)
class Fresh:
    """New policy that was found and verified, and not taken up yet."""

    records: Records
    generation: int
    header: Header | None = None  # of a policy file


def is_source(path: Path) -> bool:
    """Say whether a path means YAML to compile and not a policy file."""
    return path.suffix in (".yaml", ".yml", ".json") or path.is_dir()


def compile_sources(path: Path) -> Mapping[str, bytes]:
    """Return the records of a YAML file or directory.

    Raises:
        PolicyError: it has problems; all of them are in it.
    """
    from meshware.policy.records import build_records

    return build_records(load_sources(path))


def load_sources(path: Path) -> tuple[Resource, ...]:
    """Return the resources of a YAML file or directory, each with its place.

    Raises:
        PolicyError: it has problems; all of them are in it.
    """
    from meshware.policy.load import load

    loaded = load([path])
    loaded.raise_for_errors()
    return loaded.resources


class PolicyFileReader:
    """Reads a policy file when it was replaced. Generations never go back."""

    def __init__(
        self, path: Path, owners: frozenset[int], now_ns: Callable[[], int] = time.time_ns
    ) -> None:
        self._path = path
        self._owners = owners
        self._now_ns = now_ns
        self._seen: object = None
        self._in_force: Header | None = None

    def look(self) -> Fresh | None:
        """Return what the file says, if that is new.

        Raises:
            FileNotFoundError: there is no file.
            PolicyFileError: the file cannot be used; told once for each state of the file.
            OSError: it cannot be read now; tried again at the next look.
        """
        about = self._path.stat()
        signature = signature_of(about)
        if signature == self._seen:
            return None
        try:
            records = open_policy_file(self._path, self._owners)
        except PolicyFileError:
            # A writer who does not replace but overwrites may be at it: look again while it is new.
            is_new = about.st_mtime_ns > self._now_ns() - 1_000_000_000
            self._seen = None if is_new else signature
            raise
        self._seen = signature
        return self._judge(records)

    def look_at_previous(self) -> Fresh | None:
        """Return what the file before says: for a start after a power cut left this one torn."""
        previous = self._path.with_name(self._path.name + PREVIOUS_SUFFIX)
        try:
            return self._judge(open_policy_file(previous, self._owners))
        except (PolicyFileError, OSError):
            return None  # what is wrong with the file itself is told, and is the better hint

    def taken_up(self, fresh: Fresh) -> None:
        """Note what is in force from now on."""
        self._in_force = fresh.header

    def _judge(self, records: FileRecords) -> Fresh | None:
        header, in_force = records.header, self._in_force
        if in_force is not None:
            if header.generation < in_force.generation:
                raise PolicyFileError(
                    f"generation {header.generation} is older than {in_force.generation}, which is "
                    "in force; publish old policy under a new generation"
                )
            if header.generation == in_force.generation:
                if header.says_the_same(in_force):
                    return None
                raise PolicyFileError(
                    f"generation {header.generation} is in force with other content; "
                    "publish under a new generation"
                )
        return Fresh(records, header.generation, header)


class SourcesReader:
    """Compiles a YAML file or directory when it changed: policy without a daemon.

    Generations count from 1 in this process. Addresses of names and keys of issuers are filled in,
    here as by the daemon, and new ones are new policy.
    """

    def __init__(
        self,
        path: Path,
        compile_them: Callable[[Path], Mapping[str, bytes]] = compile_sources,
        now_ns: Callable[[], int] = time.time_ns,
        make_lookup: Callable[[], Lookup] = lookup_for,
        *,
        rng: random.Random | None = None,
        unknown_keys: UnknownKeys | None = None,
    ) -> None:
        self._path = path
        self._compile = compile_them
        self._lookups = Lookups(make_lookup, _tell, rng=rng)
        self._unknown_keys = unknown_keys or UnknownKeys()
        self._now_ns = now_ns
        self._seen: Sweep | None = None
        self._is_sure = True  # nothing can have changed unseen since
        self._moving: Sweep | None = None
        self._looks = 0
        self._in_force: Mapping[str, bytes] | None = None
        self._found: Mapping[str, bytes] | None = None
        self._generation = 0

    def look(self) -> Fresh | None:
        """Return what the sources say, if that is new and they hold still.

        Raises:
            FileNotFoundError: there is nothing.
            PolicyError: the sources have problems; told once for each state of them.
        """
        self._lookups.unknown_keys(self._unknown_keys.take())
        looked_at_ns = self._now_ns()
        swept = sweep([self._path])
        if swept.is_empty and not self._path.is_dir():
            raise FileNotFoundError(2, "No such file or directory", str(self._path))
        is_first = self._seen is None
        if swept == self._seen:
            if self._is_sure or swept.may_miss_a_change(looked_at_ns):
                return self._fresh(self._lookups.refill())
        elif not is_first and swept != self._moving and self._looks < _MOST_LOOKS:
            self._moving = swept
            self._looks += 1
            return self._fresh(self._lookups.refill())
        self._moving, self._looks = None, 0
        self._seen = swept
        self._is_sure = not swept.may_miss_a_change(looked_at_ns)
        return self._fresh(self._lookups.fill(self._compile(self._path)))

    def _fresh(self, found: Mapping[str, bytes] | None) -> Fresh | None:
        if found is None or found == self._in_force:
            return None
        self._found = found
        return Fresh(MemoryRecords(found), self._generation + 1)

    def look_at_previous(self) -> Fresh | None:
        """Return None: nobody keeps earlier sources."""
        return None

    def stop(self) -> None:
        """Look nothing up until there is a look again."""
        self._lookups.stop()

    def taken_up(self, fresh: Fresh) -> None:
        """Note what is in force from now on."""
        self._generation = fresh.generation
        self._in_force = self._found


def _tell(sentence: str) -> None:
    _log.warning("%s", sentence)
