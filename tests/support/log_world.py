"""Calls that are logged: of either side, with a clock that stands still until it is moved."""

from __future__ import annotations

from datetime import UTC, datetime

from inbound_drive import asgi_call, environ_of, http_scope
from outbound_world import World as Outbound

from meshware.asgi import MeshMiddleware
from meshware.policy.telemetry_plan import LogPlan
from meshware.telemetry.log_entry import entry_of
from meshware.telemetry.log_lines import line_maker
from meshware.telemetry.log_values import Surroundings
from meshware.testing import FakeClock, TestMesh
from meshware.wsgi import MeshMiddleware as WSGIMiddleware

AROUND = Surroundings({"POD": "app-7f9", "EMPTY": ""}, "host-1")
NOW = datetime(2026, 1, 31, 23, 59, 58, 250_000, tzinfo=UTC)

CLOSED = """
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: closed}
spec:
  action: DENY
  rules: [{to: [{operation: {paths: [/closed]}}]}]
"""


class Inbound:
    """A workload that answers `hello` after 40 ms, of which 30 pass before the response begins."""

    def __init__(self, *policies, now=NOW, **settings) -> None:
        self.clock = FakeClock(now)
        self.mesh = TestMesh([CLOSED, *policies], clock=self.clock, **settings)
        self.headers: list[tuple[bytes, bytes]] = [(b"content-type", b"text/plain")]
        self.status = 200

    async def app(self, scope, receive, send):
        """Answer; `/raise` raises, before or in the middle of the response."""
        if scope["path"] == "/raise":
            raise ValueError
        await receive()
        self.clock.advance(0.03)
        await send({"type": "http.response.start", "status": self.status, "headers": self.headers})
        self.clock.advance(0.01)
        if scope["path"] == "/broken":
            raise ValueError
        await send({"type": "http.response.body", "body": b"hello"})

    def call(self, target="/", *, headers=(("host", "app"),), method="GET", body=b"", **scope):
        """The event of one call by ASGI, which is over."""
        asked = http_scope(target, method=method, headers=headers) | scope
        asgi_call(MeshMiddleware(self.app, mesh=self.mesh), scope=asked, body=body)
        return self.mesh.events.pop()

    def call_wsgi(self, target="/", **environ):
        """The event of one call by WSGI."""

        def app(_environ, start_response):
            self.clock.advance(0.03)
            start_response("200 OK", [("Content-Type", "text/plain")])
            self.clock.advance(0.01)
            return [b"hello"]

        body = WSGIMiddleware(app, mesh=self.mesh)(
            environ_of(target) | environ, lambda *_: lambda _data: None
        )
        b"".join(body)
        getattr(body, "close", lambda: None)()
        return self.mesh.events.pop()

    def line(self, plan: LogPlan | str, event) -> str:
        """What a log says of it."""
        return line_of(plan, event, self.mesh, self.clock)


def line_of(plan: LogPlan | str, event, mesh, clock) -> str:
    """The line of a call that has just ended."""
    if isinstance(plan, str):
        plan = LogPlan(provider="test", text=plan)
    return line_maker(plan, AROUND)(entry_of(event, mesh.cell.current, clock.now()))


class Calls(Outbound):
    """Calls of `orders` that go out, each event with its request and response."""

    def __init__(self, *policies, rng=()) -> None:
        super().__init__(*policies, rng=rng)
        self.kept = []
        self.mesh._sink = self.kept.append  # a mesh for tests lets go of requests

    def line(self, plan: LogPlan | str) -> str:
        """What a log says of the last call."""
        return line_of(plan, self.kept[-1], self.mesh, self.clock)
