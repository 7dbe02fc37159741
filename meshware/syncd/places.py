"""Settle where the daemon reads, publishes and keeps its own state, and refuse what is unsafe."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from meshware.errors import SyncError

__all__ = ["Places", "default_state_dir", "make_run_dir", "make_state_dir", "settle_places"]

_SYSTEM_STATE = Path("/var/lib/meshware")


@dataclass(frozen=True, slots=True)
class Places:
    """Where everything lies.

    Attributes:
        sources: files and directories, as given.
        run_dir: what daemon and workers share.
        state_dir: the daemon's own, for this run directory alone.
        ca_dir: holds the authority that somebody else made; None: the daemon makes its own.
    """

    sources: tuple[Path, ...]
    run_dir: Path
    state_dir: Path
    ca_dir: Path | None = None

    @property
    def authorities(self) -> Path:
        """Where the daemon's own authorities lie, with their keys."""
        return self.state_dir / "ca"

    @property
    def plan_file(self) -> Path:
        """What policy said last of identities."""
        return self.state_dir / "identities.json"

    @property
    def policy_file(self) -> Path:
        """The policy file that workers follow."""
        return self.run_dir / "policy.mesh"

    @property
    def last_file(self) -> Path:
        """The daemon's own copy of what it published last."""
        return self.state_dir / "last.mesh"

    @property
    def counted(self) -> Path:
        """What workers that have ended had counted."""
        return self.state_dir / "counted"

    @property
    def reports(self) -> Path:
        """Where workers keep their reports."""
        return self.run_dir / "reports"

    @property
    def status_file(self) -> Path:
        """What the daemon says about itself."""
        return self.run_dir / "status.json"


def default_state_dir(environ: Mapping[str, str], user: int) -> Path:
    """Return where state is kept if nobody says: the system's place for root, else the user's.

    Args:
        environ: XDG_STATE_HOME and HOME are read.
        user: the effective user id.

    Raises:
        SyncError: the environment names no home.
    """
    if user == 0 and _may_write(_SYSTEM_STATE):
        return _SYSTEM_STATE
    home = environ.get("XDG_STATE_HOME", "")
    # The XDG specification has relative paths ignored.
    if home.startswith("/"):
        return Path(home) / "meshware"
    if not environ.get("HOME"):
        raise SyncError("there is no home to keep state in: name a directory by --state-dir")
    return Path(environ["HOME"]) / ".local" / "state" / "meshware"


def settle_places(
    sources: Sequence[Path], run_dir: Path, state_dir: Path, ca_dir: Path | None = None
) -> Places:
    """Return where everything lies.

    Args:
        sources: files and directories with policy.
        run_dir: what daemon and workers share.
        state_dir: what keeps state for any number of run directories.
        ca_dir: holds the authority that somebody else made.

    Raises:
        SyncError: one lies where another reads or writes.
    """
    run, state = _resolved(run_dir), _resolved(state_dir)
    if state.is_relative_to(run):
        raise SyncError(
            f"the state directory {state_dir} lies in the run directory {run_dir}, which workers "
            "read: name another by --state-dir"
        )
    if ca_dir is not None and _resolved(ca_dir).is_relative_to(run):
        raise SyncError(
            f"the authority's directory {ca_dir} lies in the run directory {run_dir}, which "
            "workers read: move it, and name its place by --ca-dir"
        )
    for source in sources:
        at = _resolved(source)
        for what, place in (("run", run), ("state", state)):
            if place.is_relative_to(at):
                raise SyncError(
                    f"the {what} directory {place} lies in the source {source}: what is written "
                    f"there would be read as policy; name another by --{what}-dir"
                )
    # A run directory keeps its path over reboots, which is how its state is found again.
    digest = hashlib.sha256(os.fsencode(run)).hexdigest()[:12]
    return Places(tuple(sources), run_dir, state / f"{run.name or 'root'}-{digest}", ca_dir)


def make_run_dir(places: Places) -> None:
    """Make the run directory and the place for reports, where absent.

    Raises:
        SyncError: they cannot be made.
    """
    try:
        places.run_dir.mkdir(parents=True, exist_ok=True)
        places.reports.mkdir(exist_ok=True)
    except OSError as error:
        raise SyncError(
            f"the run directory {places.run_dir} cannot be made: {_reason(error)}; mend that, or "
            "name another by --run-dir"
        ) from error


def make_state_dir(places: Places) -> None:
    """Make the state directory, for this user alone.

    Raises:
        SyncError: it cannot be made, or belongs to somebody else.
    """
    path = places.state_dir
    try:
        if not path.parent.exists():
            path.parent.mkdir(parents=True)
            path.parent.chmod(0o700)
        path.mkdir(mode=0o700, exist_ok=True)
        about = path.stat(follow_symlinks=False)
        if not stat.S_ISDIR(about.st_mode) or about.st_uid != os.geteuid():
            raise SyncError(
                f"the state directory {path} is not a directory of this user: name another by "
                "--state-dir"
            )
        path.chmod(0o700)
    except OSError as error:
        raise SyncError(
            f"the state directory {path} cannot be made: {_reason(error)}; name another by "
            "--state-dir"
        ) from error


def _may_write(path: Path) -> bool:
    """Say whether a directory can be written, or made."""
    while not path.exists():
        path = path.parent
    return os.access(path, os.W_OK)


def _resolved(path: Path) -> Path:
    """Return a path without links.

    Raises:
        SyncError: its links lead in a circle.
    """
    try:
        return path.resolve()
    except RuntimeError as error:  # Python 3.11 and 3.12; later ones leave it to who opens it
        raise SyncError(f"{path}: its symbolic links lead in a circle; mend them") from error


def _reason(error: OSError) -> str:
    reason = (error.strerror or str(error)).lower()
    if isinstance(error, FileExistsError):
        return f"{error.filename} is no directory"
    return reason
