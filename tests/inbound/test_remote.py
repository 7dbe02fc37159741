"""Who called first: by the entry that the outermost trusted proxy wrote, and by nothing else."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from inbound_world import from_, is_allowed, mesh_config, policy, request, status_of, when

from meshware.inbound.remote import remote_ip
from meshware.policy.addresses import parse_address
from meshware.policy.load import load_text
from meshware.testing import TestMesh

PEER = "192.0.2.1"


def hops(count: int) -> dict:
    """A MeshConfig that trusts so many proxies."""
    return mesh_config(defaultConfig={"gatewayTopology": {"numTrustedProxies": count}})


CASES = [
    ("no proxy, no header", 0, [], PEER),
    ("no proxy, a header", 0, ["10.0.0.1"], PEER),
    ("one proxy", 1, ["10.0.0.1"], "10.0.0.1"),
    ("one proxy, and what the caller wrote", 1, ["6.6.6.6, 10.0.0.1"], "10.0.0.1"),
    ("two proxies", 2, ["6.6.6.6,10.0.0.1 , 172.16.0.1"], "10.0.0.1"),
    ("two proxies over two lines", 2, ["6.6.6.6, 10.0.0.1", "172.16.0.1"], "10.0.0.1"),
    ("two proxies over three lines", 2, ["6.6.6.6", "10.0.0.1", "172.16.0.1"], "10.0.0.1"),
    ("the whole of the first line", 3, ["10.0.0.1", "1.1.1.1, 2.2.2.2"], "10.0.0.1"),
    ("a proxy too few", 2, ["10.0.0.1"], None),
    ("a header that is not there", 1, [], None),
    ("an empty header", 1, [""], None),
    ("an empty entry", 1, ["10.0.0.1,"], None),
    ("with a port", 1, ["10.0.0.1:4711"], "10.0.0.1"),
    ("with an empty port", 1, ["10.0.0.1:"], None),
    ("with a port that is none", 1, ["10.0.0.1:http"], None),
    ("IPv6", 1, ["2001:db8::1"], "2001:db8::1"),
    ("IPv6 in brackets", 1, ["[2001:db8::1]"], "2001:db8::1"),
    ("IPv6 with a port", 1, ["[2001:db8::1]:4711"], "2001:db8::1"),
    ("IPv6 with rubbish behind it", 1, ["[2001:db8::1]x"], None),
    ("an open bracket", 1, ["[2001:db8::1"], None),
    ("IPv4 in brackets", 1, ["[10.0.0.1]"], None),
    ("blanks", 1, ["\t10.0.0.1 "], "10.0.0.1"),
    ("quotes", 1, ['"10.0.0.1"'], None),
    ("a name", 1, ["unknown"], None),
    ("a hidden one", 1, ["_hidden"], None),
    ("leading zeros", 1, ["010.0.0.1"], None),
    ("other digits", 1, ["١٠.0.0.1"], None),  # noqa: RUF001
    ("a block", 1, ["10.0.0.0/8"], None),
]


@pytest.mark.parametrize(
    ("count", "lines", "expected"), [row[1:] for row in CASES], ids=[row[0] for row in CASES]
)
def test_the_address_is_that_of_the_entry_of_the_outermost_trusted_proxy(count, lines, expected):
    """Whatever stands to the left of it was written by somebody else."""
    head = request(headers=[("x-forwarded-for", line) for line in lines], source_ip=PEER)
    found = remote_ip(head, count)
    assert found == expected
    if found is not None:
        assert parse_address(found) is not None


@given(st.lists(st.text("0123456789.:,[] x", max_size=30), max_size=3), st.integers(1, 4))
def test_it_is_the_entry_of_the_joined_line(lines, count):
    """A header over several lines is one."""
    entries = ",".join(lines).split(",") if lines else []
    one = request(headers=[("x-forwarded-for", entries[-count])] if len(entries) >= count else [])
    many = request(headers=[("x-forwarded-for", line) for line in lines])
    assert remote_ip(many, count) == remote_ip(one, 1)


BLOCK = from_(remoteIpBlocks=["10.0.0.0/8"])
NOT_BLOCK = from_(notRemoteIpBlocks=["10.0.0.0/8"])


@pytest.mark.parametrize(
    ("rule", "holds"),
    [
        (BLOCK, True),
        (NOT_BLOCK, False),
        (when("remote.ip", "10.0.0.1"), True),
        (when("remote.ip", "10.9.0.0/16"), False),
        (when("remote.ip", unless=["10.0.0.1"]), False),
        (when("remote.ip", unless=["192.0.2.0/24"]), True),
        (when("remote.ip", "10.0.0.0/8", unless=["10.0.0.1"]), False),
    ],
    ids=str,
)
def test_rules_ask_for_the_remote_address(rule, holds):
    """Not for the proxy's."""
    head = request(headers=[("x-forwarded-for", "192.0.2.7, 10.0.0.1")])
    assert is_allowed(TestMesh([policy("ALLOW", rule), hops(1)]), head) is holds
    assert is_allowed(TestMesh([policy("DENY", rule), hops(1)]), head) is not holds


@pytest.mark.parametrize("rule", [BLOCK, NOT_BLOCK, when("remote.ip", unless=["192.0.2.0/24"])])
@pytest.mark.parametrize("value", [None, "", "garbage", "unix:", "10.0.0.1, x"])
def test_an_address_that_is_not_known_is_denied_and_not_allowed(rule, value):
    """In both polarities."""
    head = request(headers=[] if value is None else [("x-forwarded-for", value)])
    for action in ("ALLOW", "DENY"):
        assert not is_allowed(TestMesh([policy(action, rule), hops(1)]), head), action


def test_without_trusted_proxies_nobody_moves_an_address():
    """Istio's sidecar takes the last entry of the header, whoever wrote it."""
    mesh = TestMesh(policy("ALLOW", from_(remoteIpBlocks=["10.0.0.0/8"])))
    assert not is_allowed(mesh, request(headers=[("x-forwarded-for", "10.0.0.1")]))
    assert is_allowed(mesh, request(source_ip="10.0.0.1"))


def test_a_header_of_a_megabyte_of_commas_refuses_nobody_but_costs_little():
    """Only the entries from the right are looked at."""
    mesh = TestMesh([policy("DENY", from_(remoteIpBlocks=["10.0.0.0/8"])), hops(2)])
    line = "," * 1_000_000 + "192.0.2.7, 192.0.2.8"
    assert status_of(mesh, request(headers=[("x-forwarded-for", line)])) == 200


@pytest.mark.parametrize(("count", "is_fine"), [(0, True), (3, True), (-1, False), (101, False)])
def test_the_number_of_trusted_proxies_is_checked(count, is_fine):
    """At load, with its field."""
    loaded = load_text(
        "apiVersion: meshware.dev/v1alpha1\nkind: MeshConfig\n"
        "metadata: {name: mesh, namespace: istio-system}\n"
        f"spec: {{defaultConfig: {{gatewayTopology: {{numTrustedProxies: {count}}}}}}}\n"
    )
    fields = [problem.field for problem in loaded.problems]
    field = "spec.defaultConfig.gatewayTopology.numTrustedProxies"
    assert fields == ([] if is_fine else [field])
