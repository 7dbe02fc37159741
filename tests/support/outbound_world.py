"""A world for exchange tests: real policy through the real compiler, fake time, scripted chance."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from meshware.call import Answer, Call, Ended, Failure, FailureKind, RequestHead
from meshware.events import OutboundEvent
from meshware.outbound.exchange import Exchange
from meshware.testing import FakeClock, ScriptedRandom, TestMesh

ORDERS = """
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: orders}
spec:
  hosts: [orders]
  location: MESH_INTERNAL
  resolution: STATIC
  ports: [{number: 80, name: http, protocol: HTTP}]
  endpoints:
    - {address: 10.0.0.1, ports: {http: 8001}, labels: {version: v1}}
    - {address: 10.0.0.2, ports: {http: 8001}, labels: {version: v2}}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: orders}
spec:
  host: orders
  trafficPolicy: {loadBalancer: {simple: ROUND_ROBIN}}
  subsets:
    - {name: v1, labels: {version: v1}}
    - {name: v2, labels: {version: v2}}
    - {name: empty, labels: {version: v9}}
"""

ONLY_SERVICE = """
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: orders}
spec:
  hosts: [orders]
  location: MESH_INTERNAL
  resolution: STATIC
  ports: [{number: 80, name: http, protocol: HTTP}]
  endpoints:
    - {address: 10.0.0.1, labels: {version: v1}}
    - {address: 10.0.0.2, labels: {version: v2}}
"""
"""Two endpoints of `orders`, without any rule about them."""


class World:
    """A client of `orders`, with what a test wants to move or look at."""

    def __init__(self, *policies: str, rng: Iterable[float] = ()) -> None:
        self.clock = FakeClock()
        self.rng = ScriptedRandom(rng)
        self.mesh = TestMesh([ORDERS, *policies], clock=self.clock, rng=self.rng)

    def exchange(
        self,
        method: str = "GET",
        host: str = "orders",
        target: str = "/",
        *,
        headers: dict[str, str] | None = None,
        replayable: bool = True,
        wait_s: float | None = None,
        call: Call | None = None,
        port: int = 80,
    ) -> Exchange:
        """Start one call."""
        lower = {name.lower(): [value] for name, value in (headers or {}).items()}
        return self.mesh.exchange(
            RequestHead(
                method=method,
                scheme="http",
                host=host,
                port=port,
                authority=host,
                target=target,
                headers=lambda name: lower.get(name, ()),
                replayable=replayable,
                wait_s=wait_s,
                call=call,
            )
        )

    @property
    def events(self) -> list[OutboundEvent]:
        """The outbound events so far."""
        return [event for event in self.mesh.events if isinstance(event, OutboundEvent)]

    def nothing_in_flight(self) -> bool:
        """Say whether every lease came back."""
        return self.mesh.ledger.in_flight() == {}


def answered(status: int, **headers: str) -> Answer:
    """Response headers arrived."""
    lower = {name.replace("_", "-"): [value] for name, value in headers.items()}
    return Answer(status, lambda name: lower.get(name, ()))


REFUSED = Failure(FailureKind.CONNECT, sent=False, detail="delayed connect error: 111")
RESET = Failure(FailureKind.RESET, sent=True)
GARBLED = Failure(FailureKind.PROTOCOL, sent=True)
TIMED_OUT = Failure(FailureKind.TIMEOUT, sent=True)


def route(spec: str, name: str = "orders") -> str:
    """Return a VirtualService for `orders` with these http rules."""
    return f"""
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: {name}}}
spec:
  hosts: [orders]
  http:
{spec}
"""


def finish(flow, received: int = 0, failure: FailureKind | None = None) -> None:
    """End the body; the exchange must be over then."""
    with pytest.raises(StopIteration):
        flow.send(Ended(failure, received))
