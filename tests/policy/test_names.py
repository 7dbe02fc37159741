"""Host names: expansion, wildcards, visibility."""

from __future__ import annotations

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshware.policy.names import (
    candidates,
    expand,
    is_partial_wildcard,
    matches,
    most_specific,
    specificity_key,
    visible,
    wildcards,
)

EXPANDED = {
    "short": ("reviews", "prod", "reviews.prod.svc.cluster.local"),
    "upper case": ("Reviews", "prod", "reviews.prod.svc.cluster.local"),
    "one dot is enough to be left alone": ("reviews.test", "prod", "reviews.test"),
    "full": ("a.b.svc.cluster.local", "prod", "a.b.svc.cluster.local"),
    "star": ("*", "prod", "*"),
    "wildcard": ("*.Example.com", "prod", "*.example.com"),
    "IPv4": ("10.0.0.1", "prod", "10.0.0.1"),
    "IPv6 has no dot": ("2001:db8::1", "prod", "2001:db8::1"),
    "digits are a name": ("42", "prod", "42.prod.svc.cluster.local"),
    "empty": ("", "prod", ""),
}


@pytest.mark.parametrize(("host", "namespace", "full"), EXPANDED.values(), ids=EXPANDED)
def test_a_host_without_a_dot_gets_the_namespace_of_its_resource(host, namespace, full):
    """Only a dotless name is short; it never takes the namespace of the caller or the target."""
    assert expand(host, namespace) == full


def test_the_cluster_domain_can_be_another():
    """`cluster.local` is a default, as in Kubernetes."""
    assert expand("a", "b", "mesh.example") == "a.b.svc.mesh.example"
    assert candidates("a", "b", "mesh.example") == ("a.b.svc.mesh.example",)


DIALLED = {
    "bare": ("reviews", ["reviews.shop.svc.cluster.local"]),
    "bare with a dot at its end": ("reviews.", ["reviews.shop.svc.cluster.local"]),
    "upper case": ("REVIEWS", ["reviews.shop.svc.cluster.local"]),
    "with namespace": ("reviews.prod", ["reviews.prod", "reviews.prod.svc.cluster.local"]),
    "with svc": ("reviews.prod.svc", ["reviews.prod.svc", "reviews.prod.svc.cluster.local"]),
    "full": ("reviews.prod.svc.cluster.local", ["reviews.prod.svc.cluster.local"]),
    "full with a dot": ("reviews.prod.svc.cluster.local.", ["reviews.prod.svc.cluster.local"]),
    "foreign": ("api.example.com", ["api.example.com"]),
    "IPv4": ("10.0.0.1", ["10.0.0.1"]),
    "IPv6 in brackets": ("[2001:DB8::1]", ["2001:db8::1"]),
    "nothing": ("", []),
    "a dot": (".", []),
    "an empty label": ("reviews..svc", ["reviews..svc"]),
}


@pytest.mark.parametrize(("dialled", "hosts"), DIALLED.values(), ids=DIALLED)
def test_a_caller_may_dial_a_service_by_short_namespaced_and_full_name(dialled, hosts):
    """From the namespace `shop`; a name that is declared just so comes first."""
    assert list(candidates(dialled, "shop")) == hosts


MATCHES = {
    "equal": ("a.com", "a.com", True),
    "other": ("a.com", "b.com", False),
    "whatever the case": ("A.com", "a.COM", True),
    "star": ("*", "anything", True),
    "one label": ("*.foo.com", "a.foo.com", True),
    "two labels": ("*.foo.com", "a.b.foo.com", True),
    "not the domain itself": ("*.foo.com", "foo.com", False),
    "not within a label": ("*.foo.com", "afoo.com", False),
    "unless written so": ("*foo.com", "afoo.com", True),
    "the rest may be all of it": ("*foo.com", "foo.com", True),
    "a star elsewhere is a letter": ("a.*.com", "a.b.com", False),
    "a narrower pattern": ("*.com", "*.foo.com", True),
    "a wider pattern": ("*.foo.com", "*.com", False),
    "the same pattern": ("*.foo.com", "*.foo.com", True),
}


@pytest.mark.parametrize(("pattern", "host", "covered"), MATCHES.values(), ids=MATCHES)
def test_a_star_stands_only_at_the_front_and_for_any_text(pattern, host, covered):
    """What follows the star is compared as a suffix, dots included."""
    assert matches(pattern, host) is covered


WILDCARDS = {
    "three labels": ("a.b.com", (), ["*.b.com", "*.com", "*"]),
    "one label": ("localhost", (), ["*"]),
    "a pattern is not wider than itself": ("*.b.com", (), ["*.com", "*"]),
    "all": ("*", (), []),
    "partial ones that cover it": (
        "a.b.com",
        ["*b.com", "*m", "*x.com"],
        ["*.b.com", "*b.com", "*.com", "*m", "*"],
    ),
    "a partial one longer than all dotted ones": (
        "shop-v1.example.com",
        ["*-v1.example.com"],
        ["*-v1.example.com", "*.example.com", "*.com", "*"],
    ),
}


@pytest.mark.parametrize(("host", "partial", "patterns"), WILDCARDS.values(), ids=WILDCARDS)
def test_the_patterns_that_may_cover_a_host_come_the_most_specific_first(host, partial, patterns):
    """Patterns that end within a label exist only where somebody wrote them."""
    assert list(wildcards(host, partial)) == patterns


def test_a_partial_wildcard_ends_within_a_label():
    """`*foo.com` is one; `*.foo.com`, `*` and `foo.com` are not."""
    hosts = ["*foo.com", "*-x", "*.foo.com", "*", "foo.com"]
    assert [is_partial_wildcard(host) for host in hosts] == [True, True, False, False, False]


def test_the_most_specific_is_exact_then_longest_then_first_by_name():
    """Istio's order; it does not depend on the order in which patterns are written."""
    hosts = ["*", "*.com", "b.com", "*.b.com", "a.com", "*.a.com"]
    assert sorted(hosts, key=specificity_key) == [
        "a.com", "b.com", "*.a.com", "*.b.com", "*.com", "*",
    ]  # fmt: skip
    assert most_specific(hosts, "x.b.com") == "*.b.com"
    assert most_specific(hosts, "b.com") == "b.com"
    assert most_specific(["a.com"], "b.com") is None


HOSTS = st.text(string.ascii_lowercase + ".-", min_size=1, max_size=12)


@given(host=HOSTS, patterns=st.lists(HOSTS.map(lambda text: f"*{text}"), max_size=8))
def test_looking_up_wildcards_agrees_with_trying_every_pattern(host, patterns):
    """Whoever is first in `wildcards` among those that exist is the most specific match."""
    partial = [pattern for pattern in patterns if is_partial_wildcard(pattern)]
    by_lookup = next((p for p in wildcards(host, partial) if p in patterns), None)
    assert by_lookup == most_specific(patterns, host)


VISIBLE = {
    "absent: the default": (None, "b", ("*",), True),
    "absent: a narrower default": (None, "b", (".",), False),
    "absent: the default means the owner's": (None, "a", (".",), True),
    "all": (("*",), "b", (".",), True),
    "all wins over the rest": (("~", "*"), "b", (".",), True),
    "own, from elsewhere": ((".",), "b", ("*",), False),
    "own, from there": ((".",), "a", ("*",), True),
    "named": (("b",), "b", ("*",), True),
    "another is named": (("c",), "b", ("*",), False),
    "not even the owner unless named": (("c",), "a", ("*",), False),
    "nobody": (("~",), "a", ("*",), False),
}


@pytest.mark.parametrize(("export_to", "client", "default", "seen"), VISIBLE.values(), ids=VISIBLE)
def test_export_to_says_which_namespaces_see_a_resource_of_a(export_to, client, default, seen):
    """`.`, `*`, `~` and names; an absent list means the mesh's default."""
    assert visible(export_to, "a", client, default) is seen
