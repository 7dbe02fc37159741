"""Put together what can be seen of a run directory from outside: `meshware status`.

Everything is read from the files themselves and not asked of the daemon, so that it can be told
when the daemon is gone, which is when people ask.
"""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

from meshware.errors import PolicyFileError, SyncError
from meshware.policy.file import Header
from meshware.runtime.files import printable
from meshware.runtime.policy_file import open_policy_file
from meshware.syncd.lock import is_held
from meshware.syncd.reports import ReportReader
from meshware.syncd.status import KeySource, RefusedPolicy, Status, read_status
from meshware.syncd.workers import WorkerSeen, worker_seen

__all__ = ["DaemonSeen", "Overview", "look"]


class DaemonSeen(msgspec.Struct, frozen=True, kw_only=True):
    """The daemon that was here last."""

    is_running: bool | None = msgspec.field(name="running")  # None: this user cannot find out
    pid: int
    started_at: str
    ended_at: str | None  # in good order; None and not running: it was killed
    listen: str | None
    has_dashboard: bool | None  # served there; None: nothing is, or an older daemon does not say
    sources: tuple[str, ...]
    state_dir: str


class Overview(msgspec.Struct, frozen=True, kw_only=True):
    """A run directory at one moment."""

    run_dir: str
    ok: bool  # nothing is out of order that somebody has to mend
    generation: int | None  # published; None: nothing usable is
    published_at: str | None
    reason: str | None  # why there is no generation
    resources: int | None
    daemon: DaemonSeen | None
    refused: RefusedPolicy | None  # the sources, as they are now
    keys: tuple[KeySource, ...]  # that cannot be fetched
    workers: tuple[WorkerSeen, ...]
    unreadable: int  # reports


def look(run_dir: Path, now_s: float) -> Overview:
    """Return what can be seen of a run directory.

    Args:
        run_dir: of `meshware sync`.
        now_s: unix time, for what is left of certificates.

    Raises:
        SyncError: it is none, or cannot be read.
        OSError: a file of the daemon in it cannot be read.
    """
    if not run_dir.is_dir():
        raise SyncError(f"{run_dir} is not a directory: name the run directory of `meshware sync`")
    try:
        os.scandir(run_dir).close()
    except OSError as error:
        why = (error.strerror or str(error)).lower()
        raise SyncError(
            f"the run directory {run_dir} cannot be read: {why}; mend that, or ask as a user "
            "who may"
        ) from error
    header, reason = _published(run_dir / "policy.mesh")
    status = read_status(run_dir / "status.json")
    generation = header.generation if header else None
    survey = ReportReader(run_dir / "reports").read()
    workers = tuple(worker_seen(report, generation, now_s) for report in survey.live)
    daemon = _daemon(run_dir, status)
    refused = status.refused if status else None
    has_died = daemon is not None and daemon.is_running is False and daemon.ended_at is None
    return Overview(
        run_dir=printable(str(run_dir)),
        ok=generation is not None
        and refused is None
        and not (status and status.keys)
        and not has_died
        and not any(worker.state == "refuses" for worker in workers),
        generation=generation,
        published_at=header.made_at if header else None,
        reason=None if reason is None else printable(reason),
        resources=status.resources if status and status.generation == generation else None,
        daemon=daemon,
        refused=refused,
        keys=status.keys if status else (),
        workers=workers,
        unreadable=survey.unreadable,
    )


def _published(path: Path) -> tuple[Header | None, str | None]:
    """Return the header of the policy file, or why there is none to be used."""
    try:
        owner = path.stat().st_uid  # whoever runs the daemon; workers judge for themselves
        return open_policy_file(path, frozenset({owner})).header, None
    except FileNotFoundError:
        return None, None
    except PolicyFileError as error:
        return None, str(error)
    except OSError as error:
        return None, f"{path}: {(error.strerror or str(error)).lower()}"


def _daemon(run_dir: Path, status: Status | None) -> DaemonSeen | None:
    if status is None:
        return None
    return DaemonSeen(
        is_running=is_held(run_dir),
        pid=status.pid,
        started_at=status.started_at,
        ended_at=status.ended_at,
        listen=status.listen,
        has_dashboard=status.has_dashboard,
        sources=status.sources,
        state_dir=status.state_dir,
    )
