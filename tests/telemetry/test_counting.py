"""Events become counters, by Istio's labels and by what policy changes of them."""

from __future__ import annotations

import gc
import threading

import pytest
from counted_world import Counted as World
from outbound_world import ONLY_SERVICE, answered
from outbound_world import World as OutboundWorld

from meshware.call import Ended
from meshware.policy.telemetry_plan import MetricPlan, MetricsPlan, SidePlan, TelemetryPlan
from meshware.telemetry.counting import MOST_SERIES, Counting
from meshware.telemetry.series import ENDPOINT_ATTEMPTS


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
    assert counters[("meshware_exceptions_total", (("type", "ValueError"),))] == 1


def test_a_child_process_counts_from_nothing():
    """What was counted before the fork is the parent's to report."""
    world = World()
    world.call()
    world.counting.renew()
    assert world.series() == []


def test_an_event_may_be_told_while_its_thread_holds_the_locks_of_policy_and_counting():
    """Garbage collection ends a call wherever it likes: nobody waits for himself."""
    world = World()
    events = [world.event() for _ in range(3)]
    snapshot = world.mesh.cell.current

    def tell() -> None:
        with snapshot._lock:
            for _ in range(400):
                for event in events:
                    world.counting(event)
        with world.counting._folding:
            world.counting(events[0])

    thread = threading.Thread(target=tell, daemon=True)
    thread.start()
    thread.join(20)
    assert not thread.is_alive(), "the thread waits for a lock that it holds"
    [series] = world.series()
    assert series.count == 1201


def test_new_kinds_of_calls_that_nobody_sorts_in_are_bounded_and_counted(monkeypatch):
    """No report is written and nobody scrapes: memory has an end, and the loss is told."""
    monkeypatch.setattr("meshware.telemetry.counting._MOST_NEW", 600)
    world = World()
    event = world.event()
    for _ in range(2000):
        world.counting(event)
    store = world.counting.fold()
    [series] = store.series.values()
    assert series.count + store.left_out == 2000
    assert store.left_out > 0


def test_whoever_remembers_what_was_folded_sees_that_more_has_been():
    """Also in a child process, and after what was counted has been handed over."""
    world = World()
    seen = [world.counting.folded]
    for step in (world.call, world.counting.renew, world.call, world.counting.hand_over):
        step()
        world.counting.fold()
        seen.append(world.counting.folded)
    assert len(set(seen)) == len(seen)
    before = world.counting.folded
    world.counting.fold()
    assert world.counting.folded == before, "nothing was counted, so nothing is written"


def test_what_is_handed_over_is_not_counted_again():
    """And what comes then is."""
    world = World()
    world.call()
    world.counting.fold()
    world.counting.hand_over()
    world.call()
    [series] = world.series()
    assert series.count == 1


def test_a_mistake_costs_the_count_of_its_own_call_alone(monkeypatch):
    """It is told, and counted as left out."""
    world = World()
    world.call()
    monkeypatch.setattr("meshware.telemetry.counting.inbound_labels", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        world.counting.fold()
    monkeypatch.undo()
    world.call()
    store = world.counting.fold()
    assert (store.left_out, [one.count for one in store.series.values()]) == (1, [1])


@pytest.mark.parametrize(
    ("written", "name"),
    [("my-tag", "my_tag"), ("le", "tag_le"), ("__name__", "tag___name__"), ("1st", "tag_1st")],
)
def test_a_tag_has_a_name_that_prometheus_takes(written, name):
    """Otherwise the whole report would be none."""
    changed = {"istio_requests_total": MetricPlan(tags={written: lambda _: "x"})}
    world = World(TelemetryPlan(inbound=SidePlan(metrics=MetricsPlan(changed=changed))))
    world.call()
    assert "x" in {dict(series.labels).get(name) for series in world.series()}


# --- outbound -------------------------------------------------------------------------------------


OUTSIDE = """\
apiVersion: meshware.dev/v1alpha1
kind: MeshConfig
metadata: {name: mesh, namespace: istio-system}
spec: {outboundTrafficPolicy: {mode: ALLOW_ANY}}
"""


RETRIED = """\
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: orders}
spec:
  hosts: [orders]
  http: [{route: [{destination: {host: orders}}], retries: {attempts: 2, retryOn: 5xx}}]
"""

LIMITED = """\
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: limited}
spec:
  host: orders
  trafficPolicy: {connectionPool: {http: {http2MaxRequests: 1}}}
"""


def outbound(world: OutboundWorld, *statuses: int, **asked) -> None:
    """One call with an answer to each of its attempts."""
    flow = world.exchange(**asked)
    action = next(flow)
    for status in statuses:
        action = flow.send(answered(status))
        while type(action).__name__ == "Sleep":
            action = flow.send(None)
    if statuses:
        with pytest.raises(StopIteration):
            flow.send(Ended(None, 0))
    flow.close()


def counted(world: OutboundWorld):
    """What the world's calls come to."""
    counting = Counting(lambda: world.mesh.cell.current, lambda: 1.0)
    for event in world.events:
        counting(event)
    return counting.fold()


def test_a_call_that_goes_out_is_one_whatever_its_attempts():
    """Those are counted by themselves. Source: Istio, one increment for each request."""
    world = OutboundWorld(RETRIED)
    outbound(world, 503, 200)
    store = counted(world)
    [series] = store.series.values()
    labels = dict(series.labels)
    assert (series.count, labels["reporter"], labels["response_code"]) == (1, "source", "200")
    ours = {name: value for (name, _), value in store.counters.items() if "endpoint" not in name}
    assert ours == {"meshware_attempts_total": 2, "meshware_retries_total": 1}
    for kind, theirs in store.counters:
        if kind == ENDPOINT_ATTEMPTS:
            continue
        assert [name for name, _ in theirs] == [
            "destination_service",
            "source_workload",
            "source_workload_namespace",
        ]
        assert dict(theirs).items() <= labels.items(), "so they are known as of the same pair"


def tried(store) -> dict[tuple[str, str], float]:
    """Attempts by endpoint and outcome."""
    return {
        (dict(labels)["endpoint"], dict(labels)["outcome"]): value
        for (name, labels), value in store.counters.items()
        if name == ENDPOINT_ATTEMPTS
    }


def test_each_attempt_counts_for_its_endpoint():
    """A retry goes elsewhere, and so does its count."""
    world = OutboundWorld(RETRIED)
    outbound(world, 503, 200)
    found = tried(counted(world))
    assert sorted(found.values()) == [1, 1]
    assert {outcome for _, outcome in found} == {"ok", "failed"}


def test_endpoints_are_told_apart_as_long_as_they_are_few(monkeypatch):
    monkeypatch.setattr("meshware.telemetry.counting._MOST_ENDPOINTS", 1)
    world = OutboundWorld(RETRIED)
    outbound(world, 503, 200)
    assert {"other"} < {endpoint for endpoint, _ in tried(counted(world))}


def test_hosts_outside_of_the_mesh_are_named_as_long_as_they_are_few(monkeypatch):
    """An app that calls whatever it is told makes no series without end."""
    monkeypatch.setattr("meshware.telemetry.counting._MOST_OUTSIDE", 2)
    world = OutboundWorld(OUTSIDE)
    for name in ("a", "b", "c", "d", "a"):
        outbound(world, 200, host=f"{name}.example")
    store = counted(world)
    found = {dict(s.labels)["destination_service"]: s.count for s in store.series.values()}
    assert found == {"a.example": 2, "b.example": 1, "other": 2}
    names = {dict(s.labels)["destination_service_name"] for s in store.series.values()}
    assert names == {"PassthroughCluster"}
    services = {dict(labels)["destination_service"] for _, labels in store.counters}
    assert services == {"a.example", "b.example", "other"}


def test_limits_that_calls_meet_are_counted():
    """Of requests, before there was an attempt."""
    world = OutboundWorld()
    world.mesh.apply([ONLY_SERVICE, LIMITED])
    flow = world.exchange()
    next(flow)
    outbound(world)
    flow.close()
    gc.collect()
    overflows = {
        dict(labels)["kind"]: value
        for (name, labels), value in counted(world).counters.items()
        if name == "meshware_overflows_total"
    }
    assert overflows == {"requests": 1}


def test_the_meshs_own_time_is_counted_for_each_side():
    """Of a call that is let in until the app is called, whatever the app takes."""
    world = World()
    event = world.event()
    assert 0 < event.decided_s < event.duration_s
    for _ in range(2):
        world.counting(event)
    counters = world.counting.fold().counters
    side = (("reporter", "destination"),)
    assert counters[("meshware_decisions_total", side)] == 2
    assert counters[("meshware_decision_seconds_total", side)] == 2 * event.decided_s
