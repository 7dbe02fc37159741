"""Events become counters, by Istio's labels and by what policy changes of them."""

from __future__ import annotations

import pytest
from inbound_drive import environ_of

from meshware.policy.telemetry_plan import MetricPlan, MetricsPlan, SidePlan, TelemetryPlan
from meshware.telemetry.counting import MOST_SERIES, Counting
from meshware.testing import TestMesh
from meshware.wsgi import MeshMiddleware


def app(environ, start_response):
    """Answer 200, or raise."""
    if environ["PATH_INFO"] == "/raise":
        raise ValueError
    start_response("200 OK", [])
    return [b"body"]


class World:
    """A mesh whose events are counted."""

    def __init__(self, plan: TelemetryPlan | None = None) -> None:
        self.mesh = TestMesh([])
        snapshot = self.mesh.cell.current
        assert snapshot is not None
        if plan is not None:
            snapshot.telemetry = plan
        self.counting = Counting(lambda: self.mesh.cell.current, lambda: 1.0)
        self.app = MeshMiddleware(app, mesh=self.mesh)

    def call(self, path: str = "/", **headers: str) -> None:
        """One call, told to the counting."""
        environ = environ_of(path)
        environ.update({f"HTTP_{name.upper()}": value for name, value in headers.items()})
        body = self.app(environ, lambda *_: lambda _data: None)
        b"".join(body)
        body.close()
        [event] = self.mesh.events
        self.mesh.events.clear()
        self.counting(event)

    def series(self):
        """All series, counted."""
        return list(self.counting.fold().series.values())


def test_calls_of_one_kind_are_one_series():
    """Four metrics share it."""
    world = World()
    for _ in range(3):
        world.call()
    [series] = world.series()
    assert (series.count, sum(series.duration.counts), series.sent.total) == (3, 3, 12.0)
    assert dict(series.labels)["response_code"] == "200"


def test_hosts_that_callers_make_up_make_no_series():
    """Anyone can ask for any number of names."""
    world = World()
    for number in range(50):
        world.call(host=f"made-up-{number}.example")
    [series] = world.series()
    assert series.count == 50
    assert dict(series.labels)["destination_service"] == "unknown"


def test_labels_are_added_removed_and_metrics_dropped():
    """As Telemetry's overrides say; what fails is `unknown`."""

    def user(look_up):
        return look_up(("request", "headers", "x-user"))

    plan = MetricsPlan(
        changed={
            "istio_requests_total": MetricPlan(
                tags={"user": user}, removed=frozenset({"source_app"})
            ),
            "istio_request_bytes": MetricPlan(is_on=False),
        }
    )
    world = World(TelemetryPlan(inbound=SidePlan(metrics=plan)))
    world.call(x_user="ann")
    world.call()
    counted = {
        dict(series.labels).get("user"): series
        for series in world.series()
        if "istio_requests_total" in series.metrics
    }
    assert set(counted) == {"ann", "unknown"}
    assert all(series.metrics == {"istio_requests_total"} for series in counted.values())
    assert all("source_app" not in dict(series.labels) for series in counted.values())
    [others] = [s for s in world.series() if "istio_requests_total" not in s.metrics]
    assert others.count == 2
    assert "istio_request_bytes" not in others.metrics


def test_nothing_is_counted_where_policy_wants_no_metrics():
    """No provider is named."""
    world = World(TelemetryPlan(inbound=SidePlan(metrics=MetricsPlan(is_on=False))))
    world.call()
    assert world.series() == []


def test_there_is_room_for_so_many_series():
    """What would be one more is left out, and that is counted."""

    def number(look_up):
        return look_up(("request", "headers", "x-number"))

    changed = {"istio_requests_total": MetricPlan(tags={"n": number})}
    world = World(TelemetryPlan(inbound=SidePlan(metrics=MetricsPlan(changed=changed))))
    for at in range(MOST_SERIES + 5):
        world.call(x_number=str(at))
    store = world.counting.fold()
    assert len(store.series) == MOST_SERIES
    assert store.left_out >= 5


def test_exceptions_and_attempts_are_counted_by_themselves():
    """Of ours."""
    world = World()
    with pytest.raises(ValueError):
        world.call("/raise")
    [event] = world.mesh.events
    world.counting(event)
    counters = world.counting.fold().counters
    assert counters == {("meshware_exceptions_total", (("type", "ValueError"),)): 1}


def test_a_child_process_counts_from_nothing():
    """What was counted before the fork is the parent's to report."""
    world = World()
    world.call()
    world.counting.renew()
    assert world.series() == []
