"""What is issued is what is verified, and never more than its issuer may."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meshware.errors import IdentityError, PeerIdentityError
from meshware.identity.bundle import Bundle, Bundles
from meshware.identity.issue import (
    CLOCKS_DIFFER_S,
    issue_intermediate,
    issue_root,
    issue_svid,
    new_key,
)
from meshware.identity.spiffe import SpiffeID
from meshware.identity.svid import X509SVID
from meshware.identity.verify import verify_chain

KEYS = [new_key() for _ in range(3)]
DAY_S = 86_400
DOMAINS = st.from_regex(r"[a-z0-9._-]{1,255}", fullmatch=True)
SEGMENTS = st.from_regex(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,80}", fullmatch=True)
TIMES = st.integers(631_152_000, 3_786_912_000).map(  # 1990 to 2090
    lambda unix_s: datetime.fromtimestamp(unix_s, UTC)
)


def _parts(certificate):
    return {one.oid._name: one for one in certificate.extensions}


@settings(max_examples=60, deadline=None)
@given(
    domain=DOMAINS,
    path=st.lists(SEGMENTS, min_size=1, max_size=8).map(lambda parts: "/" + "/".join(parts)),
    now=TIMES,
    lives_s=st.tuples(*[st.floats(1, 4 * 365 * DAY_S)] * 2, st.booleans()),
    at_ratio=st.floats(0, 1),
)
def test_what_is_issued_is_verified_and_ends_with_its_issuer(domain, path, now, lives_s, at_ratio):
    root_s, leaf_s, has_middle = lives_s
    root = issuer = issue_root(domain, KEYS[0], now, root_s)
    if has_middle:
        issuer = issue_intermediate(root, KEYS[1], now, leaf_s)
    svid = issue_svid(issuer, SpiffeID(domain, path), KEYS[2], now, leaf_s)
    assert svid.leaf.not_valid_after_utc <= issuer.until <= root.until
    assert all(one.serial_number.bit_length() >= 64 for one in (*svid.chain, root.certificate))
    bundles = Bundles([Bundle(domain, (root.certificate,))])
    at = datetime.fromtimestamp(int(svid.from_s + at_ratio * (svid.until_s - svid.from_s)), UTC)
    for role in ("client", "server"):
        found = verify_chain(svid.chain, bundles, at, role)
        assert (found.id, found.until) == (svid.id, svid.until_s)
    again = X509SVID.from_pem(svid.pem)
    assert again == svid
    for outside_s in (svid.until_s + 1, svid.from_s - 1):
        with pytest.raises(PeerIdentityError):
            verify_chain(svid.chain, bundles, datetime.fromtimestamp(outside_s, UTC), "client")


def _issued():
    now = datetime.now(UTC)
    root = issue_root("cluster.local", KEYS[0], now, 30 * DAY_S)
    middle = issue_intermediate(root, KEYS[1], now, DAY_S)
    leaf = issue_svid(middle, SpiffeID("cluster.local", "/a"), KEYS[2], now)
    return now, root, middle, leaf


def test_critical_is_what_the_standards_want_critical():
    _, root, middle, svid = _issued()
    leaf = _parts(svid.leaf)
    assert leaf["subjectAltName"].critical
    assert len(svid.leaf.subject) == 0
    assert leaf["keyUsage"].critical
    assert leaf["basicConstraints"].critical
    assert not leaf["extendedKeyUsage"].critical
    assert not leaf["basicConstraints"].value.ca
    for authority, path_length in ((root, None), (middle, 0)):
        parts = _parts(authority.certificate)
        assert parts["basicConstraints"].critical
        assert parts["keyUsage"].critical
        assert parts["keyUsage"].value.key_cert_sign
        assert not parts["keyUsage"].value.digital_signature
        assert parts["basicConstraints"].value.path_length == path_length
        assert not parts["subjectKeyIdentifier"].critical
        assert not parts["subjectAltName"].critical


def test_each_names_the_key_of_its_issuer():
    _, root, middle, svid = _issued()
    for below, above in ((svid.leaf, middle.certificate), (middle.certificate, root.certificate)):
        own = _parts(above)["subjectKeyIdentifier"].value
        assert _parts(below)["authorityKeyIdentifier"].value.key_identifier == own.digest


def test_certificates_begin_a_little_before_they_are_made():
    now, *_, svid = _issued()
    assert abs(now.timestamp() - CLOCKS_DIFFER_S - svid.from_s) <= 1


def test_nothing_is_issued_for_another_domain_or_by_an_authority_that_has_ended():
    now, root, middle, _ = _issued()
    with pytest.raises(IdentityError, match="issues nothing for"):
        issue_svid(middle, SpiffeID("partner.example", "/a"), KEYS[2], now)
    later = now + timedelta(days=2)
    with pytest.raises(IdentityError, match="ended at"):
        issue_svid(middle, SpiffeID("cluster.local", "/a"), KEYS[2], later)
    with pytest.raises(IdentityError, match="ended at"):
        issue_intermediate(root, KEYS[1], now + timedelta(days=31), DAY_S)
    with pytest.raises(IdentityError, match="trust domain"):
        issue_root("Not.One", KEYS[0], now, DAY_S)


def test_an_intermediate_issues_no_authority_as_nobody_would_believe_it():
    now, _, middle, _ = _issued()
    with pytest.raises(IdentityError, match="path length"):
        issue_intermediate(middle, KEYS[2], now, DAY_S)


def test_serials_are_never_the_same():
    now, _, middle, _ = _issued()
    spiffe_id = SpiffeID("cluster.local", "/a")
    serials = {issue_svid(middle, spiffe_id, KEYS[2], now).leaf.serial_number for _ in range(50)}
    assert len(serials) == 50
