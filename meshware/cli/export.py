"""`meshware export envoy`: policy as the configuration of an ordinary Envoy."""

from __future__ import annotations

import json
import re
from pathlib import Path

import click

from meshware.cli.options import PLACE, format_option
from meshware.cli.records import records_at
from meshware.envoy import CA_FILE, ENDPOINTS, Endpoints, Export, Settings, export_files
from meshware.errors import SettingsError
from meshware.policy.names import is_ip
from meshware.runtime.files import replace_file
from meshware.runtime.settings import workload_client

__all__ = ["command", "write_export"]

_LOCALITY = re.compile(r"[^/*\s]+(/[^/*\s]+){0,2}")
_FILE_MODE = 0o644  # nothing in it is secret, and Envoy may run as another user


@click.group("export", short_help="Write policy in the words of another program.")
def command() -> None:
    """Write policy in the words of another program."""


@command.command("envoy", short_help="Write the configuration of an Envoy.")
@click.option(
    "--policy",
    type=PLACE,
    envvar="MESH_CONFIG",
    required=True,
    help="A policy file, or a YAML file or directory.  [default: $MESH_CONFIG]",
)
@click.option(
    "--workload",
    envvar="MESH_WORKLOAD",
    required=True,
    help="namespace/name of the workload that calls.  [default: $MESH_WORKLOAD]",
)
@click.option("--out", type=PLACE, required=True, help="The directory to write to.")
@click.option("--address", default="127.0.0.1", show_default=True, help="Where Envoy listens.")
@click.option(
    "--port",
    type=click.IntRange(1, 65535),
    default=15001,
    show_default=True,
    help="The port that applications name in http_proxy.",
)
@click.option(
    "--admin-port",
    type=click.IntRange(0, 65535),
    default=15000,
    show_default=True,
    help="Envoy's administration, on the loopback; 0 for none.",
)
@click.option("--locality", default="", help="region/zone/subzone of the workload.")
@click.option(
    "--ca-file",
    type=PLACE,
    default=Path(CA_FILE),
    show_default=True,
    help="The roots to trust where policy names none.",
)
@click.option(
    "--endpoints",
    type=click.Choice(["auto", "files", "inline"]),
    default="auto",
    show_default=True,
    help="A file for each cluster, or all in cds.json; auto: files up to 64 clusters.",
)
@click.option(
    "--identity",
    type=PLACE,
    help="The directory of the workload's svid.pem, for mutual TLS: run/identity/NS/ACCOUNT.",
)
@click.option("--inbound", default="", help="ADDRESS:PORT where the workload's own callers arrive.")
@click.option(
    "--app-port",
    type=click.IntRange(1, 65535),
    default=8080,
    show_default=True,
    help="Where its app listens on the loopback, behind --inbound.",
)
@format_option
def envoy(
    *,
    policy: Path,
    workload: str,
    out: Path,
    address: str,
    port: int,
    admin_port: int,
    locality: str,
    ca_file: Path,
    endpoints: Endpoints,
    identity: Path | None,
    inbound: str,
    app_port: int,
    output: str,
) -> int:
    """Write the configuration of an Envoy that calls services as this workload would.

    Start it with `envoy -c DIR/bootstrap.json`, and the app with http_proxy=http://127.0.0.1:15001.
    Run again, the command replaces the files, which a running Envoy takes up. Exit code 1: part of
    policy is not in it, and a warning says which.
    """
    if locality and not _LOCALITY.fullmatch(locality):
        raise SettingsError(f"--locality {locality}: write region/zone/subzone, or their beginning")
    if not is_ip(address):
        raise SettingsError(f"--address {address}: write an IP address, without a port")
    records = records_at(policy)
    client = workload_client(workload, "--workload (MESH_WORKLOAD)")
    settings = Settings(
        directory=str(out.absolute()),
        address=address,
        port=port,
        admin_port=admin_port or None,
        locality=locality,
        ca_file=str(ca_file),
        endpoints=endpoints,
        identity=None if identity is None else str(identity.absolute()),
        inbound=_inbound(inbound),
        app_port=app_port,
    )
    export = export_files(records, client, settings)
    write_export(export, out)
    for warning in export.warnings:
        click.echo(f"meshware: {warning}", err=True)
    if output == "json":
        files = sorted(str(out / name) for name in export.files)
        click.echo(json.dumps({"files": files, "warnings": list(export.warnings)}, indent=2))
    else:
        click.echo(f"{out}: {export.hosts} hosts, {export.clusters} clusters")
    return 1 if export.warnings else 0


def _inbound(written: str) -> tuple[str, int] | None:
    if not written:
        return None
    from meshware.syncd.listen import host_and_port

    found = host_and_port(written)
    if found is None or not is_ip(found.host) or not found.port:
        raise SettingsError(f"--inbound {written}: write ADDRESS:PORT, such as 0.0.0.0:8443")
    return found.host, found.port


def write_export(export: Export, out: Path) -> None:
    """Write the files of a configuration, and remove the endpoints of clusters that are no more.

    Raises:
        OSError: a file cannot be written; those before it have been replaced.
    """
    (out / ENDPOINTS).mkdir(parents=True, exist_ok=True)
    for name, data in export.files.items():
        path = out / name
        if not _holds(path, data):  # each move makes Envoy read the file again
            replace_file(path, data, mode=_FILE_MODE)
    for path in (out / ENDPOINTS).glob("*.json"):
        if f"{ENDPOINTS}/{path.name}" not in export.files:
            path.unlink(missing_ok=True)


def _holds(path: Path, data: bytes) -> bool:
    try:
        return path.read_bytes() == data
    except OSError:
        return False
