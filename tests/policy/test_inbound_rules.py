"""Compiling AuthorizationPolicies: what is found fast is what a plain reading finds."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshware.policy.document.authorization_policy import (
    AuthorizationPolicySpec,
    Condition,
    ExtensionProvider,
    From,
    Operation,
    Rule,
    Source,
    To,
)
from meshware.policy.document.common import PolicyTargetReference
from meshware.policy.inbound_facts import Facts, host_forms
from meshware.policy.inbound_rules import NamedPolicy, compile_inbound, header_of


def named(**spec) -> NamedPolicy:
    """A policy."""
    return NamedPolicy(namespace="default", name="p", spec=AuthorizationPolicySpec(**spec))


def facts(method: str = "GET", host: str = "a.com", port: int | None = 80, **headers) -> Facts:
    """A request."""
    return Facts(
        method=method,
        authority=host,
        headers=lambda name: headers.get(name, ()),
        source_ip="10.0.0.1",
        destination_ip="10.0.0.2",
        port=port,
    )


@pytest.mark.parametrize(
    ("written", "forms"),
    [
        ("a.com", {"a.com"}),
        ("A.Com.", {"a.com.", "a.com"}),
        ("a.com:80", {"a.com:80", "a.com"}),
        ("a.com.:80", {"a.com.:80", "a.com:80", "a.com"}),
        ("a.com:", {"a.com:", "a.com"}),
        ("[::1]:80", {"[::1]:80", "[::1]"}),
        ("[::1]", {"[::1]"}),
        ("", {""}),
    ],
)
def test_a_host_has_every_form_that_names_it(written, forms):
    """Case, port and trailing dot move nothing."""
    assert set(host_forms(written)) == forms
    assert host_forms(written)[0] == written.lower()


@pytest.mark.parametrize(
    ("key", "header"),
    [
        ("request.headers[X-A]", "x-a"),
        ("request.headers[]", ""),
        ("request.headers", None),
        ("source.ip", None),
    ],
)
def test_a_key_names_its_header(key, header):
    """Header names know no case."""
    assert header_of(key) == header


def test_headers_that_policy_reads_are_known():
    """Their twins with underscores are refused."""
    condition = Condition(key="request.headers[X-Role]", values=("a",))
    rules = compile_inbound([named(action="DENY", rules=(Rule(when=(condition,)),))])
    assert rules.reads_headers == {"x-role"}


@pytest.mark.parametrize(
    "spec",
    [
        {"action": "CUSTOM", "rules": (Rule(),)},
        {"action": "AUDIT", "rules": (Rule(),)},
        {"provider": ExtensionProvider(name="x")},
        {"target_refs": (PolicyTargetReference(kind="Service", name="x"),)},
        {"target_ref": PolicyTargetReference(kind="Service", name="x")},
        {"rules": (Rule(from_=(From(source=Source(request_principals=("x",))),)),)},
        {"rules": (Rule(from_=(From(source=Source(remote_ip_blocks=("::1",))),)),)},
        {"rules": (Rule(from_=()),)},
        {"rules": (Rule(to=()),)},
        {"rules": (Rule(to=(To(operation=Operation(paths=())),)),)},
        {"rules": (Rule(when=()),)},
        {"rules": (Rule(when=(Condition(key="nonsense", values=("x",)),)),)},
        {"rules": (Rule(from_=(From(source=Source(ip_blocks=("x",))),)),)},
        {"rules": (Rule(to=(To(operation=Operation(ports=("x",))),)),)},
        {"rules": (Rule(to=(To(operation=Operation(paths=("/{*}x",))),)),)},
    ],
)
def test_what_cannot_be_carried_out_is_refused_and_never_left_out(spec):
    """A rule that is ignored would open a door; the last good policy stays."""
    with pytest.raises(ValueError):
        compile_inbound([named(**spec)])


# --- agreement with a plain reading ---------------------------------------------------------------

PATH_VALUES = st.sampled_from(["/a", "/a*", "*b", "*", "/a/{*}", "/{**}/b"])
HOST_VALUES = st.sampled_from(["a.com", "*.com", "a.*", "*", "b.com:81"])


def some(values):
    """A list of values, or none."""
    return st.none() | st.lists(values, min_size=1, max_size=2).map(tuple)


OPERATIONS = st.builds(
    Operation,
    hosts=some(HOST_VALUES),
    not_hosts=some(HOST_VALUES),
    paths=some(PATH_VALUES),
    not_paths=some(PATH_VALUES),
    methods=some(st.sampled_from(["GET", "PUT", "*"])),
    ports=some(st.sampled_from(["80", "81"])),
)
RULES = st.builds(
    Rule,
    to=st.none() | st.lists(st.builds(To, operation=OPERATIONS), min_size=1, max_size=2).map(tuple),
    when=st.none() | st.just((Condition(key="request.headers[x-a]", values=("1",)),)),
)
POLICIES = st.lists(
    st.builds(
        AuthorizationPolicySpec,
        action=st.sampled_from(["ALLOW", "DENY"]),
        rules=st.lists(RULES, min_size=1, max_size=3).map(tuple),
    ),
    max_size=3,
)
REQUESTS = st.builds(
    facts,
    method=st.sampled_from(["GET", "PUT"]),
    host=st.sampled_from(["a.com", "A.com:80", "b.com:81", "b.com.", ""]),
    port=st.sampled_from([80, 81, None]),
) | st.just(facts(**{"x-a": ["1"]}))


@given(POLICIES, REQUESTS, st.sampled_from(["/", "/a", "/ab", "/a/b", "/a/b/b", "//b", ""]))
def test_the_index_finds_what_asking_each_entry_finds(specs, request_facts, path):
    """The first in order, whatever entries are found by."""
    rules = compile_inbound(
        [
            NamedPolicy(namespace="default", name=f"p{number}", spec=spec)
            for number, spec in enumerate(specs)
        ]
    )
    for rule_set in (rules.deny, rules.allow):
        if rule_set is None:
            continue
        plain = next((one for one in rule_set.entries if one.holds(request_facts, path)), None)
        assert rule_set.first(request_facts, path) is plain
