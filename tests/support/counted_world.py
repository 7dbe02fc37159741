"""A mesh whose inbound events are counted, for tests of what is counted."""

from __future__ import annotations

from inbound_drive import environ_of

from meshware.policy.telemetry_plan import TelemetryPlan
from meshware.telemetry.counting import Counting
from meshware.testing import TestMesh
from meshware.wsgi import MeshMiddleware


def app(environ, start_response):
    """Answer 200, or raise."""
    if environ["PATH_INFO"] == "/raise":
        raise ValueError
    start_response("200 OK", [])
    return [b"body"]


class Counted:
    """A mesh whose events are counted."""

    def __init__(self, plan: TelemetryPlan | None = None) -> None:
        self.mesh = TestMesh([])
        snapshot = self.mesh.cell.current
        assert snapshot is not None
        if plan is not None:
            snapshot.telemetry = plan
        self.counting = Counting(lambda: self.mesh.cell.current, lambda: 1.0)
        self.app = MeshMiddleware(app, mesh=self.mesh)

    def event(self, path: str = "/", **headers: str):
        """The event of one call."""
        environ = environ_of(path)
        environ.update({f"HTTP_{name.upper()}": value for name, value in headers.items()})
        body = self.app(environ, lambda *_: lambda _data: None)
        b"".join(body)
        body.close()
        [event] = self.mesh.events
        self.mesh.events.clear()
        return event

    def call(self, path: str = "/", **headers: str) -> None:
        """One call, told to the counting."""
        self.counting(self.event(path, **headers))

    def series(self):
        """All series, counted."""
        return list(self.counting.fold().series.values())

    def counted(self):
        """As `Mesh.counted`."""
        return self.counting.copied({})
