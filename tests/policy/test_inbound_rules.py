"""Compiling AuthorizationPolicies: what is found fast is what a plain reading finds."""

from __future__ import annotations

import pytest

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
        {"provider": ExtensionProvider(name="x")},
        {"target_refs": (PolicyTargetReference(kind="Service", name="x"),)},
        {"target_ref": PolicyTargetReference(kind="Service", name="x")},
        {"rules": (Rule(from_=(From(source=Source(remote_ip_blocks=("::/x",))),)),)},
        {"rules": (Rule(when=(Condition(key="request.auth.claims", values=("x",)),)),)},
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
