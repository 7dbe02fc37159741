"""Addresses of keys: one reading, or none."""

from __future__ import annotations

import pytest

from meshware.policy.key_urls import joined_url, parse_key_url, shown_url


@pytest.mark.parametrize(
    ("written", "authority", "port", "target"),
    [
        ("https://id.example.com/keys", "id.example.com", 443, "/keys"),
        ("https://id.example.com", "id.example.com", 443, "/"),
        ("https://ID.Example.COM:443/", "id.example.com", 443, "/"),
        ("https://id.example.com.:8443/a/b?c=d", "id.example.com:8443", 8443, "/a/b?c=d"),
        ("https://id.example.com/?", "id.example.com", 443, "/?"),
        ("http://id:8080/x%20y", "id:8080", 8080, "/x%20y"),
        ("https://[2606:4700::1]:444/x", "[2606:4700::1]:444", 444, "/x"),
        ("https://10.0.0.1/x", "10.0.0.1", 443, "/x"),
        ("https://under_score.svc/x", "under_score.svc", 443, "/x"),
    ],
)
def test_an_address_is_taken_apart(written, authority, port, target):
    """As it is asked for."""
    url = parse_key_url(written)
    assert (url.authority, url.port, url.target) == (authority, port, target)


@pytest.mark.parametrize(
    "written",
    [
        "",
        "keys",
        "/keys",
        "//id.example.com/keys",
        "ftp://id.example.com/keys",
        "file:///etc/passwd",
        "https:///keys",
        "https://user@id.example.com/",
        "https://user:secret@id.example.com/",
        "https://id.example.com@evil.example.com/",
        "https://id.example.com/#keys",
        "https://id.example.com/a b",
        "https://id.example.com/a\tb",
        "https://id.example.com/a\r\nX: y",
        "https://id.example.com\\@evil.example.com/",
        "https://id.example.com:0/",
        "https://id.example.com:70000/",
        "https://id.example.com:x/",
        "https://[::1/",
        "https://[fe80::1%25eth0]/",
        "https://id..example.com/",
        "https://-id.example.com/",
        "https://*.example.com/",
        "https://münchen.example/",
        "https://id.example.com/" + "x" * 2048,
    ],
)
def test_what_two_readers_could_take_for_two_things_is_refused(written):
    """And what cannot be asked for at all."""
    with pytest.raises(ValueError, match="."):
        parse_key_url(written)


@pytest.mark.parametrize(
    ("location", "expected"),
    [
        ("/other", "https://id.example.com/other"),
        ("other", "https://id.example.com/a/other"),
        ("?x=1", "https://id.example.com/a/b?x=1"),
        ("https://id.example.com:443/x", "https://id.example.com/x"),
        ("//evil.example.com/x", "https://evil.example.com/x"),
        ("http://id.example.com/x", "http://id.example.com/x"),
    ],
)
def test_a_redirect_is_read_as_strictly(location, expected):
    """Whether it may be followed is another question."""
    assert str(joined_url(parse_key_url("https://id.example.com/a/b"), location)) == expected


def test_a_query_is_shown_to_nobody():
    """It may hold a secret of the issuer's."""
    assert shown_url("https://id.example.com/k?token=secret") == "https://id.example.com/k?..."
    assert shown_url("https://id.example.com/k") == "https://id.example.com/k"
