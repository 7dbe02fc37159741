"""Identities that somebody else provides, and authorities of several machines below one root."""

from __future__ import annotations

import json
import signal

import pytest
from ca_world import TRUST_DOMAIN
from daemons import meshware, running
from identity_world import bundle, daemon_of, keys_of, made_mesh, once, pair, wait_until

from meshware.ca.files import make_intermediate, make_root
from meshware.clock import SystemClock
from meshware.identity.bundle import read_certificates
from meshware.identity.issue import issue_intermediate, issue_root, issue_svid, new_key
from meshware.identity.spiffe import workload_id

# --- other providers ------------------------------------------------------------------------------


def foreign(root, *, roots_name: str) -> None:
    """What cert-manager, or a Vault agent, writes for `web`."""
    now = SystemClock().now()
    top = issue_root(TRUST_DOMAIN, new_key(), now, 3600)
    issuer = issue_intermediate(top, new_key(), now, 3600)
    svid = issue_svid(issuer, workload_id(TRUST_DOMAIN, "default", "web"), new_key(), now, 3600)
    place = root / "run" / "identity" / "default" / "web"
    place.mkdir(parents=True)
    (place / "tls.crt").write_text(svid.cert_pem, encoding="ascii")
    (place / "tls.key").touch(mode=0o600)
    (place / "tls.key").write_text(svid.key_pem, encoding="ascii")
    (place / roots_name).write_text(issuer.cert_pem.split("\n-----BEGIN")[-1], encoding="ascii")
    text = (place / roots_name).read_text("ascii")
    if not text.startswith("-----BEGIN"):
        (place / roots_name).write_text(f"-----BEGIN{text}", encoding="ascii")


@pytest.mark.parametrize("roots_name", ["bundle.pem", "ca.crt"])
def test_files_of_somebody_else_are_published_and_left_alone(tmp_path, roots_name):
    """With `provider: files` nothing is written below identity/, and roots are followed."""
    made_mesh(tmp_path, spec="  identity: {provider: files}\n")
    foreign(tmp_path, roots_name=roots_name)
    identity = tmp_path / "run" / "identity"

    def seen():
        """What lies there, and when it was changed."""
        return {
            path: (path.stat().st_mtime_ns, path.stat().st_mode, path.stat().st_ino)
            for path in (identity, *identity.rglob("*"))
        }

    before = seen()
    with running(tmp_path) as daemon:
        daemon.wait_for(daemon.generation)
        found = bundle(tmp_path)
        assert found is not None
        assert len(found.roots) == len(found.intermediates) == 1
        assert seen() == before
        assert keys_of(tmp_path) == []

        now = SystemClock().now()
        more = issue_root(TRUST_DOMAIN, new_key(), now, 3600).cert_pem
        path = identity / "default" / "web" / roots_name
        path.write_text(path.read_text("ascii") + more, encoding="ascii")
        daemon.wait_for(lambda: len(bundle(tmp_path).roots) == 2)
        [added] = read_certificates(more, "it")
        assert added in read_certificates("".join(bundle(tmp_path).roots), "it")


def test_a_workload_api_provider_makes_no_authority(tmp_path):
    """An agent has it; the daemon publishes no bundle of its own."""
    made_mesh(tmp_path, spec="  identity: {provider: workload-api}\n")
    assert once(tmp_path).returncode == 0
    assert not (tmp_path / "run" / "identity").exists()
    assert keys_of(tmp_path) == []
    assert bundle(tmp_path) is None


# --- several machines -----------------------------------------------------------------------------


def test_a_lost_nodes_intermediate_is_denied_by_policy(tmp_path):
    """Two nodes below one offline root trust each other, until policy denies one of them."""
    now = SystemClock().now()
    make_root(tmp_path / "root", TRUST_DOMAIN, now, 1e6)
    fingerprints = {}
    for node in ("a", "b"):
        place = tmp_path / node
        made_mesh(place)
        make_intermediate(tmp_path / "root", node, place / "authority", now, 1e5)
        shown = meshware("cert", "show", "--ca-dir", place / "authority", "--format", "json")
        [of_node] = json.loads(shown.stdout)["authorities"]
        fingerprints[node] = of_node["intermediates"][0]["fingerprint"]
    a, b = tmp_path / "a", tmp_path / "b"
    with (
        daemon_of(a, "--ca-dir", str(a / "authority")),
        daemon_of(b, "--ca-dir", str(b / "authority")) as lost,
        pair(a / "run", b / "run") as (caller, server),
    ):
        wait_until(lambda: caller.can_call(server))
        assert caller.call(server) == f"spiffe://{TRUST_DOMAIN}/ns/default/sa/orders"
        lost.end(signal.SIGKILL)
        made_mesh(a, spec=f"  identity: {{deniedAuthorities: [{fingerprints['b']}]}}\n")
        wait_until(lambda: not caller.can_call(server))
        with pytest.raises(OSError, match="policy denies an authority"):
            caller.call(server)
