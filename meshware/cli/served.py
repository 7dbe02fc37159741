"""Find the address that a running daemon serves, by its run directory."""

from __future__ import annotations

from pathlib import Path

__all__ = ["served_at"]


def served_at(run_dir: Path) -> str:
    """Return the `host:port` at which the daemon of a run directory serves its dashboard.

    Raises:
        SyncError: there is no such directory, no daemon runs for it, or it serves nothing.
    """
    from meshware.clock import SystemClock
    from meshware.errors import SyncError
    from meshware.syncd.overview import look

    daemon = look(run_dir, SystemClock().now().timestamp()).daemon
    if daemon is None or daemon.is_running is False or daemon.ended_at is not None:
        raise SyncError(f"no daemon is running for {run_dir}: start `meshware sync` first")
    if daemon.listen is None:
        raise SyncError(
            "the daemon serves no dashboard: start it without --listen off, on a loopback address "
            "as 127.0.0.1:15090"
        )
    return daemon.listen
