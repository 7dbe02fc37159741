"""What Prometheus is asked of a node or an edge."""

from __future__ import annotations

import re

import pytest

from meshware.dashboard.data import Sample
from meshware.dashboard.graph import read_graph
from meshware.dashboard.history import selected
from meshware.dashboard.prometheus import checked_url
from meshware.dashboard.promql import NOBODY, Selection, Span, queries
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


MINUTE = Span(0, 60, 5)
NOWHERE = {
    "destination_service": NOBODY,
    "destination_service_name": NOBODY,
    "destination_canonical_service": NOBODY,
}
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
        ("unknown", Selection(None, {})),
    ],
)
def test_the_calls_of_what_is_open_are_asked_for(name, expected):
    assert selected(name, GRAPH) == expected


def test_what_is_not_told_is_asked_for_as_absent():
    """Not as whatever there is: calls of a caller without a namespace are not those of all."""
    told = {"reporter": "source", "source_canonical_service": "batch"}
    graph = read_graph([Sample(labels=told, requests=1)])
    batch = {"source_canonical_service": "batch", "source_workload_namespace": ""}
    assert selected("/batch", graph) == Selection(batch)
    assert selected("/batch->unknown", graph) == Selection({**batch, **NOWHERE})
    assert 'source_workload_namespace=""' in queries(Selection(batch), MINUTE)["rate"]


HOSTILE = [
    'a"} or vector(1) or x{y="\\\n',
    '~.*"} or on() vector(1) or x{y=~"',
    '~"}[1m])) or sum(rate(istio_requests_total{destination_service="bait"}[1m])) #',
    "~.*", "~.+", "~", ".*", "!~", "=~.*", "", "\\", "bait\\", '\\"', "\n", "\r", "`", "'", "#",
    "{}", "|unknown", "unknown", "0|5..", "\t\u2028☃é",
]  # fmt: skip


def read(expression: str) -> list[dict[str, tuple[str, str]]]:
    """The selectors of an expression by PromQL's grammar of strings: by label kind and value."""
    escapes = {"n": "\n", "\\": "\\", '"': '"'}
    matcher = r'(\w+)(=~|!~|=)"((?:[^"\\\n]|\\["\\n])*)"'
    selectors = []
    for found in re.finditer(rf"\{{({matcher}(?:,{matcher})*)\}}", expression):
        selectors.append(
            {
                name: (kind, re.sub(r"\\(.)", lambda at: escapes[at[1]], text))
                for name, kind, text in re.findall(matcher, found[1])
            }
        )
    rest = re.sub(rf"\{{{matcher}(?:,{matcher})*\}}", "", expression)
    assert not set(rest) - set("abcdefghijklmnopqrstuvwxyz_0123456789()[]., *+-"), rest
    return selectors


@pytest.mark.parametrize("value", HOSTILE)
@pytest.mark.parametrize("label", ["source_canonical_service", "destination_version"])
@pytest.mark.parametrize("is_known", [True, False])
def test_what_a_worker_claims_stays_a_value_that_is_compared(is_known, label, value):
    """Names come from policy, from hosts that apps call, and from workers that claim anything."""
    meant = {"destination_service": value, label: value}
    if not is_known:
        meant.pop("source_canonical_service", None)
    found = queries(Selection(meant) if is_known else Selection(None, meant), MINUTE)
    assert found
    for expression in found.values():
        selectors = read(expression)
        assert selectors
        for selector in selectors:
            assert {name: selector[name] for name in meant} == dict.fromkeys(meant, ("=", value))
            others = {pair for name, pair in selector.items() if name not in meant}
            assert {text for kind, text in others if kind != "="} <= {"|unknown", "0|5.."}


def test_calls_of_nobody_are_not_asked_for():
    """Least of all as the latencies of all strangers, which an empty selection once gave."""
    assert queries(Selection(None), MINUTE) == {}


def test_strangers_are_those_without_a_label_too():
    """An exporter may leave out what it does not know, and Prometheus drops empty labels."""
    found = queries(Selection(None, CART), MINUTE)
    assert "attempts" not in found
    for name in ("p50_ms", "p95_ms", "p99_ms"):
        (selector,) = read(found[name])
        assert selector["source_canonical_service"] == ("=~", "|unknown")
        assert selector["destination_service_name"] == ("=", "cart")


def test_attempts_of_a_whole_service_are_not_those_of_one_version():
    """They are counted without a version; those of all would stand beside the calls of one."""
    assert "attempts" in queries(Selection(CART), MINUTE)
    assert "attempts" not in queries(Selection({**CART, "destination_version": "v2"}), MINUTE)


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
