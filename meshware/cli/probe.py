"""`meshware probe URL`: ask a workload whether it is well, in its own name.

For exec probes: what holds no identity itself (a kubelet, a supervisor) runs this inside of the
workload's place, where its certificate lies.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

import click

from meshware.cli.options import PLACE, format_option
from meshware.cli.records import records_at
from meshware.errors import SettingsError

__all__ = ["command"]


@click.command("probe", short_help="Ask a workload whether it is well, in its own name.")
@click.argument("url")
@click.option(
    "--policy",
    type=PLACE,
    envvar="MESH_CONFIG",
    help="The policy file, or a YAML file or directory.  [default: $MESH_CONFIG]",
)
@click.option(
    "--workload",
    envvar="MESH_WORKLOAD",
    default="",
    help="namespace/name of the workload.  [default: $MESH_WORKLOAD]",
)
@click.option(
    "--run-dir",
    type=PLACE,
    envvar="MESH_RUN_DIR",
    help="Where its identity lies.  [default: $MESH_RUN_DIR, else beside the policy]",
)
@click.option(
    "--timeout",
    type=click.FloatRange(min=0.01, max=3600),
    default=5.0,
    show_default=True,
    help="Seconds for all of it.",
)
@click.option(
    "--expect",
    type=click.IntRange(100, 599),
    help="The status that is well.  [default: 200 to 399]",
)
@format_option
def command(
    *,
    url: str,
    policy: Path | None,
    workload: str,
    run_dir: Path | None,
    timeout: float,
    expect: int | None,
    output: str,
) -> int:
    """Ask URL once by GET, and exit with 0 if its answer says that all is well.

    An `https` URL is asked by mutual TLS with the workload's own certificate, and its own identity
    is expected there; an `http` one in plaintext. Exit code 1: it is not well, or did not answer.
    """
    from meshware.runtime.probe import own_context, probe

    parts = _parsed(url)
    context = None
    if parts.scheme == "https":
        if policy is None or not workload:
            raise SettingsError(
                "an https probe needs the workload's identity: set MESH_CONFIG and MESH_WORKLOAD"
            )
        from meshware.runtime.settings import workload_client
        from meshware.runtime.workload_api import ENDPOINT

        client = workload_client(workload, "--workload (MESH_WORKLOAD)")
        context = own_context(
            records_at(policy),
            client,
            run_dir or policy.parent,
            os.environ.get(ENDPOINT, ""),
            timeout,
        )
    outcome = probe(parts, context, timeout, expect)
    if output == "json":
        click.echo(
            json.dumps(
                {
                    "url": url,
                    "ok": outcome.ok,
                    "status": outcome.status,
                    "reason": outcome.reason,
                    "took_s": round(outcome.took_s, 6),
                }
            )
        )
    else:
        click.echo(f"{url}: {outcome.reason}, {outcome.took_s * 1000:.0f} ms")
    return 0 if outcome.ok else 1


def _parsed(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        is_whole = parts.scheme in ("http", "https") and bool(parts.hostname)
        _ = parts.port
    except ValueError:
        is_whole = False
    if not is_whole or parts.username is not None:
        raise SettingsError(f"{url[:80]!r} is no URL; write https://127.0.0.1:8080/healthz")
    return parts
