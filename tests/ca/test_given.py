"""The authority of one node, made offline by a person and moved there."""

from __future__ import annotations

import pytest
from ca_world import NOW, TRUST_DOMAIN, later, mode_of

from meshware.ca.files import make_intermediate, make_root, write_identity
from meshware.ca.given import GivenAuthority, trust_domain_of
from meshware.errors import IdentityError, SyncError
from meshware.identity.bundle import Bundles, fingerprint
from meshware.identity.spiffe import workload_id
from meshware.identity.svid import X509SVID
from meshware.identity.verify import verify_chain

WEB = workload_id(TRUST_DOMAIN, "default", "web")
DAY_S = 86400.0


@pytest.fixture
def root(tmp_path):
    """The directory of an offline root."""
    make_root(tmp_path / "root", TRUST_DOMAIN, NOW, 100 * DAY_S)
    return tmp_path / "root"


@pytest.fixture
def node(tmp_path, root):
    """The directory of a node's authority."""
    make_intermediate(root, "a", tmp_path / "a", NOW, 10 * DAY_S)
    return tmp_path / "a"


def test_what_is_made_for_a_node_has_no_key_of_the_root(root, node):
    """Keys are for this user alone; the root's directory keeps a copy of what it vouched for."""
    assert {path.name: mode_of(path) for path in node.iterdir()} == {
        "intermediate.pem": 0o600,
        "root.crt": 0o644,
    }
    assert mode_of(node) == mode_of(root) == 0o700
    assert mode_of(root / "root.pem") == 0o600
    assert (node / "intermediate.pem").read_text("ascii").count("PRIVATE KEY-----\n") == 2
    key = (root / "root.pem").read_text("ascii").partition("-----BEGIN CERT")[0]
    assert key not in (node / "intermediate.pem").read_text("ascii")
    [issued] = (root / "issued").iterdir()
    assert issued.name.startswith("a-")


def test_nodes_below_one_root_believe_each_other(tmp_path, root, node):
    """Neither has the key of the root."""
    make_intermediate(root, "b", tmp_path / "b", NOW, 10 * DAY_S)
    one = GivenAuthority(node, TRUST_DOMAIN, NOW)
    other = GivenAuthority(tmp_path / "b", TRUST_DOMAIN, NOW)
    svid = one.issue(WEB, NOW, 3600.0)
    assert verify_chain(svid.chain, Bundles([other.bundle]), NOW, "server").id == WEB


def test_intermediates_of_other_nodes_help_where_a_server_shows_the_leaf_alone(
    tmp_path, root, node
):
    """An operator may put their certificates beside; they are not trusted by that."""
    make_intermediate(root, "b", tmp_path / "b", NOW, 10 * DAY_S)
    leaf = GivenAuthority(tmp_path / "b", TRUST_DOMAIN, NOW).issue(WEB, NOW, 3600.0).chain[:1]
    for path in (root / "issued").iterdir():
        (node / path.name).write_bytes(path.read_bytes())
    bundle = GivenAuthority(node, TRUST_DOMAIN, NOW).bundle
    assert (len(bundle.roots), len(bundle.intermediates)) == (1, 2)
    assert verify_chain(leaf, Bundles([bundle]), NOW, "server").id == WEB


def test_it_is_renewed_by_replacing_files(root, node):
    """What was issued before stays current only until then."""
    made = GivenAuthority(node, TRUST_DOMAIN, NOW)
    before = fingerprint(made.issuer.certificate)
    make_intermediate(root, "a", node, later(DAY_S), 10 * DAY_S)
    made.look(later(DAY_S), 3600.0)
    after = fingerprint(made.issuer.certificate)
    assert after != before
    assert made.is_current(after) and not made.is_current(before)


def test_files_that_are_torn_while_it_runs_leave_what_was_read(node):
    """The daemon says so and goes on."""
    made = GivenAuthority(node, TRUST_DOMAIN, NOW)
    (node / "intermediate.pem").write_bytes(b"half")
    with pytest.raises(SyncError, match="cannot be used"):
        made.look(NOW, 3600.0)
    assert made.issue(WEB, NOW, 60.0).id == WEB


def test_one_that_policy_denies_issues_nothing(node):
    """The message says what to do."""
    made = GivenAuthority(node, TRUST_DOMAIN, NOW)
    with pytest.raises(IdentityError, match="put another intermediate there"):
        made.look(NOW, 3600.0, (fingerprint(made.issuer.certificate),))
    with pytest.raises(IdentityError, match="policy denies"):
        made.issue(WEB, NOW, 60.0)


def damaged(node, root, how):
    """Make the directory unusable."""
    if how == "no root":
        (node / "root.crt").unlink()
    elif how == "another root":
        make_root(root.parent / "other", TRUST_DOMAIN, NOW, DAY_S)
        (node / "root.crt").write_bytes((root.parent / "other" / "root.crt").read_bytes())
    elif how == "readable":
        (node / "intermediate.pem").chmod(0o640)
    elif how == "a leaf":
        svid = GivenAuthority(node, TRUST_DOMAIN, NOW).issue(WEB, NOW, 60.0)
        (node / "intermediate.pem").write_text(svid.pem, encoding="ascii")
    elif how == "the root itself":
        (node / "intermediate.pem").write_bytes((root / "root.pem").read_bytes())
    elif how == "nothing":
        (node / "intermediate.pem").unlink()


@pytest.mark.parametrize(
    ("how", "says"),
    [
        ("no root", "no such file"),
        ("another root", "no path leads to a root"),
        ("readable", "chmod 600"),
        ("a leaf", "no path leads to a root|is not of trust domain"),
        ("the root itself", "a node has no root's key"),
        ("nothing", "no such file"),
    ],
)
def test_what_cannot_be_used_is_one_sentence(root, node, how, says):
    """Whatever lies there; and a leaf's key is no authority's."""
    damaged(node, root, how)
    with pytest.raises(SyncError, match=says) as caught:
        GivenAuthority(node, TRUST_DOMAIN, NOW)
    assert "--ca-dir" in str(caught.value)
    assert "PRIVATE" not in str(caught.value)


def test_one_of_another_trust_domain_or_that_has_ended_is_refused(node):
    """It would issue what nobody accepts."""
    with pytest.raises(SyncError, match=r"it is not of trust domain other\.test"):
        GivenAuthority(node, "other.test", NOW)
    with pytest.raises(SyncError, match="ended at"):
        GivenAuthority(node, TRUST_DOMAIN, later(11 * DAY_S))
    assert trust_domain_of(node) == TRUST_DOMAIN


def test_a_second_root_is_not_made_over_the_first(root):
    """It would be lost, with all that it vouches for."""
    with pytest.raises(SyncError, match="already"):
        make_root(root, TRUST_DOMAIN, NOW, DAY_S)


def test_an_identity_that_a_person_issues_is_as_the_daemons(tmp_path, node):
    """A pair in one file, for this user alone."""
    made = GivenAuthority(node, TRUST_DOMAIN, NOW)
    write_identity(tmp_path / "out", made.issue(WEB, NOW, 60.0), made.bundle)
    assert X509SVID.from_pem((tmp_path / "out" / "svid.pem").read_bytes()).id == WEB
    assert {mode_of(path) for path in (tmp_path / "out").iterdir()} == {0o600}
