"""`meshware probe URL`: ask a workload whether it is well, in its own name.

For exec probes: what holds no identity itself (a kubelet, a supervisor) runs this inside of the
workload's place, where its certificate lies.
"""

from __future__ import annotations

import http.client
import json
import os
import ssl
import time
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

import click
import msgspec

from meshware.cli.options import PLACE, format_option
from meshware.cli.records import records_at
from meshware.errors import IdentityError, SettingsError

__all__ = ["command"]


@dataclass(frozen=True, slots=True)
class _Outcome:
    ok: bool
    status: int | None
    reason: str
    took_s: float


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
    parts = _parsed(url)
    context = None
    if parts.scheme == "https":
        if policy is None or not workload:
            raise SettingsError(
                "an https probe needs the workload's identity: set MESH_CONFIG and MESH_WORKLOAD"
            )
        context = _context(policy, workload, run_dir or policy.parent, timeout)
    outcome = _ask(parts, context, timeout, expect)
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


def _context(policy: Path, workload: str, run_dir: Path, most_s: float) -> ssl.SSLContext:
    """Return the TLS of the workload itself.

    Args:
        policy: what the mesh is.
        workload: its name.
        run_dir: where its identity lies, if it lies in files.
        most_s: seconds to wait for an agent, if it comes from one.

    Raises:
        SettingsError: it has no identity here.
    """
    from meshware.clock import SystemClock
    from meshware.identity.bundle import Bundles
    from meshware.identity.spiffe import workload_id
    from meshware.identity.tls import mesh_client_context
    from meshware.policy.record_types import MeshRecord, WorkloadRecord
    from meshware.policy.snapshot import read_bundles
    from meshware.runtime.settings import workload_client
    from meshware.runtime.svid_files import SVIDFiles
    from meshware.runtime.workload_api import ENDPOINT, Agent, AgentSource

    client = workload_client(workload, "--workload (MESH_WORKLOAD)")
    records = records_at(policy)
    data = records.get(f"workload/{client.namespace}/{client.name}")
    account = None
    if data is not None:
        account = msgspec.json.decode(data, type=WorkloadRecord).service_account
    if account is None:
        raise SettingsError(
            f"policy gives {client.namespace}/{client.name} no service account, and so no identity"
        )
    mesh = msgspec.json.decode(records.get("mesh") or b"{}", type=MeshRecord)
    own = workload_id(mesh.trust_domain, client.namespace, account)
    bundles = read_bundles(records.get, mesh)
    if mesh.identity_provider == "workload-api":
        agent = AgentSource(Agent(os.environ.get(ENDPOINT, "")), own)
        svid = agent.wait(most_s)
        beside = agent.bundle(mesh.trust_domain)
        place = "the agent's socket"
    else:
        directory = run_dir / "identity" / client.namespace / account
        files = SVIDFiles(directory)
        svid, beside, place = files.svid(), files.bundle(mesh.trust_domain), str(directory)
    if svid is None:
        raise SettingsError(f"there is no identity to be used in {place}")
    if mesh.trust_domain not in bundles and beside is not None:
        bundles = Bundles([*bundles.values(), beside], tuple(bundles.denied))
    return mesh_client_context(svid, bundles, frozenset([str(own)]), SystemClock().now)


def _ask(
    parts: SplitResult, context: ssl.SSLContext | None, timeout: float, expect: int | None
) -> _Outcome:
    host, port = str(parts.hostname), parts.port or (443 if context else 80)
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    connection = http.client.HTTPConnection(host, port, timeout=timeout)
    began = time.monotonic()
    try:
        connection.connect()
        if context is not None:
            connection.sock = context.wrap_socket(connection.sock, server_hostname=host)
        connection.sock.settimeout(max(0.01, timeout - (time.monotonic() - began)))
        connection.request("GET", target, headers={"user-agent": "meshware-probe"})
        status = connection.getresponse().status
    except (OSError, http.client.HTTPException, IdentityError) as error:
        reason = str(error) or type(error).__name__
        return _Outcome(False, None, f"no answer ({reason})", time.monotonic() - began)
    finally:
        connection.close()
    ok = status == expect if expect is not None else 200 <= status < 400
    return _Outcome(ok, status, f"answered {status}", time.monotonic() - began)
