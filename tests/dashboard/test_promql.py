"""What Prometheus is asked of a node or an edge."""

from __future__ import annotations

import pytest

from meshware.dashboard.data import Sample
from meshware.dashboard.graph import read_graph
from meshware.dashboard.history import selected
from meshware.dashboard.prometheus import checked_url
from meshware.dashboard.promql import Selection, Span, queries
from meshware.errors import SyncError

CALL = {
    "source_canonical_service": "web",
    "source_workload_namespace": "shop",
    "destination_service_name": "cart",
    "destination_service_namespace": "shop",
}
WEB = {"source_canonical_service": "web", "source_workload_namespace": "shop"}
CART = {"destination_service_name": "cart", "destination_service_namespace": "shop"}


def sample(reporter: str = "source", **labels: str) -> Sample:
    return Sample(labels={**CALL, "reporter": reporter, **labels}, requests=1)


GRAPH = read_graph(
    [
        sample(destination_version="v1"),
        sample(destination_version="v2"),
        sample("destination", source_canonical_service="unknown"),
        sample(destination_service_name="PassthroughCluster", destination_service="a.example"),
    ]
)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("shop/web->shop/cart", Selection({**WEB, **CART})),
        ("unknown->shop/cart", Selection(None, CART)),
        ("shop/cart->shop/cart@v1", Selection({**CART, "destination_version": "v1"})),
        ("shop/web->outside/a.example", Selection({**WEB, "destination_service": "a.example"})),
        ("shop/cart", Selection(CART, CART)),
        ("shop/cart@v2", Selection({**CART, "destination_version": "v2"})),
        ("shop/web", Selection(WEB)),
        ("shop/other", None),
    ],
)
def test_the_calls_of_what_is_open_are_asked_for(name, expected):
    assert selected(name, GRAPH) == expected


def test_a_name_stays_a_value_whatever_is_in_it():
    """Names come from policy, and from hosts that apps call."""
    hostile = 'a"} or vector(1) or x{y="\\\n'
    found = queries(Selection({"destination_service": hostile}), Span(0, 60, 5))
    assert 'destination_service="a\\"} or vector(1) or x{y=\\"\\\\\\n"' in found["rate"]


def test_a_month_has_no_more_points_than_a_chart():
    span = Span.between(1_700_000_003, 1_700_000_003 + 31 * 24 * 3600)
    assert len(span.instants) <= 242
    assert span.start % span.step_s == span.end % span.step_s == 0


@pytest.mark.parametrize(
    ("written", "base"),
    [
        ("http://127.0.0.1:9090", "http://127.0.0.1:9090"),
        ("https://p.example/prometheus/", "https://p.example/prometheus"),
        ("http://[::1]:9090/", "http://[::1]:9090"),
    ],
)
def test_an_address_is_taken(written, base):
    assert checked_url(written) == base


@pytest.mark.parametrize(
    "written",
    ["", "127.0.0.1:9090", "file:///etc/passwd", "http://", "http://a:99999", "http://a/?x=1",
     "http://user:secret@a", "http://a b", "http://a\nb", "http://[::1"],
)  # fmt: skip
def test_no_address_is_one_clear_error(written):
    with pytest.raises(SyncError, match="--prometheus") as caught:
        checked_url(written)
    assert "secret" not in str(caught.value)
