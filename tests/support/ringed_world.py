"""A daemon and two apps whose refused calls and traces it shows."""

from __future__ import annotations

import json
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from inbound_servers import Server
from sync_world import RunningDaemon, running

APPS = ["uvicorn", "--port", "0", "--lifespan", "on", "ringed_apps:asgi"]

POLICY = """\
apiVersion: networking.istio.io/v1
kind: WorkloadEntry
metadata: {{name: web, labels: {{app: web}}}}
spec: {{address: 127.0.0.1, labels: {{app: web}}}}
---
apiVersion: networking.istio.io/v1
kind: WorkloadEntry
metadata: {{name: orders, labels: {{app: orders}}}}
spec: {{address: 127.0.0.1, labels: {{app: orders}}}}
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: orders}}
spec:
  hosts: [orders.default.svc.cluster.local]
  location: MESH_INTERNAL
  resolution: STATIC
  ports: [{{number: 80, name: http, protocol: HTTP}}]
  endpoints: [{{address: 127.0.0.1, ports: {{http: {port}}}}}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: orders}}
spec:
  hosts: [orders]
  http:
  - name: patient
    route: [{{destination: {{host: orders}}}}]
    retries: {{attempts: 2, retryOn: 5xx}}
"""

DOORS = """\
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: doors}
spec:
  action: DENY
  rules:
  - to: [{operation: {paths: [/closed]}}]
"""

DOORS_PLACE = "mesh/doors.yaml:7"  # of the rule, as the daemon says it
REGISTRY_ONLY = """\
apiVersion: meshware.dev/v1alpha1
kind: MeshConfig
metadata: {name: mesh, namespace: istio-system}
spec: {outboundTrafficPolicy: {mode: REGISTRY_ONLY}}
"""


class Ringed:
    """What runs, and what its dashboard says."""

    def __init__(self, daemon: RunningDaemon, web: Server, orders: Server) -> None:
        self.daemon = daemon
        self.web = web
        self.orders = orders

    @property
    def address(self) -> str:
        """Of the dashboard."""
        status = self.daemon.status()
        assert status is not None
        return f"http://{status.listen}"

    def ask(self, path: str, **parameters: object) -> Any:
        """What the API answers; of an error, its status."""
        query = urllib.parse.urlencode(parameters)
        try:
            with urllib.request.urlopen(f"{self.address}/api/{path}?{query}", timeout=10) as answer:
                return json.loads(answer.read())
        except urllib.error.HTTPError as error:
            return error.code

    def calls(self, **parameters: object) -> list[dict[str, Any]]:
        """Refused and failed calls."""
        return self.ask("calls", **parameters)["calls"]

    def wait_for_call(self, **wanted: object) -> dict[str, Any]:
        """A call with these values, as soon as there is one."""
        found: list[dict[str, Any]] = []

        def is_there() -> bool:
            found[:] = [
                call
                for call in self.calls()
                if all(call[name] == value for name, value in wanted.items())
            ]
            return bool(found)

        self.daemon.wait_for(is_there)
        return found[0]

    def edit(self, name: str, text: str) -> int:
        """Change policy, and wait until both apps follow. Returns the generation."""
        before = self.daemon.generation()
        (self.daemon.root / "mesh" / name).write_text(text)
        self.daemon.wait_for(lambda: self.daemon.generation() > before)
        self.daemon.wait_for(self.is_followed)
        return self.daemon.generation()

    def is_followed(self) -> bool:
        """Say whether all workers of both apps have what is published."""
        workers = self.ask("workers")["workers"]
        return {worker["workload"] for worker in workers} == {"web", "orders"} and all(
            worker["generation"] == self.daemon.generation() for worker in workers
        )


@contextmanager
def ringed(root: Path, commands: Callable[[str], list[str]] = lambda _: APPS) -> Iterator[Ringed]:
    """A daemon with policy, and the two apps, which follow it.

    Args:
        root: a directory of its own.
        commands: what serves a workload.
    """
    (root / "mesh").mkdir()
    (root / "mesh" / "doors.yaml").write_text(DOORS)
    with ExitStack() as stack:
        servers = {}
        for name in ("orders", "web"):
            environ = {
                "MESH_CONFIG": str(root / "run" / "policy.mesh"),
                "MESH_WORKLOAD": f"default/{name}",
            }
            server = servers[name] = Server(commands(name), root / name, environ)
            stack.callback(server.end)
            server.wait_until_up()
        (root / "mesh" / "shop.yaml").write_text(POLICY.format(port=servers["orders"].port))
        daemon = stack.enter_context(running(root))
        daemon.wait_for(
            lambda: daemon.generation() and (said := daemon.status_yet()) and said.listen
        )
        made = Ringed(daemon, servers["web"], servers["orders"])
        daemon.wait_for(made.is_followed)
        yield made
