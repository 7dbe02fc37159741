"""The files of identities: whose they are, when they are renewed, and who cannot trick whom."""

from __future__ import annotations

import contextlib
import os

import msgspec
import pytest
from ca_world import (
    NOW,
    TRUST_DOMAIN,
    authority,
    later,
    let_through,
    mode_of,
    needs_root,
    plan,
    svid_in,
    users,
)

from meshware.ca.identities import IdentityFiles
from meshware.ca.plan import ReportPlace
from meshware.ca.report_places import make_report_places
from meshware.errors import IdentityError
from meshware.identity.bundle import Bundles, read_certificates
from meshware.identity.verify import verify_chain


def always():
    return True


@pytest.fixture
def run(tmp_path):
    """A run directory."""
    (tmp_path / "run").mkdir()
    return let_through(tmp_path / "run")


@pytest.fixture
def issuer(tmp_path):
    return authority(tmp_path)


def place(run, name="web"):
    return run / "identity" / "default" / name


def test_each_account_gets_a_pair_and_the_roots(run, issuer):
    """`svid.pem` is what our own side accepts for the account's ID; modes let nobody else in."""
    due = IdentityFiles(run).keep(plan("web", "orders"), issuer, NOW, always)
    assert NOW.timestamp() + 1600 < due <= NOW.timestamp() + 1800
    for name in ("web", "orders"):
        svid = svid_in(run, name)
        verified = verify_chain(svid.chain, Bundles([issuer.bundle]), NOW, "server")
        assert str(verified.id) == f"spiffe://{TRUST_DOMAIN}/ns/default/sa/{name}"
        bundle = read_certificates((place(run, name) / "bundle.pem").read_bytes(), "it")
        assert bundle == issuer.bundle.roots
        assert sorted(os.listdir(place(run, name))) == ["bundle.pem", "svid.pem"]
        assert mode_of(place(run, name)) == 0o700
        assert {mode_of(path) for path in place(run, name).iterdir()} == {0o600}


def test_nothing_is_issued_before_it_is_due_and_a_new_key_then(run, issuer):
    """Not at a second look, not after a restart; at half of a life with another key."""
    wanted = plan("web")
    files = IdentityFiles(run)
    due = files.keep(wanted, issuer, NOW, always)
    first = svid_in(run)
    assert files.keep(wanted, issuer, later(1500), always) == due
    assert IdentityFiles(run).keep(wanted, issuer, later(1500), always) == due
    assert svid_in(run).digest == first.digest
    files.keep(wanted, issuer, later(1800), always)
    second = svid_in(run)
    assert second.digest != first.digest
    assert second.key_pem != first.key_pem


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.unlink(),
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(path.read_bytes()[:400]),
        lambda path: path.chmod(0o644),
        lambda path: os.link(path, path.with_name("more")),
        lambda path: (path.unlink(), path.symlink_to("/etc/hostname")),
        lambda path: (path.unlink(), os.mkfifo(path)),
    ],
    ids=["removed", "emptied", "torn", "readable", "linked", "a link", "a pipe"],
)
@pytest.mark.parametrize("name", ["svid.pem", "bundle.pem"])
@pytest.mark.parametrize("is_restarted", [False, True], ids=["running", "restarted"])
def test_what_is_damaged_is_put_back_at_the_next_look(run, issuer, damage, name, is_restarted):
    """Whatever lies there in its place, and whether or not this daemon wrote it."""
    wanted = plan("web")
    files = IdentityFiles(run)
    files.keep(wanted, issuer, NOW, always)
    damage(place(run) / name)
    files = IdentityFiles(run) if is_restarted else files
    files.keep(wanted, issuer, later(1), always)
    path = place(run) / name
    assert path.is_file() and not path.is_symlink() and mode_of(path) == 0o600
    verify_chain(svid_in(run).chain, Bundles([issuer.bundle]), NOW, "client")
    assert (place(run) / "bundle.pem").read_bytes().count(b"BEGIN CERTIFICATE") == 1


def test_the_identity_of_another_is_replaced(run, issuer):
    """A good pair in the wrong place is nobody's here."""
    files = IdentityFiles(run)
    files.keep(plan("web", "orders"), issuer, NOW, always)
    (place(run) / "svid.pem").write_bytes((place(run, "orders") / "svid.pem").read_bytes())
    files.keep(plan("web", "orders"), issuer, NOW, always)
    assert svid_in(run).id.service_account == "web"


def test_a_new_root_is_issued_from_at_once_and_told_before(run, issuer):
    """While it is announced the leaf stays and `bundle.pem` has both roots."""
    wanted = plan("web")
    files = IdentityFiles(run)
    files.keep(wanted, issuer, NOW, always)
    before = svid_in(run)
    issuer.begin("a", NOW)
    files.keep(wanted, issuer, NOW, always)
    assert svid_in(run).digest == before.digest
    assert (place(run) / "bundle.pem").read_bytes().count(b"BEGIN CERTIFICATE") == 2
    issuer.issue_from_next(NOW)
    files.keep(wanted, issuer, NOW, always)
    assert svid_in(run).digest != before.digest


def test_a_shorter_life_counts_at_once(run, issuer):
    """An operator who lowers leafLife does not wait half an hour."""
    files = IdentityFiles(run)
    files.keep(plan("web"), issuer, NOW, always)
    files.keep(plan("web", leaf_life_s=60), issuer, NOW, always)
    assert svid_in(run).until_s == later(60).timestamp()


def test_accounts_that_policy_dropped_lose_their_keys(run, issuer):
    """What somebody else put beside them stays."""
    files = IdentityFiles(run)
    files.keep(plan("web", "orders", "mail"), issuer, NOW, always)
    (place(run, "mail") / "notes.txt").write_text("mine", encoding="utf-8")
    files.keep(plan("web"), issuer, NOW, always)
    assert sorted(os.listdir(run / "identity" / "default")) == ["mail", "web"]
    assert os.listdir(place(run, "mail")) == ["notes.txt"]


def test_what_a_killed_writer_left_is_removed(run, issuer):
    """Half a key under a hidden name is a key all the same."""
    IdentityFiles(run).keep(plan("web"), issuer, NOW, always)
    left = place(run) / ".svid.pem.0123456789ab.tmp"
    left.write_text("half", encoding="utf-8")
    IdentityFiles(run).keep(plan("web"), issuer, NOW, always)
    assert not left.exists()


def test_many_are_issued_in_several_goes(run, issuer):
    """Policy is not kept waiting for a thousand keys: what is left is due at once."""
    turns = iter([True, False])
    files = IdentityFiles(run)
    due = files.keep(plan("a", "b", "c"), issuer, NOW, lambda: next(turns))
    assert due == NOW.timestamp()
    assert sorted(os.listdir(run / "identity" / "default")) == ["a", "b"]
    assert files.keep(plan("a", "b", "c"), issuer, NOW, always) > NOW.timestamp()
    assert svid_in(run, "c").id.service_account == "c"


def test_what_fails_keeps_no_other_from_its_identity(run, issuer):
    """The error names the identity, and never what is in a key."""
    (run / "identity").mkdir(mode=0o700)
    (run / "identity" / "default").mkdir(mode=0o700)
    (run / "identity" / "default" / "bad").write_text("a file in its place", encoding="utf-8")
    with pytest.raises(OSError, match="bad") as caught:
        IdentityFiles(run).keep(plan("bad", "web"), issuer, NOW, always)
    assert caught.value.filename == str(place(run, "bad"))
    assert svid_in(run).id.service_account == "web"


def test_a_name_that_cannot_stand_in_an_id_reaches_no_path(run, issuer):
    """Policy names accounts; a name with dots and slashes must lead nowhere."""
    with pytest.raises(IdentityError, match=r"identity/default/\.\./\.\./out"):
        IdentityFiles(run).keep(plan("../../out", "web"), issuer, NOW, always)
    assert not (run.parent / "out").exists()
    assert svid_in(run).id.service_account == "web"


# --- users ----------------------------------------------------------------------------------------


@contextlib.contextmanager
def acting_as(user):
    """Be another user for a while."""
    groups = os.getgroups()
    os.setgroups([])
    os.setegid(user.pw_gid)
    os.seteuid(user.pw_uid)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)
        os.setgroups(groups)


@needs_root
def test_a_bound_account_belongs_to_its_user(run, issuer):
    """Directory and files, so that the user's workloads and nobody else's can read them."""
    [user] = users(1)
    IdentityFiles(run).keep(plan("web", user=user.pw_name), issuer, NOW, always)
    for path in (place(run), *place(run).iterdir()):
        about = path.stat()
        assert (about.st_uid, about.st_gid) == (user.pw_uid, user.pw_gid)
    assert (run / "identity" / "default").stat().st_uid == 0
    assert mode_of(run / "identity" / "default") == 0o711


@needs_root
def test_a_user_that_is_not_there_is_told_and_keeps_no_other(run, issuer):
    """The message names the user, and what to mend."""
    [user] = users(1)
    web = plan("web", user=user.pw_name).accounts[0]
    bad = plan("aa", user="no-such-user").accounts[0]
    both = msgspec.structs.replace(plan(), accounts=(bad, web))
    with pytest.raises(IdentityError, match=r"no Unix user 'no-such-user'.*nodeIdentities"):
        IdentityFiles(run).keep(both, issuer, NOW, always)
    assert (place(run) / "svid.pem").stat().st_uid == user.pw_uid


@needs_root
def test_an_account_that_changes_its_user_leaves_the_old_one_nothing(run, issuer):
    """Not even an open directory: what is new lies in another one, with another key."""
    old, new = users(2)
    files = IdentityFiles(run)
    files.keep(plan("web", user=old.pw_name), issuer, NOW, always)
    before = svid_in(run)
    held = os.open(place(run), os.O_RDONLY | os.O_DIRECTORY)
    try:
        files.keep(plan("web", user=new.pw_name), issuer, NOW, always)
        assert os.listdir(held) == []
    finally:
        os.close(held)
    assert svid_in(run).digest != before.digest
    assert place(run).stat().st_uid == new.pw_uid
    assert os.listdir(run / "identity" / "default") == ["web"]


@needs_root
@pytest.mark.parametrize("name", ["svid.pem", "bundle.pem"])
def test_a_user_cannot_have_root_write_or_give_away_another_file(run, issuer, name, tmp_path):
    """Links in the user's own directory are replaced, and what they lead to is left alone."""
    [user] = users(1)
    victim = tmp_path / "victim"
    victim.write_text("root's own", encoding="utf-8")
    wanted = plan("web", user=user.pw_name)
    files = IdentityFiles(run)
    files.keep(wanted, issuer, NOW, always)
    with acting_as(user):
        (place(run) / name).unlink()
        (place(run) / name).symlink_to(victim)
    files.keep(wanted, issuer, later(1), always)
    assert victim.read_text("utf-8") == "root's own"
    assert victim.stat().st_uid == 0
    assert not (place(run) / name).is_symlink()


@needs_root
def test_a_directory_that_a_user_put_above_identities_is_refused(run, issuer):
    """Who owns the directory around could put another in the place of any in it."""
    [user] = users(1)
    (run / "identity").mkdir()
    os.chown(run / "identity", user.pw_uid, user.pw_gid)
    with pytest.raises(PermissionError, match="it belongs to user"):
        IdentityFiles(run).keep(plan("web"), issuer, NOW, always)
    assert os.listdir(run / "identity") == []


@needs_root
def test_a_link_in_the_place_of_a_directory_is_not_followed(run, issuer, tmp_path):
    """Neither for an account, nor above."""
    (tmp_path / "elsewhere").mkdir()
    (run / "identity" / "default").mkdir(parents=True, mode=0o711)
    (run / "identity").chmod(0o711)
    place(run).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="web"):
        IdentityFiles(run).keep(plan("web"), issuer, NOW, always)
    assert os.listdir(tmp_path / "elsewhere") == []


@needs_root
def test_workloads_of_other_users_have_a_place_for_reports(run):
    """Theirs alone; else no worker of theirs could say which bundle it has."""
    [user] = users(1)
    (run / "reports").mkdir()
    wanted = msgspec.structs.replace(plan(), reports=(ReportPlace("default", "web", user.pw_name),))
    make_report_places(run / "reports", wanted)
    made = run / "reports" / "default" / "web"
    assert (made.stat().st_uid, mode_of(made)) == (user.pw_uid, 0o700)
    with acting_as(user):
        (made / "x").write_text("y", encoding="utf-8")
