"""`meshware cert issue`, `init-root` and `issue-intermediate`: new keys with their certificates."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from meshware.cli.cert_places import about, ca_dir_option, places_of, seconds, state_dir_option
from meshware.cli.options import PLACE, format_option
from meshware.cli.output import printed, when
from meshware.errors import SettingsError

if TYPE_CHECKING:
    from meshware.ca.authority import EmbeddedAuthority
    from meshware.ca.given import GivenAuthority

__all__ = ["init_root_command", "issue_command", "issue_intermediate_command"]

_NODE = re.compile(r"[A-Za-z0-9][-A-Za-z0-9._]{0,62}")


@click.command("issue", short_help="Issue one identity into a directory.")
@click.argument("spiffe_id", metavar="ID")
@click.option("--out", type=PLACE, required=True, help="Where svid.pem and bundle.pem are written.")
@click.option(
    "--run-dir", type=PLACE, help="The run directory of the `meshware sync` whose authority issues."
)
@state_dir_option
@ca_dir_option
@click.option(
    "--life", default="1h", show_default=True, callback=seconds, help="How long it holds."
)
@format_option
def issue_command(
    *,
    spiffe_id: str,
    out: Path,
    run_dir: Path | None,
    state_dir: Path | None,
    ca_dir: Path | None,
    life: float,
    output: str,
) -> int:
    """Issue the identity ID, such as spiffe://shop.test/ns/default/sa/web, into a directory.

    For programs that the daemon does not serve. Nobody renews it. A change of root waits for what
    the daemon issued, and not for one that lives longer: issue that anew when the root changes.

    Exit code 0: issued; 2: it cannot be.
    """
    from meshware.ca.authority import EmbeddedAuthority
    from meshware.ca.files import write_identity
    from meshware.identity.spiffe import SpiffeID

    wanted = SpiffeID.parse(spiffe_id)
    if life < 1:
        raise SettingsError("--life: an identity holds a second at least")
    now = datetime.now(UTC)
    authority = _authority(wanted.trust_domain, run_dir, state_dir, ca_dir, now)
    svid = authority.issue(wanted, now, life)
    write_identity(out, svid, authority.bundle)
    until = when(datetime.fromtimestamp(svid.until_s, UTC))
    facts = {"id": str(svid.id), "until": until, "directory": str(out)}
    if isinstance(authority, EmbeddedAuthority) and life > authority.state.longest_leaf_s:
        click.echo(
            f"meshware: it outlives what the daemon issues ({authority.state.longest_leaf_s:.0f} "
            "s), and a change of root does not wait for it: issue it anew when the root changes",
            err=True,
        )
    printed(output, facts, [f"issued {svid.id} until {until}: {out / 'svid.pem'}"])
    return 0


def _authority(
    trust_domain: str,
    run_dir: Path | None,
    state_dir: Path | None,
    ca_dir: Path | None,
    now: datetime,
) -> EmbeddedAuthority | GivenAuthority:
    from meshware.ca.authority import EmbeddedAuthority
    from meshware.ca.given import GivenAuthority
    from meshware.ca.store import Store
    from meshware.errors import SyncError

    if ca_dir is not None:
        return GivenAuthority(ca_dir, trust_domain, now)
    if run_dir is None:
        raise SettingsError("name who issues: --run-dir of a daemon, or --ca-dir")
    store = Store(places_of(run_dir, state_dir).authorities, trust_domain)
    if not store.exists():
        raise SyncError(
            f"there is no authority of {trust_domain} in {store.directory}: start `meshware sync` "
            "first, or name another place by --state-dir or --ca-dir"
        )
    return EmbeddedAuthority(store, *store.load())


@click.command("init-root", short_help="Make a root, to be kept offline.")
@click.option("--dir", "directory", type=PLACE, required=True, help="Where it is kept: offline.")
@click.option("--trust-domain", required=True, help="MeshConfig's trustDomain.")
@click.option(
    "--life", default="3652d", show_default=True, callback=seconds, help="How long it holds."
)
@format_option
def init_root_command(directory: Path, trust_domain: str, life: float, output: str) -> int:
    """Make the root of a mesh of several machines, for a directory that stays offline.

    Exit code 0: made; 2: it cannot be, or there is one.
    """
    from meshware.ca.files import make_root

    root = make_root(directory, trust_domain, datetime.now(UTC), life)
    facts = {"trust_domain": trust_domain, "directory": str(directory), **about(root.certificate)}
    printed(
        output,
        facts,
        [
            f"made the root of {trust_domain} until {facts['until']}: {directory}; keep it offline",
            f"  fingerprint {facts['fingerprint']}",
        ],
    )
    return 0


@click.command("issue-intermediate", short_help="Make the authority of one node below a root.")
@click.option("--root-dir", type=PLACE, required=True, help="The directory of `cert init-root`.")
@click.option("--node", required=True, help="Which node it is for; a name for people.")
@click.option(
    "--out", type=PLACE, required=True, help="What is moved to the node, for `sync --ca-dir`."
)
@click.option(
    "--life", default="365d", show_default=True, callback=seconds, help="How long it holds."
)
@format_option
def issue_intermediate_command(
    *, root_dir: Path, node: str, out: Path, life: float, output: str
) -> int:
    """Make the authority of one node, below a root that is kept offline.

    Move the directory to the node by tools of your own, and start `meshware sync --ca-dir` there.
    A node that was lost is denied by its fingerprint, in MeshConfig's identity.deniedAuthorities;
    the root's directory keeps a copy of each certificate in issued/.

    Exit code 0: made; 2: it cannot be.
    """
    from meshware.ca.files import make_intermediate

    if not _NODE.fullmatch(node):
        raise SettingsError("--node: write letters, digits, dots, hyphens and underscores")
    made = make_intermediate(root_dir, node, out, datetime.now(UTC), life)
    facts = {
        "trust_domain": made.trust_domain,
        "node": node,
        "directory": str(out),
        **about(made.certificate),
    }
    printed(
        output,
        facts,
        [
            f"made the authority of node {node} until {facts['until']}: {out}",
            f"  fingerprint {facts['fingerprint']}",
        ],
    )
    return 0
