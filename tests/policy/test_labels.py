"""Which service and version a workload is of, by its labels."""

from __future__ import annotations

import pytest

from meshware.policy.labels import canonical_revision, canonical_service
from meshware.telemetry.labels import Workload
from meshware.telemetry.span_attributes import Workload as Traced

NAME, REVISION = "service.istio.io/canonical-name", "service.istio.io/canonical-revision"


@pytest.mark.parametrize(
    ("labels", "service", "revision"),
    [
        ({}, "cart-v1", "latest"),
        ({"app": "cart", "version": "v1"}, "cart", "v1"),
        (
            {
                "app": "a",
                "version": "b",
                "app.kubernetes.io/name": "cart",
                "app.kubernetes.io/version": "v2",
            },
            "cart",
            "v2",
        ),
        (
            {
                "app.kubernetes.io/name": "a",
                "app.kubernetes.io/version": "b",
                NAME: "cart",
                REVISION: "v3",
            },
            "cart",
            "v3",
        ),
        ({NAME: "", REVISION: "", "app": "cart", "version": ""}, "cart", "latest"),
    ],
)
def test_metrics_and_traces_call_a_workload_the_same(labels, service, revision):
    assert canonical_service(labels, "cart-v1") == service
    assert canonical_revision(labels) == revision
    counted = Workload.of("shop", "cart-v1", labels, None)
    assert (counted.service, counted.revision) == (service, revision)
    traced = Traced(name="cart-v1", namespace="shop", labels=labels)
    assert (traced.service, traced.revision) == (service, revision)
