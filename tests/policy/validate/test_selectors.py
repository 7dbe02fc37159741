"""Which workloads the networking kinds select, and what is said of those."""

from __future__ import annotations

import pytest
from policy_check import brief, problems, service, workload

SELECTING = {"workloadSelector": {"labels": {"app": "reviews"}}}


@pytest.mark.parametrize(
    ("ports", "remedy"),
    [
        ({"http-9080": 8001}, None),
        ({"htp-9080": 8001}, "did you mean http-9080?"),
        ({"grpc": 8001}, "write one of http-9080"),
        (None, None),
    ],
    ids=str,
)
def test_a_port_that_no_service_of_a_workload_names_is_told(ports, remedy):
    """Its callers would dial the service's port number instead, and find nobody there."""
    more = {} if ports is None else {"ports": ports}
    found = problems(service(**SELECTING), workload("reviews", **more))
    if remedy is None:
        assert found == []
        return
    [problem] = found
    assert brief(found) == [("warning", "IST0101", f"spec.ports[{next(iter(ports))}]")]
    assert problem.message.endswith(remedy)


def test_a_port_may_be_that_of_another_service_of_the_workload():
    """Several services may select one workload, each with ports of its own."""
    other = service("admin", ports=(9090,), **SELECTING)
    entry = workload("reviews", ports={"http-9080": 8001, "http-9090": 8002})
    assert problems(service(**SELECTING), other, entry) == []


def test_a_selector_that_selects_nobody_is_told():
    """Calls would be 503 UH."""
    found = problems(service(**SELECTING), workload("ratings"))
    assert brief(found) == [("warning", "IST0127", "spec.workloadSelector.labels")]
