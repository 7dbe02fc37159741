"""See whether policy sources have changed, without reading them."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Sweep", "signature_of", "sweep"]

Signature = tuple[int, int, int, int, int]

# What was written so shortly before it was looked at may be written again within the same tick of
# the file system's clock, and then look the same. Ticks are 1 to 10 ms on Linux, up to 2 s on FAT.
_TICK_NS = 2_000_000_000


def signature_of(about: os.stat_result) -> Signature:
    """Return what differs once a file was written, replaced, or given another owner or mode."""
    return (about.st_dev, about.st_ino, about.st_size, about.st_mtime_ns, about.st_ctime_ns)


@dataclass(frozen=True, slots=True)
class Sweep:
    """The files of some sources at one moment; equal to another sweep when nothing changed."""

    files: tuple[tuple[str, Signature | int], ...]  # path, and what it was like or an errno

    @property
    def is_empty(self) -> bool:
        """Say that there is nothing at all: no file, and no error about one."""
        return not self.files

    def may_miss_a_change(self, looked_at_ns: int) -> bool:
        """Say whether a file was so new that a further change could go unseen.

        Args:
            looked_at_ns: unix time of the sweep, in nanoseconds.
        """
        newest = max((s[3] for _, s in self.files if not isinstance(s, int)), default=0)
        return newest > looked_at_ns - _TICK_NS


def sweep(paths: Iterable[Path]) -> Sweep:
    """Look at every policy file below some paths; symbolic links are followed."""
    from meshware.policy.parse import policy_files

    seen: list[tuple[str, Signature | int]] = []
    for path in paths:
        try:
            files = policy_files(path)
        except FileNotFoundError:
            continue
        except OSError as error:
            seen.append((str(path), error.errno or 0))
            continue
        for file in files:
            try:
                seen.append((str(file), signature_of(file.stat())))
            except FileNotFoundError:
                continue
            except OSError as error:
                seen.append((str(file), error.errno or 0))
    return Sweep(tuple(seen))
