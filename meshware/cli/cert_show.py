"""`meshware cert show` and `cert list`: authorities and identities, and when they end."""

from __future__ import annotations

import pwd
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from meshware.cli.cert_places import (
    about,
    ca_dir_option,
    places_of,
    run_dir_option,
    state_dir_option,
)
from meshware.cli.options import PLACE, format_option
from meshware.cli.output import printed, table, when
from meshware.errors import SettingsError

__all__ = ["list_command", "show_command"]


@click.command("show", short_help="Tell which authority there is, and until when.")
@click.option("--run-dir", type=PLACE, help="The run directory of `meshware sync`.")
@state_dir_option
@ca_dir_option
@format_option
def show_command(
    run_dir: Path | None, state_dir: Path | None, ca_dir: Path | None, output: str
) -> int:
    """Tell which authority the daemon issues from, what workers believe, and when that ends.

    Exit code 0: all is well; 1: there is no authority, or something of it has ended; 2: there is
    no such run directory, or its state cannot be read.
    """
    from meshware.ca.requests import read_progress

    if run_dir is None and ca_dir is None:
        raise SettingsError("name what to look at: --run-dir of a daemon, or --ca-dir")
    places = None if run_dir is None else places_of(run_dir, state_dir)
    now = datetime.now(UTC)
    if ca_dir is not None:
        authorities = [_given(ca_dir, now)]
    else:
        authorities = _embedded(places.authorities, now) if places else []
    published = _published(places.policy_file) if places else {}
    progress = read_progress(places.state_dir) if places else None
    change = None
    if progress is not None and progress.phase in {"announced", "issuing"}:
        change = {
            "phase": progress.phase,
            "since": progress.since,
            "stragglers": len(progress.stragglers),
            "drop_at": None
            if progress.drop_at is None
            else when(datetime.fromtimestamp(progress.drop_at, UTC)),
        }
    facts = {"authorities": authorities, "bundles": published, "change": change}
    lines = []
    for each in authorities:
        lines.append(f"authority of {each['trust_domain']}, in {each['where']}")
        rows = [
            (f"  {kind}", one["name"], one["until"], one["fingerprint"], one["state"])
            for kind in ("root", "intermediate")
            for one in each[f"{kind}s"]
        ]
        lines += table([("  kind", "name", "until", "fingerprint", ""), *rows])
    if not authorities:
        lines.append(f"no authority in {places.authorities if places else ca_dir}")
    for trust_domain, bundle in published.items():
        lines.append(
            f"published: bundle of {trust_domain}: {len(bundle['roots'])} roots, "
            f"{len(bundle['intermediates'])} intermediates"
        )
    if change:
        lines.append(
            f"the root changes since {change['since']}: {change['phase']}"
            + (f", the old root is dropped at {change['drop_at']}" if change["drop_at"] else "")
        )
    printed(output, facts, lines)
    has_ended = any(
        one["until"] <= when(now) for each in authorities for one in each["roots"]
    ) or not all(any(o["state"] == "issues" for o in e["intermediates"]) for e in authorities)
    return 1 if has_ended or not authorities else 0


def _given(ca_dir: Path, now: datetime) -> dict[str, Any]:
    from meshware.ca.given import GivenAuthority, trust_domain_of

    given = GivenAuthority(ca_dir, trust_domain_of(ca_dir), now)
    issuing = given.issuer.certificate
    return {
        "trust_domain": given.trust_domain,
        "where": str(ca_dir),
        "roots": [{**about(one), "state": "trusted"} for one in given.bundle.roots],
        "intermediates": [
            {**about(one), "state": _state(one == issuing, one, now)}
            for one in given.bundle.intermediates
        ],
    }


def _embedded(directory: Path, now: datetime) -> list[dict[str, Any]]:
    from meshware.ca.store import Store, trust_domains_in

    found = []
    for trust_domain in trust_domains_in(directory):
        store = Store(directory, trust_domain)
        state, generations = store.load()
        found.append(
            {
                "trust_domain": trust_domain,
                "where": str(store.directory),
                "roots": [
                    {
                        **about(each.root.certificate),
                        "state": "issues" if number == state.issuing else "trusted",
                    }
                    for number, each in generations.items()
                ],
                "intermediates": [
                    {
                        **about(issuer.certificate),
                        "state": _state(number == state.issuing, issuer.certificate, now),
                    }
                    for number, each in generations.items()
                    for issuer in each.intermediates.values()
                ],
            }
        )
    return found


def _state(issues: bool, certificate: Any, now: datetime) -> str:
    if certificate.not_valid_after_utc <= now:
        return "ended"
    return "issues" if issues else "known"


def _published(policy_file: Path) -> dict[str, dict[str, list[dict[str, Any]]]]:
    import msgspec

    from meshware.errors import PolicyFileError
    from meshware.identity.bundle import read_certificates
    from meshware.policy.record_types import BundleRecord
    from meshware.runtime.policy_file import open_policy_file

    try:
        owner = policy_file.stat().st_uid
        records = open_policy_file(policy_file, frozenset({owner}))
        keys = [key for key in records.keys() if key.startswith("bundle/")]  # noqa: SIM118
        found = [msgspec.json.decode(records.get(key) or b"", type=BundleRecord) for key in keys]
    except (FileNotFoundError, PolicyFileError, msgspec.MsgspecError):
        return {}
    return {
        record.trust_domain: {
            "roots": [about(one) for pem in record.roots for one in read_certificates(pem, "it")],
            "intermediates": [
                about(one) for pem in record.intermediates for one in read_certificates(pem, "it")
            ],
        }
        for record in found
    }


@click.command("list", short_help="List the identities of a run directory.")
@run_dir_option
@format_option
def list_command(run_dir: Path, output: str) -> int:
    """List the identities below a run directory: whose they are, and when they end.

    Exit code 0: all can be used; 1: one has ended or cannot be read; 2: there is no such run
    directory.
    """
    places = places_of(run_dir, run_dir.parent)  # its state is not looked at
    now = datetime.now(UTC)
    found = [_identity(path, now) for path in _directories(places.run_dir)]
    rows = [("service account", "user", "id", "until", "")]
    rows += [
        (
            each["service_account"],
            each["user"],
            each["id"] or "-",
            each["until"] or "-",
            each["state"],
        )
        for each in found
    ]
    printed(output, found, table(rows) if found else ["no identities"])
    return 0 if all(each["state"] == "good" for each in found) else 1


def _directories(run_dir: Path) -> list[Path]:
    from meshware.ca.found import identity_files

    return list(identity_files(run_dir / "identity"))


def _identity(directory: Path, now: datetime) -> dict[str, Any]:
    from meshware.errors import IdentityError
    from meshware.runtime.svid_files import read_svid

    facts: dict[str, Any] = {
        "service_account": f"{directory.parent.name}/{directory.name}",
        "user": "?",
        "id": None,
        "from": None,
        "until": None,
        "state": "good",
    }
    try:
        facts["user"] = _user(directory.stat().st_uid)
        svid = read_svid(directory)
    except FileNotFoundError:
        facts["state"] = "absent"
        return facts
    except (OSError, IdentityError) as error:
        why = (error.strerror or str(error)).lower() if isinstance(error, OSError) else str(error)
        facts["state"] = f"cannot be used: {why}"
        return facts
    facts["id"] = str(svid.id)
    facts["from"] = when(datetime.fromtimestamp(svid.from_s, UTC))
    facts["until"] = when(datetime.fromtimestamp(svid.until_s, UTC))
    if svid.until_s <= now.timestamp():
        facts["state"] = "ended"
    return facts


def _user(number: int) -> str:
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return str(number)
