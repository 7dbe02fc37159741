"""Options that several `meshware cert` commands take, and where they lead."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from meshware.cli.options import PLACE
from meshware.cli.output import when
from meshware.errors import SettingsError

if TYPE_CHECKING:
    from cryptography import x509

    from meshware.syncd.places import Places

__all__ = [
    "about",
    "ca_dir_option",
    "places_of",
    "run_dir_option",
    "seconds",
    "state_dir_option",
]

run_dir_option = click.option(
    "--run-dir", type=PLACE, required=True, help="The run directory of `meshware sync`."
)
state_dir_option = click.option(
    "--state-dir",
    type=PLACE,
    help="The state directory of `meshware sync`.  [default: where the daemon of the run "
    "directory keeps it]",
)
ca_dir_option = click.option(
    "--ca-dir", type=PLACE, help="The directory of an authority, in place of the daemon's own."
)

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def places_of(run_dir: Path, state_dir: Path | None, ca_dir: Path | None = None) -> Places:
    """Return where the daemon of a run directory keeps everything.

    Raises:
        SyncError: there is no such run directory, or no home to keep state in.
        OSError: the daemon's status cannot be read.
    """
    from dataclasses import replace

    from meshware.errors import SyncError
    from meshware.syncd.places import default_state_dir, settle_places
    from meshware.syncd.status import read_status

    if not run_dir.is_dir():
        raise SyncError(f"{run_dir} is not a directory: name the run directory of `meshware sync`")
    if state_dir is not None:
        return settle_places((), run_dir, state_dir, ca_dir)
    status = read_status(run_dir / "status.json")
    if status is not None and Path(status.state_dir).is_absolute():
        default = Path(status.state_dir)
        return replace(settle_places((), run_dir, default.parent, ca_dir), state_dir=default)
    return settle_places((), run_dir, default_state_dir(os.environ, os.geteuid()), ca_dir)


def seconds(_ctx: click.Context, option: click.Parameter, written: str) -> float:
    """Read a length of time: `1h`, `365d`, `90s`, `30m`, or seconds."""
    number, unit = (written[:-1], written[-1:]) if written[-1:] in _UNITS else (written, "s")
    try:
        found = float(number) * _UNITS[unit]
    except ValueError:
        found = -1.0
    if not 0 <= found < 1e10:
        raise SettingsError(f"--{option.name}: {written!r} is no length of time; write 90s or 1h")
    return found


def about(certificate: x509.Certificate) -> dict[str, Any]:
    """Return what is told of an authority's certificate."""
    from cryptography import x509

    from meshware.identity.bundle import fingerprint

    names = certificate.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
    return {
        "name": str(names[0].value) if names else "",
        "fingerprint": fingerprint(certificate),
        "from": when(certificate.not_valid_before_utc),
        "until": when(certificate.not_valid_after_utc),
    }
