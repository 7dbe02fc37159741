"""Names in certificates against those that policy wants."""

from __future__ import annotations

import pytest

from meshware.identity.names import bears_one_of


@pytest.mark.parametrize(
    ("kind", "borne", "wanted", "is_same"),
    [
        ("DNS", "a.example", "a.example", True),
        ("DNS", "A.Example", "a.eXample.", True),
        ("DNS", "a.example", "b.example", False),
        ("DNS", "*.example.com", "a.example.com", True),
        ("DNS", "*.example.com", "a.b.example.com", False),
        ("DNS", "*.example.com", "example.com", False),
        ("DNS", "*.example.com", ".example.com", False),
        ("DNS", "*.com", "example.com", False),
        ("DNS", "*", "example", False),
        ("DNS", "a*.example.com", "ab.example.com", False),
        ("DNS", "a.example.com", "*.example.com", False),
        ("DNS", "*.example.com", "*.example.com", True),
        ("DNS", "192.0.2.1", "192.0.2.1", True),
        ("URI", "spiffe://td/ns/a/sa/b", "spiffe://td/ns/a/sa/b", True),
        ("URI", "spiffe://td/ns/a/sa/b", "spiffe://td/ns/a/sa/B", False),
        ("URI", "spiffe://td/ns/a/sa/b", "spiffe://td/ns/a/sa/b/", False),
        ("IP Address", "192.0.2.1", "192.0.2.1", True),
        ("IP Address", "192.0.2.1", "192.0.2.2", False),
        ("IP Address", "2001:DB8:0:0:0:0:0:1\n", "2001:db8::1", True),
        ("IP Address", "nonsense", "nonsense", False),
        ("email", "a@example.com", "a@example.com", False),
    ],
)
def test_a_name_is_compared_by_its_kind(kind, borne, wanted, is_same):
    """RFC 6125 for DNS, numbers for addresses, letters for URIs."""
    assert bears_one_of({"subjectAltName": ((kind, borne),)}, [wanted]) is is_same


def test_any_of_several_will_do():
    """On both sides."""
    certificate = {"subjectAltName": (("DNS", "a"), ("URI", "b://c"))}
    assert bears_one_of(certificate, ["x", "b://c"])
    assert not bears_one_of(certificate, ["x", "y"])


@pytest.mark.parametrize("certificate", [None, {}, {"subject": ((("commonName", "a"),),)}])
def test_what_bears_no_name_is_nobody(certificate):
    """A common name is no name; a certificate that was not verified has none."""
    assert not bears_one_of(certificate, ["a"])
    assert not bears_one_of({"subjectAltName": (("DNS", "a"),)}, [])
