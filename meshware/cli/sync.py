"""`meshware sync`: the daemon that checks and publishes policy."""

from __future__ import annotations

import os
from pathlib import Path

import click

from meshware.cli.options import PLACE, format_option
from meshware.cli.streams import line_writer

__all__ = ["command"]

_STDOUT, _STDERR = 1, 2


@click.command("sync", short_help="Run the daemon: check, publish and watch policy.")
@click.option(
    "--source",
    "sources",
    multiple=True,
    required=True,
    type=PLACE,
    help="A policy file or directory; may be given several times. All together are one policy.",
)
@click.option(
    "--run-dir",
    required=True,
    type=PLACE,
    help="What daemon and workers share: policy.mesh, identity, reports, status.json.",
)
@click.option(
    "--state-dir",
    type=PLACE,
    help="The daemon's own memory, outside of the run directory.  "
    "[default: /var/lib/meshware for root, else $XDG_STATE_HOME/meshware]",
)
@click.option(
    "--ca-dir",
    type=PLACE,
    help="An authority made by `meshware cert issue-intermediate`, in place of the daemon's own.",
)
@click.option(
    "--listen",
    default="127.0.0.1:15090",
    show_default=True,
    metavar="HOST:PORT|off",
    help="Where to serve /healthz, /metrics and the dashboard; not with --once.",
)
@click.option(
    "--dashboard-token-file",
    type=PLACE,
    metavar="PATH",
    help="A file with the token that the dashboard asks for. Without it the dashboard is served on "
    "the loopback alone.",
)
@click.option(
    "--prometheus",
    metavar="URL",
    envvar="MESH_PROMETHEUS",
    help="A Prometheus server that scrapes /metrics: the dashboard asks it for what is older than "
    "an hour.  [env: MESH_PROMETHEUS]",
)
@click.option(
    "--dns",
    "dns_servers",
    default="",
    envvar="MESH_DNS",
    metavar="ADDRESS[:PORT],...",
    help="DNS servers to ask in place of those in /etc/resolv.conf.  [env: MESH_DNS]",
)
@click.option(
    "--workload-api",
    type=PLACE,
    metavar="PATH",
    help="Serve the SPIFFE Workload API on a Unix socket at PATH; needs meshware[spiffe].",
)
@click.option("--once", is_flag=True, help="Read, publish or refuse, and end.")
@format_option
def command(
    *,
    sources: tuple[Path, ...],
    run_dir: Path,
    state_dir: Path | None,
    ca_dir: Path | None,
    listen: str,
    dashboard_token_file: Path | None,
    prometheus: str | None,
    dns_servers: str,
    workload_api: Path | None,
    once: bool,
    output: str,
) -> int:
    """Check policy, publish it to the workers of this machine, and do so again at each edit.

    Policy with an error is refused whole: the reasons are told on standard error and in
    `meshware status`, and what was published before stays in force.

    Exit code 0: ended by SIGTERM or Ctrl-C, or with --once: published, or up to date already;
    1: with --once, refused; 2: it cannot start.
    """
    from meshware.clock import SystemClock
    from meshware.dashboard.prometheus import checked_url
    from meshware.runtime.dns_lookup import parse_servers
    from meshware.syncd.announce import JsonAnnouncer, TextAnnouncer
    from meshware.syncd.daemon import run_daemon, run_once
    from meshware.syncd.listen import parse_address
    from meshware.syncd.places import default_state_dir, settle_places

    state = state_dir or default_state_dir(os.environ, os.geteuid())
    places = settle_places(sources, run_dir, state, ca_dir)
    announcer = JsonAnnouncer if output == "json" else TextAnnouncer
    address = parse_address(listen)
    servers = parse_servers(dns_servers, "--dns")
    history = None if prometheus is None else checked_url(prometheus)
    tell = line_writer(_STDERR, _ignore)
    if once:
        announce = announcer(line_writer(_STDOUT), tell)
        return 0 if run_once(places, announce, SystemClock(), servers).ok else 1

    def go_on(error: OSError) -> None:
        reason = (error.strerror or str(error)).lower()
        tell(f"standard output cannot be written: {reason}; the daemon goes on without it")

    announce = announcer(line_writer(_STDOUT, go_on), tell)
    run_daemon(
        places,
        announce,
        SystemClock(),
        address,
        servers,
        workload_api=workload_api,
        token_file=dashboard_token_file,
        prometheus=history,
    )
    return 0


def _ignore(_error: OSError) -> None:
    """Do without standard error: what is told there is in the status file too."""
