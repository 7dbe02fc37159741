"""What telemetry loses is counted."""

from __future__ import annotations

from inbound_drive import wsgi_call

from meshware.runtime.mesh import Mesh
from meshware.telemetry.access_log import AccessLog
from meshware.telemetry.losses import LOST, Losses
from meshware.testing import TestMesh
from meshware.wsgi import MeshMiddleware


def test_each_loss_is_told_once():
    """And none of those that a parent process has had."""
    lost = {"spans": 0}
    losses = Losses({"spans": lambda: lost["spans"]}, lambda: {("other", ()): 2})
    assert losses() == {("other", ()): 2}
    lost["spans"] = 3
    assert losses() == {("other", ()): 2, (LOST, (("kind", "spans"),)): 3}
    lost["spans"] = 7
    losses.renew()
    assert losses() == {("other", ()): 2}


def test_spans_that_are_lost_and_sinks_that_fail_are_in_the_counts(monkeypatch):
    """The calls go on."""
    made = TestMesh([])
    mesh = Mesh(cell=made.cell, client=made.client)

    def fails(event):
        raise RuntimeError

    def app(environ, start_response):
        start_response("200 OK", [])
        return [b"ok"]

    monkeypatch.setattr(AccessLog, "__call__", lambda self, event: fails(event))
    assert wsgi_call(MeshMiddleware(app, mesh)).status == 200
    mesh.tracing.otel.background.lost += 2
    counters = mesh.counted().counters
    assert counters[(LOST, (("kind", "events"),))] == 1
    assert counters[(LOST, (("kind", "spans"),))] == 2
    assert mesh.counted().counters == counters
