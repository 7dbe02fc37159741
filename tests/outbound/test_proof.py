"""Which attempts bear the proof of who makes them, and that each bears its own."""

from __future__ import annotations

import json

import pytest
from outbound_world import ORDERS, RESET, World, answered, finish, route

from meshware.call import Failure, FailureKind, Mirror, Send, Sleep
from meshware.policy.file import MemoryRecords
from meshware.policy.load import load_text
from meshware.policy.records import build_records
from meshware.policy.snapshot import build_snapshot

ID = "spiffe://cluster.local/ns/default/sa/orders"
NAMES = ("workload-identity-token", "workload-proof-token")
SHADOW = """
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: shadow}
spec:
  hosts: [shadow]
  location: MESH_INTERNAL
  resolution: STATIC
  ports: [{number: 80, name: http, protocol: HTTP}]
  endpoints: [{address: 10.0.0.9, ports: {http: 8009}}]
"""
RETRIES = route(
    "    - {route: [{destination: {host: orders}}], retries: {attempts: 2, retryOn: 5xx}}"
)
MIRRORED = route("    - {route: [{destination: {host: orders}}], mirror: {host: shadow}}")


class ProofWorld(World):
    """The world, with endpoints that take tokens, and a prover that counts."""

    def __init__(self, *policies: str, ports: tuple[int, ...] = (8001, 8009), tls_id=ID, rng=()):
        super().__init__(*policies, rng=rng)
        self.asked: list[tuple[str, str, str]] = []
        self.has_token = True
        records = dict(build_records(load_text("\n---\n".join([ORDERS, *policies])).resources))
        for key, value in records.items():
            if key.startswith("ep/"):
                content = json.loads(value)
                for found in content["byNamespace"].values():
                    for endpoint in found:
                        endpoint["tlsId"], endpoint["tokenPorts"] = tls_id, list(ports)
                records[key] = json.dumps(content).encode()
        self.mesh.cell.current = build_snapshot(
            MemoryRecords(records), self.mesh.client, generation=9, on_refusal=lambda *_: None
        )
        self.mesh._prove = self._prove

    def _prove(self, audience: str, method: str, target: str):
        self.asked.append((audience, method, target))
        if not self.has_token:
            return None
        return tuple((name, f"{name[9]}{len(self.asked)}") for name in NAMES)


def proof_of(send) -> list[str]:
    assert isinstance(send, Send)
    return [value for name, value in send.headers if name in NAMES]


def test_an_attempt_bears_two_headers_where_its_endpoint_takes_them():
    """For whoever is expected there, the method, and path and query as they go out."""
    world = ProofWorld()
    flow = world.exchange("POST", target="/a?b=%20c")
    assert proof_of(next(flow)) == ["i1", "p1"]
    assert world.asked == [(ID, "POST", "/a?b=%20c")]
    flow.close()


@pytest.mark.parametrize(
    ("ports", "tls_id", "is_asked"),
    [
        ((8001,), ID, True),
        ((), ID, False),
        ((80,), ID, False),
        ((0,), None, False),
    ],
)
def test_only_ports_that_take_tokens_get_any(ports, tls_id, is_asked):
    """Where nobody is expected there is nobody to prove it to."""
    world = ProofWorld(ports=ports, tls_id=tls_id)
    flow = world.exchange()
    assert bool(proof_of(next(flow))) is is_asked
    assert bool(world.asked) is is_asked
    flow.close()


def test_each_attempt_bears_a_proof_of_its_own():
    """A proof that was used is refused, so a retry with the same would always fail."""
    world = ProofWorld(RETRIES, rng=[0.5] * 9)
    flow = world.exchange()
    assert proof_of(next(flow)) == ["i1", "p1"]
    assert isinstance(flow.send(answered(503)), Sleep)
    assert proof_of(flow.send(None)) == ["i2", "p2"]
    flow.send(answered(200))
    finish(flow)


def test_an_attempt_over_a_fresh_connection_does_so_too():
    """The endpoint may have read the first before it closed the stale one."""
    world = ProofWorld()
    flow = world.exchange()
    assert proof_of(next(flow)) == ["i1", "p1"]
    again = flow.send(Failure(FailureKind.TERMINATED, sent=True, is_stale=True))
    assert again.is_fresh
    assert proof_of(again) == ["i2", "p2"]
    flow.close()


def test_the_target_of_a_rewrite_is_what_is_proved():
    """As the endpoint receives it."""
    rewrite = "    - {route: [{destination: {host: orders}}], rewrite: {uri: /new}}"
    world = ProofWorld(route(rewrite))
    flow = world.exchange(target="/old?x=1")
    send = next(flow)
    assert world.asked == [(ID, "GET", send.target)]
    assert send.target.startswith("/new")
    flow.close()


def test_what_the_app_or_policy_sends_itself_is_replaced_or_goes():
    """Without a token the call goes on without headers: its server decides."""
    policy = route(
        "    - {route: [{destination: {host: orders}}], headers: {request: "
        "{add: {workload-proof-token: mine}, set: {workload-identity-token: mine, x: y}}}}"
    )
    for has_token in (True, False):
        world = ProofWorld(policy)
        world.has_token = has_token
        flow = world.exchange(headers={NAMES[0]: "forged", NAMES[1]: "forged"})
        send = next(flow)
        assert set(NAMES) <= send.edit.drop
        assert [pair for pair in send.edit.append if pair[0] in NAMES] == []
        assert proof_of(send) == (["i1", "p1"] if has_token else [])
        flow.close()


def test_endpoints_that_take_no_tokens_get_what_the_app_sends():
    """There the headers are the app's own affair."""
    world = ProofWorld(ports=())
    flow = world.exchange(headers={NAMES[0]: "own"})
    send = next(flow)
    assert send.edit is None
    flow.close()


def test_a_copy_bears_its_own():
    """A mirrored service asks for it like any other."""
    world = ProofWorld(SHADOW, MIRRORED, rng=[0.1] * 9)
    flow = world.exchange("POST", target="/a")
    mirror = next(flow)
    assert isinstance(mirror, Mirror)
    copy = next(mirror.exchange)
    attempt = flow.send(None)
    assert proof_of(copy) != proof_of(attempt)
    assert world.asked == [(ID, "POST", "/a")] * 2
    mirror.exchange.send(RESET)
    mirror.exchange.close()
    flow.close()
