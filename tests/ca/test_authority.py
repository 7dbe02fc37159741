"""The embedded authority: made once, kept whole, followed before it ends, never made twice."""

from __future__ import annotations

import pytest
from ca_world import NOW, TRUST_DOMAIN, authority, later, mode_of

from meshware.ca.authority import INTERMEDIATE_LIFE_S, EmbeddedAuthority
from meshware.ca.store import Store
from meshware.errors import IdentityError, PeerIdentityError, SyncError
from meshware.identity.bundle import Bundles, fingerprint
from meshware.identity.spiffe import SpiffeID, workload_id
from meshware.identity.verify import verify_chain

WEB = workload_id(TRUST_DOMAIN, "default", "web")
DAY_S = 86400.0


def files(tmp_path):
    """The files of the authority, relative to its directory."""
    place = tmp_path / "ca" / TRUST_DOMAIN
    return sorted(str(path.relative_to(place)) for path in place.rglob("*") if path.is_file())


def test_it_is_made_on_first_start_for_this_user_alone(tmp_path):
    """Directories have mode 0700 and files 0600, whatever the umask is."""
    made = authority(tmp_path)
    assert files(tmp_path) == ["1/intermediate-1.pem", "1/root.pem", "state.json"]
    for path in (tmp_path / "ca").rglob("*"):
        assert mode_of(path) == (0o700 if path.is_dir() else 0o600), path
    assert len(made.bundle.roots) == len(made.bundle.intermediates) == 1


def test_a_second_start_takes_the_same(tmp_path):
    """What one daemon issued is believed after the next has come."""
    first = authority(tmp_path)
    second = authority(tmp_path, later(DAY_S))
    assert second.bundle == first.bundle
    svid = first.issue(WEB, NOW, 3600.0)
    assert verify_chain(svid.chain, Bundles([second.bundle]), NOW, "client").id == WEB


def test_modes_that_others_widened_are_mended_at_the_start(tmp_path):
    """A backup that was brought back may have lost them."""
    authority(tmp_path)
    key = tmp_path / "ca" / TRUST_DOMAIN / "1" / "root.pem"
    key.chmod(0o644)
    key.parent.chmod(0o755)
    authority(tmp_path)
    assert (mode_of(key), mode_of(key.parent)) == (0o600, 0o700)


def test_no_root_is_made_where_a_bundle_is_already(tmp_path):
    """Workloads would not believe it; the message says where the bundle is and what to do."""
    (tmp_path / "ca").mkdir()
    store = Store(tmp_path / "ca", TRUST_DOMAIN)
    with pytest.raises(SyncError, match=r"already, in run/policy\.mesh.*backup.*--state-dir"):
        EmbeddedAuthority.open(store, TRUST_DOMAIN, NOW, "run/policy.mesh")
    assert files(tmp_path) == []


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("state.json", "{}", "it is not what a daemon writes"),
        ("state.json", None, None),
        ("1/root.pem", "", "it is not PEM with certificates"),
        ("1/root.pem", None, "it is missing"),
        ("1/intermediate-1.pem", None, "what issues is missing"),
    ],
    ids=["state", "state missing", "root", "root missing", "intermediate missing"],
)
def test_a_damaged_authority_is_one_sentence_and_is_not_replaced(tmp_path, name, text, says):
    """A new root in its place would cut every workload off."""
    before = authority(tmp_path)
    path = tmp_path / "ca" / TRUST_DOMAIN / name
    if text is None:
        path.unlink()
    else:
        path.write_text(text, encoding="utf-8")
    if says is None:
        with pytest.raises(SyncError, match="no new root is made"):
            EmbeddedAuthority.open(
                Store(tmp_path / "ca", TRUST_DOMAIN), TRUST_DOMAIN, NOW, "somewhere"
            )
        return
    with pytest.raises(SyncError, match=says) as caught:
        authority(tmp_path)
    assert "PRIVATE KEY" not in str(caught.value)
    assert before.issue(WEB, NOW, 60.0).id == WEB


def test_a_key_of_another_certificate_is_refused(tmp_path):
    """A pair that does not fit issues nothing."""
    authority(tmp_path)
    authority(tmp_path / "other")
    root = tmp_path / "ca" / TRUST_DOMAIN / "1" / "root.pem"
    other = (tmp_path / "other" / "ca" / TRUST_DOMAIN / "1" / "root.pem").read_text("ascii")
    key, _, _ = other.partition("-----BEGIN CERTIFICATE")
    _, _, certificate = root.read_text("ascii").partition("-----BEGIN CERTIFICATE")
    root.write_text(f"{key}-----BEGIN CERTIFICATE{certificate}", encoding="ascii")
    with pytest.raises(SyncError, match="does not belong to the certificate"):
        authority(tmp_path)


def test_files_that_vanish_while_it_runs_are_put_back(tmp_path):
    """The keys are in memory as long as the daemon lives."""
    made = authority(tmp_path)
    (tmp_path / "ca" / TRUST_DOMAIN).rename(tmp_path / "gone")
    made.look(NOW, 3600.0)
    assert authority(tmp_path).bundle == made.bundle


def test_it_issues_nothing_that_our_side_would_not_accept(tmp_path):
    """Of another trust domain, and after its own end, it refuses."""
    made = authority(tmp_path)
    with pytest.raises(IdentityError, match="issues nothing for"):
        made.issue(SpiffeID.parse("spiffe://other.test/ns/a/sa/b"), NOW, 60.0)
    with pytest.raises(IdentityError, match="may issue now"):
        made.issue(WEB, later(2 * INTERMEDIATE_LIFE_S), 60.0)


# --- intermediates --------------------------------------------------------------------------------


def test_an_intermediate_is_followed_at_half_of_its_life_and_overlaps(tmp_path):
    """The next is in the bundle before it issues, and the old one as long as it holds."""
    made = authority(tmp_path)
    old = made.issuer(NOW).certificate
    made.look(later(INTERMEDIATE_LIFE_S * 0.49), 3600.0)
    assert len(made.bundle.intermediates) == 1

    now = later(INTERMEDIATE_LIFE_S * 0.51)
    made.look(now, 3600.0)
    assert len(made.bundle.intermediates) == 2
    assert made.issuer(now).certificate == old  # the new one is not known everywhere yet
    soon = later(INTERMEDIATE_LIFE_S * 0.51 + 11)
    new = made.issuer(soon).certificate
    assert new != old
    assert made.is_current(fingerprint(old)) and made.is_current(fingerprint(new))
    assert authority(tmp_path, soon).bundle == made.bundle

    made.look(later(INTERMEDIATE_LIFE_S + 1), 3600.0)
    assert made.bundle.intermediates == (new,)
    assert files(tmp_path) == ["1/intermediate-2.pem", "1/root.pem", "state.json"]


def test_an_intermediate_that_policy_denies_is_followed_at_once(tmp_path):
    """Its key is in wrong hands: what it issued is not current, and nobody believes it."""
    made = authority(tmp_path)
    svid = made.issue(WEB, NOW, 3600.0)
    denied = fingerprint(svid.chain[1])
    made.look(NOW, 3600.0, (denied,))
    assert not made.is_current(denied)
    again = made.issue(WEB, NOW, 3600.0)
    bundles = Bundles([made.bundle], (denied,))
    assert verify_chain(again.chain, bundles, NOW, "server").id == WEB
    with pytest.raises(PeerIdentityError, match="policy denies"):
        verify_chain(svid.chain, bundles, NOW, "server")
    made.look(NOW, 3600.0, (denied,))
    assert len(files(tmp_path)) == 4  # not another one at each look


# --- the change of root ---------------------------------------------------------------------------


def test_a_root_changes_in_three_steps_each_of_which_survives_a_restart(tmp_path):
    """Announced, issuing, and the old one dropped when its longest-lived leaf has ended."""
    made = authority(tmp_path)
    made.look(NOW, 3600.0)
    old = made.issue(WEB, NOW, 3600.0)

    made.begin("a", NOW)
    made = authority(tmp_path)
    assert len(made.bundle.roots) == 2
    assert made.is_current(fingerprint(old.chain[1]))
    assert fingerprint(made.issue(WEB, NOW, 60.0).chain[1]) == fingerprint(old.chain[1])

    made.issue_from_next(NOW)
    made = authority(tmp_path)
    new = made.issue(WEB, NOW, 3600.0)
    assert not made.is_current(fingerprint(old.chain[1]))
    for svid in (old, new):
        verify_chain(svid.chain, Bundles([made.bundle]), NOW, "client")

    made.look(later(3600), 3600.0)
    assert len(made.bundle.roots) == 2
    made.look(later(3661), 3600.0)
    assert len(made.bundle.roots) == 1
    now = later(1800)
    verify_chain(new.chain, Bundles([made.bundle]), now, "client")
    with pytest.raises(PeerIdentityError):
        verify_chain(old.chain, Bundles([made.bundle]), now, "client")
    assert files(tmp_path) == ["2/intermediate-1.pem", "2/root.pem", "state.json"]
    assert authority(tmp_path).bundle == made.bundle


def test_the_old_root_outlives_the_longest_leaf_that_policy_ever_allowed(tmp_path):
    """A life that was shortened since does not shorten what was issued before."""
    made = authority(tmp_path)
    made.look(NOW, 7200.0)
    made.look(NOW, 60.0)
    made = authority(tmp_path)
    made.begin("a", NOW)
    made.issue_from_next(NOW)
    made.look(later(7100), 60.0)
    assert len(made.bundle.roots) == 2


def test_what_was_begun_and_not_kept_is_cleared_away(tmp_path):
    """A daemon that was killed before it kept its state left a root that nobody was told of."""
    made = authority(tmp_path)
    made._make_generation(2, NOW)
    assert "2/root.pem" in files(tmp_path)
    again = authority(tmp_path)
    assert again.bundle == made.bundle
    assert "2/root.pem" not in files(tmp_path)
