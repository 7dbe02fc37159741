"""Who calls whom, by what both ends tell."""

from __future__ import annotations

import pytest

from meshware.dashboard.data import Sample
from meshware.dashboard.graph import health_of, read_graph

CALL = {
    "source_canonical_service": "web",
    "source_workload_namespace": "shop",
    "destination_service_name": "cart",
    "destination_service_namespace": "shop",
    "destination_service": "cart.shop.svc.cluster.local",
}


def told(reporter: str, requests: float, **labels: str) -> Sample:
    return Sample(labels={**CALL, "reporter": reporter, **labels}, requests=requests)


def test_the_source_is_believed_where_both_ends_tell():
    """It also saw the calls that never arrived."""
    found = read_graph([told("destination", 7), told("source", 5), told("source", 5)])
    assert found.edges["shop/web->shop/cart"].counts[0] == 10


def test_the_destination_is_believed_where_no_source_tells():
    found = read_graph([told("destination", 7, source_canonical_service="unknown")])
    assert found.edges["unknown->shop/cart"].counts[0] == 7
    assert found.nodes["unknown"].kind == "unknown"


def test_who_was_proved_is_taken_from_the_destination():
    """Of a source's series Istio's connection_security_policy is always unknown."""
    proof = {"connection_security_policy": "mutual_tls", "source_principal": "spiffe://t/ns/a/sa/b"}
    edge = read_graph([told("source", 1), told("destination", 1, **proof)]).edges.popitem()[1]
    assert (edge.mtls, edge.source_principal) == (True, "spiffe://t/ns/a/sa/b")


REVIEWS = "spiffe://t/ns/shop/sa/web"


def test_who_shares_an_account_with_other_versions_is_known_by_its_identity():
    """The destination knows the account alone, the source its name."""
    samples = [
        told("source", 2, source_principal=REVIEWS),
        told(
            "destination",
            2,
            source_canonical_service="unknown",
            source_principal=REVIEWS,
            connection_security_policy="mutual_tls",
        ),
    ]
    found = read_graph(samples)
    assert set(found.edges) == {"shop/web->shop/cart"}
    assert found.edges["shop/web->shop/cart"].mtls is True


def test_an_account_of_several_services_is_nobodys_name():
    samples = [
        told("source", 1, source_principal=REVIEWS),
        told("source", 1, source_principal=REVIEWS, source_canonical_service="other"),
        told("destination", 2, source_canonical_service="unknown", source_principal=REVIEWS),
    ]
    assert "unknown->shop/cart" in read_graph(samples).edges


def test_versions_are_nodes_where_there_are_several():
    one = [told("source", 1, destination_version="v1")]
    assert set(read_graph(one).nodes) == {"shop/web", "shop/cart"}
    both = read_graph([*one, told("source", 2, destination_version="v2")])
    assert both.edges["shop/cart->shop/cart@v2"].counts[0] == 2
    assert both.nodes["shop/cart@v1"].kind == "version"


def test_a_host_that_is_no_service_is_outside():
    labels = {"destination_service_name": "PassthroughCluster", "destination_service": "a.example"}
    assert read_graph([told("source", 1, **labels)]).nodes["outside/a.example"].kind == "outside"


def by_address(**labels: str) -> Sample:
    """Told by a destination that was not called by a name of the mesh."""
    names = ("destination_service", "destination_service_name", "destination_service_namespace")
    ends = {
        "source_canonical_service": "unknown",
        "destination_workload": "cart-1",
        "destination_workload_namespace": "shop",
        **dict.fromkeys(names, "unknown"),
    }
    return told("destination", 3, **ends, **labels)


def test_a_service_that_is_called_by_its_address_is_the_node_that_it_is_by_name():
    found = read_graph([told("source", 2), by_address(destination_canonical_service="cart")])
    assert set(found.nodes) == {"shop/web", "shop/cart", "unknown"}
    assert found.edges["unknown->shop/cart"].counts[0] == 3


@pytest.mark.parametrize(
    ("labels", "name"),
    [
        ({"destination_canonical_service": "unknown", "destination_app": "cart"}, "shop/cart"),
        ({"destination_canonical_service": "unknown"}, "shop/cart-1"),
    ],
)
def test_a_workload_without_a_canonical_service_is_known_by_its_app_or_its_name(labels, name):
    assert f"unknown->{name}" in read_graph([by_address(**labels)]).edges


@pytest.mark.parametrize(
    ("rate", "share", "colour"),
    [(0, 0, "idle"), (1, 0, "good"), (1, 0.001, "warn"), (1, 0.1, "bad")],
)
def test_health_is_by_the_share_of_errors(rate, share, colour):
    assert health_of(rate, share) == colour
