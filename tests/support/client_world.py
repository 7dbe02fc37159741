"""A mesh for tests of the clients: real policy, a real clock, and a record of every exchange."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from client_calls import Client
from client_drivers import DRIVERS, Driver
from upstreams import PATIENCE_S, Upstream
from upstreams import Answer as Script

from meshware.call import (
    Answer,
    Deliver,
    Ended,
    Failure,
    Mirror,
    Raise,
    Reply,
    RequestHead,
    Send,
    Sleep,
    Wait,
)
from meshware.clients import pools
from meshware.events import OutboundEvent
from meshware.outbound.exchange import Exchange
from meshware.testing import TestMesh

Said = tuple[Any, ...]
"""One action or outcome, in what is the same over every client."""


def service(
    name: str,
    *endpoints: int | Upstream | tuple[int, str | None],
    subset: str = "nobody",
    policy: str = "",
    more: str = "",
) -> str:
    """A service at port 80 whose endpoints are on the loopback, taken in turn.

    An endpoint is a port, or a port and its service account. The service has a subset: of nobody,
    unless it is called otherwise. More of its trafficPolicy and of its ServiceEntry is written as
    flow-style YAML without its braces.
    """
    listed = ", ".join(map(_endpoint, endpoints))
    return f"""
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: {name}}}
spec:
  hosts: [{name}]
  location: MESH_INTERNAL
  resolution: STATIC
  ports: [{{number: 80, name: http, protocol: HTTP}}]
  endpoints: [{listed}]
  {more}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {{name: {name}}}
spec:
  host: {name}
  trafficPolicy: {{loadBalancer: {{simple: ROUND_ROBIN}}{policy and ", " + policy}}}
  subsets: [{{name: {subset}, labels: {{in: {subset}}}}}]
"""


def _endpoint(end: int | Upstream | tuple[int, str | None]) -> str:
    port, account = end if isinstance(end, tuple) else (end, None)
    port = port if isinstance(port, int) else port.port
    named = f", serviceAccount: {account}" if account else ""
    return f"{{address: 127.0.0.1, ports: {{http: {port}}}, labels: {{in: all}}{named}}}"


def route(rule: str, name: str = "orders", to: str | None = None) -> str:
    """A VirtualService with one rule: flow-style YAML without its braces and its destination."""
    to = to or f"{{host: {name}}}"
    return f"""
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: {name}}}
spec:
  hosts: [{name}]
  http: [{{name: main, route: [{{destination: {to}}}], {rule}}}]
"""


RETRY_5XX = "timeout: 10s, retries: {attempts: 2, perTryTimeout: 5s, retryOn: 5xx}"


def declared_safe(method: str, *, is_safe: bool = True, name: str = "orders") -> str:
    """The owner's word about one method."""
    return f"""
apiVersion: meshware.dev/v1alpha1
kind: ServicePolicy
metadata: {{name: {name}}}
spec:
  hosts: [{name}]
  http: [{{match: [{{method: {{exact: {method}}}}}], safeToRepeat: {str(is_safe).lower()}}}]
"""


def kept(most: int, name: str = "orders") -> str:
    """How much of a body that can be read only once is kept, to be sent again."""
    return f"""
apiVersion: meshware.dev/v1alpha1
kind: ServicePolicy
metadata: {{name: {name}}}
spec:
  hosts: [{name}]
  http: [{{replayBufferBytes: {most}}}]
"""


REGISTRY_ONLY = """
apiVersion: meshware.dev/v1alpha1
kind: MeshConfig
metadata: {name: mesh, namespace: istio-system}
spec: {outboundTrafficPolicy: {mode: REGISTRY_ONLY}}
"""


class World(TestMesh):
    """A mesh that writes down what its exchanges say and are told.

    Attributes:
        said: actions and outcomes of every exchange, in order.
    """

    def __init__(self, *policies: str) -> None:
        self.said: list[Said] = []
        super().__init__(list(policies))

    def exchange(self, head: RequestHead) -> Exchange:
        """Open an exchange that is written down."""
        return self._written_down(super().exchange(head))

    def _written_down(self, exchange: Exchange) -> Exchange:
        outcome = None
        try:
            while True:
                try:
                    action = exchange.send(outcome)
                except StopIteration:
                    return
                self.said.append(_words(action))
                outcome = yield action
                if outcome is not None:
                    self.said.append(_words(outcome))
        except GeneratorExit:
            if self.said[-1][0] not in ("reply", "raise"):  # behind those it is always closed
                self.said.append(("closed",))
            raise
        finally:
            exchange.close()

    @property
    def told(self) -> list[OutboundEvent]:
        """The outbound events so far."""
        return [event for event in self.events if isinstance(event, OutboundEvent)]

    @property
    def last(self) -> OutboundEvent:
        """The only event so far."""
        [event] = self.told
        return event

    def nothing_in_flight(self) -> bool:
        """Say whether every lease came back."""
        return self.ledger.in_flight() == {}


def _words(said: object) -> Said:
    match said:
        case Send():
            return ("send", said.attempt)
        case Answer():
            return ("answer", said.status)
        case Failure():
            return ("failure", said.kind.value, "sent" if said.sent else "unsent")
        case Sleep():
            return ("sleep",)
        case Mirror():
            return ("mirror",)
        case Wait():
            return ("wait",)
        case Deliver():
            return ("deliver", said.info.flags, said.info.attempts)
        case Ended():
            failure = said.failure.value if said.failure else None
            return ("ended", failure)
        case Reply():
            return ("reply", said.status, said.info.flags)
        case Raise():
            return ("raise", "timed out" if said.timed_out else "as it is")
    raise AssertionError(said)


every_driver = pytest.mark.parametrize("driver", DRIVERS, ids=[driver.name for driver in DRIVERS])
"""What holds over one client holds over each of them."""


@dataclass(frozen=True)
class Stage:
    """A client of `orders`, the mesh between, and the upstreams behind it, in turn."""

    client: Client
    world: World
    upstreams: Sequence[Upstream]

    @property
    def upstream(self) -> Upstream:
        """The first one, or the only one."""
        return self.upstreams[0]

    @property
    def requests(self) -> int:
        """How many requests came, in whole or in part."""
        return sum(len(upstream.requests) for upstream in self.upstreams)


@contextmanager
def staged(
    driver: Driver, *policies: str, scripts: Sequence[Sequence[Script]], refusing: int | None = None
) -> Iterator[Stage]:
    """Set a stage, and see at the end that nothing is left in flight.

    Args:
        driver: the client's.
        policies: besides the service itself.
        scripts: of each upstream behind `orders`.
        refusing: a port that refuses, taken for the first endpoint.
    """
    with ExitStack() as stack:
        upstreams = [stack.enter_context(closing(Upstream(script))) for script in scripts]
        ports = [*([] if refusing is None else [refusing]), *upstreams]
        world = World(service("orders", *ports), *policies)
        client = stack.enter_context(driver.client(world))
        yield Stage(client, world, upstreams)
        assert in_use(world) == ""


def in_use(mesh: TestMesh) -> str:
    """Say what calls hold of a mesh and of the pools of all clients; nothing: they hold nothing."""
    retries = sum(state.retries() for state in list(mesh.ledger._states.values()))
    users = sum(
        len(lent._users) for each in list(pools._all_pools) for lent in list(each._lent.values())
    )
    held = {"calls in flight": mesh.ledger.in_flight(), "retries": retries, "pool users": users}
    return ", ".join(f"{name}: {count}" for name, count in held.items() if count)


def wait_until(condition: Callable[[], bool]) -> None:
    """Wait for what must come."""
    until = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.005)
