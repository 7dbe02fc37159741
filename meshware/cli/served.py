"""Find the address of the dashboard that a running daemon serves, by its run directory."""

from __future__ import annotations

from pathlib import Path

__all__ = ["served_at"]


def served_at(run_dir: Path) -> str:
    """Return the `host:port` at which the dashboard of a run directory's daemon can be opened.

    Raises:
        SyncError: there is no such directory, no daemon runs for it, or it serves no dashboard.
    """
    from meshware.clock import SystemClock
    from meshware.errors import SyncError
    from meshware.syncd.listen import host_and_port
    from meshware.syncd.overview import look

    daemon = look(run_dir, SystemClock().now().timestamp()).daemon
    if daemon is None or daemon.is_running is False or daemon.ended_at is not None:
        raise SyncError(f"no daemon is running for {run_dir}: start `meshware sync` first")
    if daemon.listen is None:
        raise SyncError(
            "the daemon serves no dashboard: start it without --listen off, on a loopback address "
            "as 127.0.0.1:15090"
        )
    if daemon.has_dashboard is False:
        raise SyncError(
            f"the daemon serves no dashboard on {daemon.listen}, which others may reach without a "
            "token: start it with --dashboard-token-file PATH, or on a loopback address as "
            "127.0.0.1:15090"
        )
    address = host_and_port(daemon.listen)
    return daemon.listen if address is None else str(address.to_open)
