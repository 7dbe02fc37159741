"""Read policy from files and directories."""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from pathlib import Path

from meshware.errors import SyncError
from meshware.policy.directories import policy_files
from meshware.policy.load import Loaded, load
from meshware.runtime.files import printable
from meshware.runtime.sources import Sweep, sweep

__all__ = ["DirectorySource"]


class DirectorySource:
    """Policy in files and directories on this machine.

    Args:
        paths: each a file, or a directory with all below it.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        self.paths = tuple(paths)

    @property
    def name(self) -> str:
        """What the policy file says about where it came from."""
        return printable(" ".join(str(path) for path in self.paths))

    def check(self) -> None:
        """See to it that every path is there and can be read.

        Raises:
            SyncError: one is not.
        """
        for path in self.paths:
            try:
                policy_files(path)
                if not path.is_dir():
                    os.close(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC))
            except OSError as error:
                reason = (error.strerror or str(error)).lower()
                raise SyncError(
                    f"the source {error.filename or path} cannot be read: {reason}; mend that, or "
                    "name another --source"
                ) from error

    def sweep(self) -> Sweep:
        """Look at every file without reading it; what is absent differs from what is empty."""
        absent = ((str(path), errno.ENOENT) for path in self.paths if not os.path.exists(path))
        return Sweep((*sweep(self.paths).files, *absent))

    def load(self) -> Loaded:
        """Read and check everything. A directory without a policy file in it is an error there.

        So a volume that is not mounted, and looks empty, takes no policy away.
        """
        return load(self.paths)
