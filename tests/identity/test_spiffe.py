"""Names of workloads and trust domains, as the standard has them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshware.errors import IdentityError
from meshware.identity.spiffe import MAX_ID_BYTES, SpiffeID, is_trust_domain, workload_id

GOOD = [
    "spiffe://example.org/a",
    "spiffe://example.org/ns/default/sa/web",
    "spiffe://staging.example.com/payments/mysql",
    "spiffe://k8s-west.example.com/ns/staging/sa/default",
    "spiffe://example.com/9eebccd2-12bf-40a6-b262-65fe0487d453",
    "spiffe://a/b",
    "spiffe://under_score/A-Z.a_z",
    "spiffe://1.2.3.4/a",
    "spiffe://example.org/...",
    "spiffe://example.org/.a",
    "spiffe://-/-",
    "spiffe://" + "a" * 255 + "/a",
    "spiffe://a/" + "b" * (MAX_ID_BYTES - len("spiffe://a/")),
]
BAD = [
    "",
    "spiffe",
    "spiffe:",
    "spiffe:/",
    "spiffe://",
    "spiffe:///",
    "spiffe:///a",
    "spiffe://example.org",
    "spiffe://example.org/",
    "spiffe://example.org//",
    "spiffe://example.org/a/",
    "spiffe://example.org//a",
    "spiffe://example.org/a//b",
    "spiffe://example.org/.",
    "spiffe://example.org/..",
    "spiffe://example.org/a/./b",
    "spiffe://example.org/a/../b",
    "spiffe://Example.org/a",
    "spiffe://example.org:8443/a",
    "spiffe://user@example.org/a",
    "spiffe://[::1]/a",
    "spiffe://exa mple.org/a",
    "spiffe://example%2eorg/a",
    "spiffe://bücher.example/a",
    "spiffe://example.org/ü",
    "spiffe://example.org/a%20b",
    "spiffe://example.org/a?b",
    "spiffe://example.org/a#b",
    "spiffe://example.org/a b",
    "spiffe://example.org/a\n",
    "spiffe://example.org\n/a",
    "spiffe://example.org/a\0",
    "spiffe://example.org/a\u0661",
    "spiffe://ex\u0430mple.org/a",  # a Cyrillic letter
    "spiffe://example.org/a\u2215b",
    "SPIFFE://example.org/a",
    "Spiffe://example.org/a",
    " spiffe://example.org/a",
    "https://example.org/a",
    "//example.org/a",
    "spiffe:example.org/a",
    "spiffe://" + "a" * 256 + "/a",
    "spiffe://a/" + "b" * (MAX_ID_BYTES - len("spiffe://a/") + 1),
]


@pytest.mark.parametrize("text", GOOD)
def test_an_id_is_read_and_given_back_letter_by_letter(text):
    found = SpiffeID.parse(text)
    assert str(found) == text
    assert found.principal == text.removeprefix("spiffe://")


@pytest.mark.parametrize("text", BAD)
def test_what_is_no_id_is_refused_and_never_repeated(text):
    with pytest.raises(IdentityError) as refused:
        SpiffeID.parse(text)
    assert "\n" not in str(refused.value)
    assert not text or len(text) < 20 or text not in str(refused.value)


@given(st.text(max_size=60), st.sampled_from(["", "spiffe://", "spiffe://a", "spiffe://a/"]))
def test_any_text_is_an_id_or_an_identity_error(text, start):
    try:
        found = SpiffeID.parse(start + text)
    except IdentityError:
        return
    assert str(found) == start + text
    assert str(found).isascii()
    assert is_trust_domain(found.trust_domain)


@pytest.mark.parametrize("name", ["a", "example.org", "a_b", "1", "-", "a" * 255])
def test_names_of_trust_domains(name):
    assert is_trust_domain(name)


@pytest.mark.parametrize("name", ["", "A", "a/b", "a:1", "a b", "a\n", "ü", "a" * 256, "a@b", "*"])
def test_what_is_no_name_of_a_trust_domain(name):
    assert not is_trust_domain(name)


def test_namespace_and_service_account_are_those_of_istios_form_alone():
    found = workload_id("cluster.local", "shop", "web")
    assert (found.namespace, found.service_account) == ("shop", "web")
    for path in ("/ns/shop", "/ns/shop/sa", "/ns/shop/sa/web/x", "/sa/web/ns/shop", "/x/ns/a/sa"):
        other = SpiffeID("cluster.local", path)
        assert (other.namespace, other.service_account) == (None, None)


@pytest.mark.parametrize("part", ["", ".", "..", "a/b", "a b", "ü", "a\n"])
def test_a_part_that_cannot_stand_in_an_id_is_refused(part):
    with pytest.raises(IdentityError):
        workload_id("cluster.local", part, "web")
    with pytest.raises(IdentityError):
        workload_id("cluster.local", "shop", part)
