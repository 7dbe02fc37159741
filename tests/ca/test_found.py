"""Authorities beside identities that somebody else writes: whom the daemon takes at their word."""

from __future__ import annotations

import os

import pytest
from ca_world import NOW, TRUST_DOMAIN, let_through, needs_root, users

from meshware.ca.found import FoundAuthorities, has_bundle
from meshware.identity.issue import issue_intermediate, issue_root, issue_svid, new_key
from meshware.identity.spiffe import workload_id


@pytest.fixture
def place(tmp_path):
    """The directory of an identity."""
    found = tmp_path / "run" / "identity" / "default" / "web"
    found.mkdir(parents=True)
    return let_through(found)


def follow(tmp_path):
    """What follows them, and what it has told."""
    told = []
    return FoundAuthorities(tmp_path / "run", told.append), told


def root(name="root"):
    return issue_root(TRUST_DOMAIN, new_key(), NOW, 3600, name)


def test_roots_of_all_identities_are_one_bundle(tmp_path, place):
    """Each once, however often it lies there."""
    one, other = root("one"), root("other")
    (place / "bundle.pem").write_text(one.cert_pem, encoding="ascii")
    for name in ("orders", "mail"):
        (place.parent / name).mkdir()
        text = one.cert_pem + other.cert_pem
        (place.parent / name / "ca.crt").write_text(text, encoding="ascii")
    found, told = follow(tmp_path)
    bundle = found.bundle(TRUST_DOMAIN)
    assert set(bundle.roots) == {one.certificate, other.certificate}
    assert told == []


def test_what_is_between_is_taken_from_the_chains_that_are_shown(tmp_path, place):
    """It is trusted by nobody, and helps where a server shows the leaf alone."""
    top = root()
    issuer = issue_intermediate(top, new_key(), NOW, 3600)
    svid = issue_svid(issuer, workload_id(TRUST_DOMAIN, "default", "web"), new_key(), NOW, 60)
    (place / "tls.crt").write_text(svid.cert_pem, encoding="ascii")
    (place / "ca.crt").write_text(top.cert_pem, encoding="ascii")
    bundle = follow(tmp_path)[0].bundle(TRUST_DOMAIN)
    assert (bundle.roots, bundle.intermediates) == ((top.certificate,), (issuer.certificate,))


def test_files_that_vanish_take_nobodys_trust_away(tmp_path, place):
    """A mount that is gone for a moment; one that is damaged is told once."""
    (place / "bundle.pem").write_text(root().cert_pem, encoding="ascii")
    found, told = follow(tmp_path)
    before = found.bundle(TRUST_DOMAIN)
    (place / "bundle.pem").write_text("damaged", encoding="ascii")
    assert found.bundle(TRUST_DOMAIN) == before
    assert found.bundle(TRUST_DOMAIN) == before
    assert len(told) == 1 and str(place / "bundle.pem") in told[0]
    (place / "bundle.pem").unlink()
    assert found.bundle(TRUST_DOMAIN) == before
    assert found.bundle("other.test") is None


@pytest.mark.parametrize("above", range(4), ids=["file", "account", "namespace", "identity"])
def test_a_root_that_others_may_write_is_not_taken_until_they_may_not(tmp_path, place, above):
    """It vouches for every workload of the mesh."""
    path = place / "bundle.pem"
    path.write_text(root().cert_pem, encoding="ascii")
    what = (path, *path.parents)[above]
    mode = what.stat().st_mode
    what.chmod(0o777)
    found, told = follow(tmp_path)
    assert found.bundle(TRUST_DOMAIN) is None
    assert "others than root and the daemon's user can write it" in told[0]
    what.chmod(mode)
    assert found.bundle(TRUST_DOMAIN) is not None


@needs_root
def test_a_link_in_a_users_directory_makes_no_authority_of_this_machine_ours(tmp_path, place):
    """What it leads to is root's; that it is meant for the mesh is the user's word alone."""
    [user] = users(1)
    elsewhere = tmp_path / "etc"
    elsewhere.mkdir(mode=0o755)
    (elsewhere / "ca.crt").write_text(root().cert_pem, encoding="ascii")
    place.rmdir()
    place.symlink_to(elsewhere)
    found, _ = follow(tmp_path)
    assert found.bundle(TRUST_DOMAIN) is not None, "as root has put it"
    os.chown(place.parent, user.pw_uid, user.pw_gid)
    assert follow(tmp_path)[0].bundle(TRUST_DOMAIN) is None


@needs_root
def test_a_root_of_a_workloads_own_user_is_not_taken(tmp_path, place):
    """Else each workload could vouch for all the others."""
    [user] = users(1)
    (place / "bundle.pem").write_text(root().cert_pem, encoding="ascii")
    os.chown(place / "bundle.pem", user.pw_uid, user.pw_gid)
    found, told = follow(tmp_path)
    assert found.bundle(TRUST_DOMAIN) is None
    assert len(told) == 1
    os.chown(place / "bundle.pem", 0, 0)
    assert found.bundle(TRUST_DOMAIN) is not None


def test_links_are_followed_as_a_mounted_secret_has_them(tmp_path, place):
    """`..data` and all that."""
    (place / "..v1").mkdir()
    (place / "..v1" / "ca.crt").write_text(root().cert_pem, encoding="ascii")
    (place / "..data").symlink_to("..v1")
    (place / "ca.crt").symlink_to("..data/ca.crt")
    assert follow(tmp_path)[0].bundle(TRUST_DOMAIN) is not None


def test_a_bundle_is_known_by_its_trust_domain(tmp_path, place):
    """A root that names none may be anybody's, and so stands in the way of a new one."""
    assert not has_bundle(place, TRUST_DOMAIN)
    (place / "bundle.pem").write_text(root().cert_pem, encoding="ascii")
    assert has_bundle(place, TRUST_DOMAIN)
    assert not has_bundle(place, "other.test")
