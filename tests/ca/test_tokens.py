"""The token authority: keys that live in one file, overlap when they change, and sign their own."""

from __future__ import annotations

import json
import stat

import pytest
from tokens import NOW, OWN

from meshware.ca.tokens import KEY_LIFE_S, SETTLE_S, TokenAuthority
from meshware.errors import IdentityError, TokenError
from meshware.identity.bundle import Bundle, Bundles
from meshware.identity.jwt_svid import verify_jwt_svid
from meshware.identity.spiffe import SpiffeID
from meshware.identity.wimse import verify_wit
from meshware.runtime.token_files import WorkloadToken

WEB = SpiffeID.parse("spiffe://example.org/ns/shop/sa/web")


@pytest.fixture
def authority(tmp_path):
    return TokenAuthority(tmp_path, "example.org", NOW)


def bundles(authority: TokenAuthority, now: float) -> Bundles:
    return Bundles([Bundle("example.org", (), (), tuple(authority.public_keys(now)))])


def test_what_it_issues_its_bundle_verifies(authority):
    """Both kinds, each by the key of its kind; and the key is the one that the token names."""
    issued = authority.issue(WEB, NOW)
    assert verify_wit(issued.wit, bundles(authority, NOW), NOW).id == WEB
    assert WorkloadToken.from_json(issued.json.encode()).until == issued.until_s == NOW + 3600
    assert issued.renew_at == NOW + 1800
    token = authority.issue_jwt_svid(WEB, OWN, NOW)
    assert verify_jwt_svid(token, bundles(authority, NOW), audience=OWN, now=NOW).id == WEB


def test_its_keys_are_named_once_and_public(authority):
    """WIT-SVID 6.1: no two keys of a bundle share a `kid`."""
    keys = authority.public_keys(NOW)
    assert len({key["kid"] for key in keys}) == len(keys) == 2
    assert {key["use"] for key in keys} == {"jwt-svid", "wit-svid"}
    assert all("d" not in key for key in keys)
    assert keys[0]["x"] != keys[1]["x"]


def test_each_token_has_a_key_of_its_own(authority):
    """Two workloads of one service account do not share one."""
    first, second = authority.issue(WEB, NOW), authority.issue(WEB, NOW)
    assert first.key.private_numbers() != second.key.private_numbers()


@pytest.mark.parametrize("other", ["spiffe://partner.net/a", "spiffe://example.org.evil/a"])
def test_it_signs_nothing_for_others(authority, other):
    """Its own trust domain alone."""
    with pytest.raises(IdentityError, match="signs nothing for"):
        authority.issue(SpiffeID.parse(other), NOW)
    with pytest.raises(IdentityError, match="signs nothing for"):
        authority.issue_jwt_svid(SpiffeID.parse(other), OWN, NOW)


@pytest.mark.parametrize(("audience", "life_s"), [("", 60), (OWN, 0), (OWN, 3601)])
def test_it_issues_no_jwt_svid_that_nobody_would_accept(authority, audience, life_s):
    """Without an audience, or for too long."""
    with pytest.raises(IdentityError, match="audience"):
        authority.issue_jwt_svid(WEB, audience, NOW, life_s)


def test_its_keys_survive_a_restart(authority, tmp_path):
    """And are nobody else's to read."""
    again = TokenAuthority(tmp_path, "example.org", NOW + 5)
    assert again.public_keys(NOW) == authority.public_keys(NOW)
    [path] = tmp_path.iterdir()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_new_key_is_published_before_it_signs_and_the_old_one_stays(authority, tmp_path):
    """At no time is there a token whose key a worker does not know."""
    before = authority.issue(WEB, NOW)
    old = bundles(authority, NOW)
    authority.rotate(NOW + 100)
    assert len(authority.public_keys(NOW + 100)) == 4
    # Signed by the old key still: workers that have not heard of the new one know it.
    assert verify_wit(authority.issue(WEB, NOW + 100).wit, old, NOW + 100).id == WEB
    last_old = authority.issue(WEB, NOW + 100 + SETTLE_S - 1)
    assert verify_wit(last_old.wit, old, NOW + 160).id == WEB
    at = NOW + 100 + SETTLE_S
    new = authority.issue(WEB, at)
    with pytest.raises(TokenError):
        verify_wit(new.wit, old, at)
    assert verify_wit(new.wit, bundles(authority, at), at).id == WEB
    assert verify_wit(before.wit, bundles(authority, at), at).id == WEB
    # The last token of the old key has its whole life.
    assert verify_wit(last_old.wit, bundles(authority, at + 3599), at + 3599).id == WEB
    late = at + 3600 + 60
    assert len(authority.public_keys(late)) == 2
    assert len(TokenAuthority(tmp_path, "example.org", late).public_keys(late)) == 2


def test_rotations_in_a_row_leave_none_without_its_overlap(authority):
    """An operator may be impatient."""
    for second in range(5):
        authority.rotate(NOW + second)
    issued = authority.issue(WEB, NOW + 5)
    assert verify_wit(issued.wit, bundles(authority, NOW + 5), NOW + 5).id == WEB
    late = NOW + 3600
    assert verify_wit(issued.wit, bundles(authority, late), late).id == WEB


def test_rotation_is_due_after_a_while(authority):
    """The daemon asks; it is nobody's task to remember."""
    assert not authority.is_due(NOW + KEY_LIFE_S - 1)
    assert authority.is_due(NOW + KEY_LIFE_S)
    authority.rotate(NOW + KEY_LIFE_S)
    assert not authority.is_due(NOW + KEY_LIFE_S + 1)


def test_a_clock_that_goes_back_leaves_it_signing(authority):
    """With what it has; its tokens say so themselves when they begin."""
    issued = authority.issue(WEB, NOW - 86_400)
    assert verify_wit(issued.wit, bundles(authority, NOW - 86_400), NOW - 86_400).id == WEB


@pytest.mark.parametrize(
    "content",
    ["", "{", "[]", "null", '{"version": 1}', '{"version": 1, "trust_domain": "example.org"}'],
)
def test_a_file_that_cannot_be_read_is_no_reason_for_new_keys(tmp_path, content):
    """New ones would leave every worker without an identity; the message says what to do."""
    path = tmp_path / "tokens.json"
    path.write_text(content)
    path.chmod(0o600)
    with pytest.raises(IdentityError, match="move it away"):
        TokenAuthority(tmp_path, "example.org", NOW)
    assert path.read_text() == content


def test_a_file_of_another_trust_domain_is_refused(authority, tmp_path):
    """A state directory that was copied, for one."""
    with pytest.raises(IdentityError, match="another trust domain"):
        TokenAuthority(tmp_path, "partner.net", NOW)


def test_a_file_that_others_may_read_is_refused(authority, tmp_path):
    """Whoever could read it may have."""
    (tmp_path / "tokens.json").chmod(0o640)
    with pytest.raises(IdentityError, match="others may read"):
        TokenAuthority(tmp_path, "example.org", NOW)


def test_a_rotation_that_cannot_be_written_changes_nothing(tmp_path):
    """A key that a restart would forget must sign nothing."""
    place = tmp_path / "state"
    place.mkdir()
    authority = TokenAuthority(place, "example.org", NOW)
    before = authority.public_keys(NOW)
    place.rename(tmp_path / "gone")
    with pytest.raises(OSError):
        authority.rotate(NOW)
    assert authority.public_keys(NOW) == before


def test_no_key_is_in_any_text(authority, tmp_path):
    """Neither in what one prints nor in an error."""
    issued = authority.issue(WEB, NOW)
    for secret in json.loads((tmp_path / "tokens.json").read_text())["keys"]:
        assert secret["key"] not in repr(authority) + repr(vars(authority))
    assert issued.wit not in repr(issued)
    assert "PRIVATE" not in repr(issued) + repr(WorkloadToken.from_json(issued.json.encode()))
