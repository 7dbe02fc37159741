"""Addresses that stand for services: who sees them, and which one counts."""

from __future__ import annotations

import json

import pytest

from meshware.testing import TestMesh


def entry(name, *addresses, namespace="default", **spec):
    """Return a ServiceEntry with one endpoint, named after it."""
    given = {
        "hosts": [f"{name}.test"],
        "addresses": list(addresses),
        "location": "MESH_INTERNAL",
        "resolution": "STATIC",
        "ports": [{"number": 80, "name": "http", "protocol": "HTTP"}],
        "endpoints": [{"address": "10.0.0.1"}],
        **spec,
    }
    return f"""---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: {name}, namespace: {namespace}}}
spec: {json.dumps(given)}
"""


def named(*policies, dialled, port=80, workload="default/web"):
    """Return the service that a client means by an address; None: it is not known."""
    table = TestMesh(list(policies), workload=workload).cell.current.routes(dialled, port)
    return None if table is None else table.service


@pytest.mark.parametrize(
    ("dialled", "expected"),
    [
        ("192.0.2.1", "one.test:80"),
        ("192.0.2.9", None),
        ("198.51.100.7", "narrow.test:80"),
        ("198.51.100.200", "wide.test:80"),
        ("2001:db8::1", "six.test:80"),
        ("2001:db8:1::5", "six.test:80"),
        ("one.test", "one.test:80"),
    ],
)
def test_an_address_means_the_service_of_the_narrowest_block(dialled, expected):
    """An address of one's own before any block, a small block before a large one."""
    policies = (
        entry("wide", "198.51.100.0/24"),
        entry("narrow", "198.51.100.0/28"),
        entry("one", "192.0.2.1"),
        entry("six", "2001:DB8::1", "2001:db8:1::/48"),
    )
    assert named(*policies, dialled=dialled) == expected


def test_a_host_that_is_the_address_itself_comes_first():
    """Somebody declares just that."""
    itself = entry("itself", hosts=["192.0.2.1"])
    assert named(entry("one", "192.0.2.1"), itself, dialled="192.0.2.1") == "192.0.2.1:80"


def test_the_port_decides_between_services_of_one_address():
    """As listeners of a sidecar would."""
    other = entry("other", "192.0.2.1", ports=[{"number": 81, "name": "http", "protocol": "HTTP"}])
    assert named(entry("one", "192.0.2.1"), other, dialled="192.0.2.1") == "one.test:80"
    assert named(entry("one", "192.0.2.1"), other, dialled="192.0.2.1", port=81) == "other.test:81"


def test_who_does_not_see_a_service_does_not_see_its_address():
    """`exportTo` holds for addresses, too."""
    private = entry("one", "192.0.2.1", namespace="shop", exportTo=["."])
    assert named(private, dialled="192.0.2.1") is None
    assert named(private, dialled="192.0.2.1", workload="shop/web") == "one.test:80"


def test_the_claim_that_is_seen_is_the_one_that_gives_the_address():
    """Another namespace's ServiceEntry for the same host gives none to it."""
    theirs = entry("one", "192.0.2.1", namespace="shop")
    ours = entry("one", "192.0.2.2", exportTo=["."])
    assert named(theirs, ours, dialled="192.0.2.2") == "one.test:80"
    assert named(theirs, ours, dialled="192.0.2.1") is None


def test_addresses_that_move_are_followed_by_the_next_snapshot():
    """What was compiled rests on the index of addresses."""
    mesh = TestMesh(entry("one", "192.0.2.1"))
    assert mesh.cell.current.routes("192.0.2.2", 80) is None
    mesh.apply(entry("one", "192.0.2.2"))
    assert mesh.cell.current.routes("192.0.2.1", 80) is None
    assert mesh.cell.current.routes("192.0.2.2", 80).service == "one.test:80"
