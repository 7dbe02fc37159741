"""How many calls a workload takes at once, by its Sidecar."""

from __future__ import annotations

import threading

import pytest
from inbound_drive import asgi_call
from inbound_world import NOTHING, policy, request, to

from meshware.asgi import MeshMiddleware
from meshware.inbound.passage import Admission, Denial
from meshware.testing import TestMesh


def limited(most: int, **spec) -> dict:
    """A Sidecar with a limit."""
    return {
        "apiVersion": "networking.istio.io/v1",
        "kind": "Sidecar",
        "metadata": {"name": "limits"},
        "spec": {"inboundConnectionPool": {"http": {"http2MaxRequests": most}}, **spec},
    }


def test_one_call_too_many_is_answered_at_once():
    """With Envoy's overflow, and a flag; a call that has ended makes room."""
    mesh = TestMesh([NOTHING, limited(2)])
    first, second, third = (mesh.gate.admit(request()) for _ in range(3))
    assert isinstance(first, Admission) and isinstance(second, Admission)
    assert isinstance(third, Denial)
    assert third.status == 503
    assert third.body.endswith("reset reason: overflow")
    assert ("x-envoy-overloaded", "true") in third.headers
    third.finish(503)
    assert (mesh.events[-1].status, mesh.events[-1].flags) == (503, "UO")
    first.finish(200)
    first.finish(200)  # once is enough
    assert isinstance(mesh.gate.admit(request()), Admission)
    assert isinstance(mesh.gate.admit(request()), Denial)


def test_what_is_refused_takes_no_room():
    """Nor does it hear of the limit: its own refusal comes first."""
    mesh = TestMesh([NOTHING, limited(1), policy("DENY", to(paths=["/no"]))])
    assert isinstance(mesh.gate.admit(request()), Admission)
    denial = mesh.gate.admit(request("/no"))
    assert isinstance(denial, Denial) and denial.status == 403


def test_a_limit_counts_from_when_it_is_there():
    """And ends with the policy that set it."""
    mesh = TestMesh([NOTHING])
    before = mesh.gate.admit(request())
    mesh.apply([NOTHING, limited(1)])
    counted = mesh.gate.admit(request())
    assert isinstance(counted, Admission)
    assert isinstance(mesh.gate.admit(request()), Denial)
    before.finish(200)
    assert isinstance(mesh.gate.admit(request()), Denial)
    mesh.apply([NOTHING])
    assert isinstance(mesh.gate.admit(request()), Admission)
    counted.finish(200)
    mesh.apply([NOTHING, limited(1)])
    assert isinstance(mesh.gate.admit(request()), Admission)


def test_the_limit_is_that_of_the_workloads_own_sidecar():
    """By labels before the namespace's."""
    own = limited(1, workloadSelector={"labels": {"app": "app"}})
    other = limited(5)
    other["metadata"] = {"name": "all"}
    mesh = TestMesh([NOTHING, own, other])
    assert isinstance(mesh.gate.admit(request()), Admission)
    assert isinstance(mesh.gate.admit(request()), Denial)


@pytest.mark.parametrize("fails", [False, True])
def test_every_way_to_end_makes_room(fails):
    """A response, and an app that breaks."""

    async def app(scope, receive, send):
        if fails:
            raise RuntimeError("broken")
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"ok"})

    middleware = MeshMiddleware(app, TestMesh([NOTHING, limited(1)]))
    assert [asgi_call(middleware).status for _ in range(3)] == [500 if fails else 200] * 3


def test_threads_never_exceed_it():
    """Two at once cannot both be the last."""
    mesh = TestMesh([NOTHING, limited(3)])
    running, peak, lock = [0], [0], threading.Lock()

    def work() -> None:
        for _ in range(300):
            passage = mesh.gate.admit(request())
            if isinstance(passage, Admission):
                with lock:
                    running[0] += 1
                    peak[0] = max(peak[0], running[0])
                with lock:
                    running[0] -= 1
            passage.finish(200)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert 1 <= peak[0] <= 3
    assert isinstance(mesh.gate.admit(request()), Admission)
