"""What a dashboard shows in tests: three worlds, made up.

`shop` (the services of examples/, one of them failing, a refused call, a broken policy), `crowd`
(200 services, 2,000 edges) and `empty`. Policy, workers, calls and traces get their shapes from the
daemon's own code.
"""

from __future__ import annotations

import itertools
import random
import time
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from meshware.dashboard.layout import lay_out
from meshware.dashboard.traces import Placed, join
from meshware.policy.parse import parse_text
from meshware.runtime.reporter import Refusal, Report
from meshware.runtime.vitals import Certificate, Vitals
from meshware.syncd.changes import Changes, shown
from meshware.syncd.rings import SeenCall
from meshware.syncd.status import Finding, RefusedPolicy
from meshware.syncd.told_calls import call_told
from meshware.syncd.workers import worker_seen
from meshware.telemetry.call_record import CallRecord, TryRecord
from meshware.telemetry.span_ring import SpanRecord

POLICY = Path(__file__).resolve().parents[2] / "examples" / "policies"
SPIFFE = "spiffe://cluster.local/ns/shop/sa/"


@dataclass
class World:
    """What the API tells, to be changed by a test while a page looks on."""

    graph: dict[str, Any]
    workers: dict[str, Any]
    policy: dict[str, Any]
    calls: list[dict[str, Any]] = field(default_factory=list)
    traces: list[dict[str, Any]] = field(default_factory=list)
    history: bool = False
    pace_s: float = 1.0
    moving: bool = True  # whether numbers drift from tick to tick
    listening: bool = True  # False: event streams are cut, new ones refused
    events: list[tuple[str, Any]] = field(default_factory=list)  # told to every page, in order

    def tell(self, kind: str, detail: object) -> None:
        """Send one event to every page that listens."""
        self.events.append((kind, detail))

    def publish(self, *, findings: list[dict[str, Any]] = (), refused: object = None) -> None:
        """Move policy on by one generation, or refuse one."""
        if refused is None:
            self.policy["generation"] += 1
            self.graph["generation"] = self.workers["generation"] = self.policy["generation"]
            change = {
                "generation": self.policy["generation"], "at": iso(time.time()), "added": [],
                "changed": ["VirtualService/shop/reviews"], "removed": [],
            }  # fmt: skip
            self.policy["changes"] = [change, *self.policy["changes"]]
        self.policy["findings"] = [_as(Finding, each) for each in findings]
        self.policy["refused"] = None if refused is None else _as(RefusedPolicy, refused)
        self.tell("policy", {"generation": self.policy["generation"]})


def iso(at: float) -> str:
    """An instant as the daemon writes it."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds")


def _as(shape: type, told: object) -> Any:
    return msgspec.to_builtins(msgspec.convert(told, shape))


def node(
    name: str, health: str = "good", *, x: float = 0, y: float = 0, kind: str = "service",
    rate: float = 20, errors: float = 0.0, version: str | None = None, namespace: str = "shop",
) -> dict[str, Any]:  # fmt: skip
    ident = f"{namespace}/{name}" + (f"@{version}" if version else "")
    if kind in ("outside", "unknown"):
        ident = f"outside/{name}" if kind == "outside" else name
    return {
        "id": ident, "name": name, "namespace": namespace, "kind": kind, "version": version,
        "x": x, "y": y, "layer": int(x), "health": health, "rate": rate, "error_share": errors,
    }  # fmt: skip


def edge(
    source: str, target: str, rate: float, p95: float, *, errors: float = 0.0,
    health: str = "good", mtls: bool | None = True,
) -> dict[str, Any]:  # fmt: skip
    name = lambda ident: SPIFFE + ident.split("/")[-1].split("@")[0]  # noqa: E731
    return {
        "id": f"{source}->{target}", "source": source, "target": target, "rate": rate,
        "error_share": errors, "p50_ms": p95 / 2.4, "p95_ms": p95, "p99_ms": p95 * 1.7,
        "mtls": mtls, "source_principal": name(source) if mtls else None,
        "target_principal": name(target) if mtls else None, "health": health,
        "attempts_rate": rate * (1 + errors * 2),
    }  # fmt: skip


def placed(nodes: list[dict[str, Any]], edges: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The same nodes, where the daemon would draw them."""
    pairs = [(each["source"], each["target"]) for each in edges]
    places = lay_out([each["id"] for each in nodes], pairs)
    return [each | asdict(places[each["id"]]) for each in nodes]


def shop() -> World:
    """The shop of examples/, after a release of reviews that fails now and then."""
    nodes = [
        node("ingress", kind="ingress", rate=42),
        node("productpage", "good", rate=42, errors=0.002),
        node("details", rate=41),
        node("reviews", "warn", rate=41, errors=0.034),
        node("cart", rate=9.4, namespace="checkout"),
        node("reviews", kind="version", version="v1", rate=28),
        node("reviews", "warn", kind="version", version="v2", rate=13, errors=0.11),
        node("payments", "bad", rate=6.1, errors=0.27, namespace="checkout"),
        node("ratings", rate=13),
        node("api.bank.example", "bad", kind="outside", rate=6, errors=0.26, namespace=""),
        node("nightly-report", "idle", rate=0, namespace="jobs"),
        node("unknown", kind="unknown", rate=0.4, namespace=""),
    ]  # fmt: skip
    edges = [
        edge("shop/ingress", "shop/productpage", 42, 88, mtls=False, errors=0.002),
        edge("unknown", "shop/details", 0.4, 4, mtls=None),
        edge("shop/productpage", "shop/details", 41, 7.2),
        edge("shop/productpage", "shop/reviews", 41, 52, errors=0.034, health="warn"),
        edge("shop/productpage", "checkout/cart", 9.4, 31),
        edge("shop/reviews", "shop/reviews@v1", 28, 21),
        edge("shop/reviews", "shop/reviews@v2", 13, 58, errors=0.11, health="warn"),
        edge("shop/reviews@v2", "shop/ratings", 13, 9.1),
        edge("checkout/cart", "checkout/payments", 6.1, 1240, errors=0.27, health="bad"),
        edge("checkout/payments", "outside/api.bank.example", 6, 1180, errors=0.2, health="bad",
             mtls=False),
        edge("jobs/nightly-report", "checkout/cart", 0, 0, health="idle"),
    ]  # fmt: skip
    now = time.time()
    return World(
        graph={
            "at": now,
            "generation": 7,
            "window_s": 60,
            "nodes": placed(nodes, edges),
            "edges": edges,
        },
        workers=_workers(now),
        policy=_policy(now),
        calls=_calls(now),
        traces=_traces(now),
    )


def _workers(now: float) -> dict[str, Any]:
    def worker(
        workload: str, pid: int, left_s: float = 2400, *, generation: int = 7,
        lag_s: float = 0.0012, lag_of: str = "loop", refusals: tuple[Refusal, ...] = (),
    ) -> dict[str, Any]:  # fmt: skip
        certificate = Certificate(
            id=SPIFFE + workload.rpartition("-")[0], source="embedded",
            from_s=now + left_s - 3600, until_s=now + left_s,
        )  # fmt: skip
        vitals = Vitals(
            version="0.1.0", python="3.13.1", server="gunicorn/23.0.0", applied_s=now - 95,
            certificate=certificate, memory_bytes=48_300_000 + pid * 900, lag_s=lag_s,
            lag_of=lag_of, in_flight=2,
        )  # fmt: skip
        return seen(
            workload, pid, generation=generation, address="127.0.0.1", port=9080,
            vitals=vitals, refusals=refusals,
        )  # fmt: skip

    def seen(workload: str, pid: int, generation: int = 7, **told: Any) -> dict[str, Any]:
        report = Report(
            namespace="shop", workload=workload, id=f"{workload}-{pid}", pid=pid,
            generation=generation, started_at=iso(now - 5400), **told,
        )  # fmt: skip
        return msgspec.to_builtins(worker_seen(report, 7, now))

    return {
        "generation": 7,
        "workers": [
            worker("productpage-v1", 4101),
            worker("productpage-v1", 4102),
            seen("reviews-v1", 4203),
            worker("reviews-v2", 4207, generation=5, lag_s=0.34),
            worker("ratings-v1", 4301, 240),
            worker(
                "details-v1", 4304, lag_of="thread",
                refusals=(Refusal(reason="no such subset: v9", generation=6),),
            ),
        ],
    }  # fmt: skip


def _policy(now: float) -> dict[str, Any]:
    found = []
    for path in sorted(POLICY.glob("*.yaml")):
        parsed, problems = parse_text(path.read_text(encoding="utf-8"), str(path))
        assert not problems
        found += parsed
    resources = [{**each, "file": Path(each["file"]).name} for each in shown(found)]
    changes = Changes()
    changes.note(5, iso(now - 3000), [{**_SMALL, "name": "old"}])
    changes.note(6, iso(now - 900), [{**_SMALL, "name": "old"}, _SMALL])
    changes.note(7, iso(now - 95), [{**_SMALL, "text": "weights"}])
    finding = Finding(
        severity="warning", code="unreachable-rule", kind="VirtualService", namespace="shop",
        name="reviews", field="spec.http[2]", file="reviews.yaml", line=31,
        message="no call comes here: http[1] matches all; move this before it",
    )  # fmt: skip
    return {
        "generation": 7,
        "resources": resources,
        "findings": [msgspec.to_builtins(finding)],
        "refused": None,
        "changes": changes.newest_first,
    }


_SMALL = {"kind": "VirtualService", "namespace": "shop", "name": "reviews", "text": "routes"}
_numbers = itertools.count(1)


def refusal(at: float, **changes: Any) -> dict[str, Any]:
    """A call that a rule refused, as `/api/calls` tells it."""
    record = {
        "direction": "inbound", "outcome": "refused", "status": 403,
        "reason": "rbac_access_denied_matched_policy[none]", "policy": "shop/ratings-viewer",
        "rule": 0, "place": "security.yaml:14", "method": "GET", "host": "ratings",
        "path": "/ratings/0", "principal": "cluster.local/ns/jobs/sa/nightly-report",
        "proved_by": "mtls", "candidates": ("/ratings/0",), "generation": 6, "duration_s": 0.0002,
        "request_id": "3f2a-77", "trace_id": "7d1f0c8a2b9e4d5f8a7b6c5d4e3f2a1b", "port": 9080,
    } | {name: value for name, value in changes.items() if name != "workload"}  # fmt: skip
    number = next(_numbers)
    seen = SeenCall(
        number, "shop", changes.get("workload", "ratings-v1"), "0" * 16,
        CallRecord(number=number, at=at, **record),
    )  # fmt: skip
    return call_told("world", seen)


def _calls(now: float) -> list[dict[str, Any]]:
    tries = (
        TryRecord(number=1, endpoint="127.0.0.1:9090", began_s=0.0001, duration_s=0.6,
                  failure="timeout"),
        TryRecord(number=2, endpoint="127.0.0.1:9091", began_s=0.64, duration_s=0.6,
                  failure="timeout"),
    )  # fmt: skip
    third = refusal(
        now - 130, status=401, reason="jwt_authn_access_denied{Jwt_is_expired}", policy=None,
        rule=None, place=None, left_out=41,
    )  # fmt: skip
    second = refusal(
        now - 41, workload="cart-v1", direction="outbound", outcome="failed", status=504,
        flags="UT", reason="response_timeout", policy=None, rule=None, place=None,
        method="POST", host="payments", path="/charge/<b>bold</b>", principal=None,
        proved_by=None, candidates=(), service="payments.checkout.svc.cluster.local:80",
        route="charge", cluster="outbound|80||payments.checkout.svc.cluster.local", attempts=2,
        endpoint="127.0.0.1:9091", tries=tries, duration_s=1.24,
    )  # fmt: skip
    return [refusal(now - 4), second, third]


def explained(call: dict[str, Any]) -> dict[str, Any]:
    """What `/api/why` says of a call."""
    return {
        "call": call,
        "question": {"direction": call["direction"], "method": call["method"]},
        "generation_then": call["generation"], "generation_now": 7, "is_same_policy": False,
        "agrees": True,
        "notes": [
            f"Policy has changed since: decided under generation {call['generation']}, and "
            "generation 7 is in force now. The answer is that of the policy in force.",
            "Policy refuses such a call in the same way: 403.",
        ],
        "answer": {},
        "text": [
            "deny, status 403, by no rule: no ALLOW policy has a rule that takes it: shop/readers "
            "(rbac_access_denied_matched_policy[none])",
            f"  path decided on: {call['path']}",
        ],
    }  # fmt: skip


def _traces(now: float) -> list[dict[str, Any]]:
    first = "7d1f0c8a2b9e4d5f8a7b6c5d4e3f2a1b"

    def span(*words: Any, trace: str = first, began: float = now - 4, **said: Any) -> Placed:
        ident, parent, name, workload, kind, start, length, *status = words
        record = SpanRecord(
            trace_id=trace, span_id=ident * 16, parent_id=parent and parent * 16, name=name,
            kind=kind, start=began + start, duration_s=length, status=status[0] if status else "ok",
            attributes={"http.request.method": "GET", "meshware.generation": 7} | {
                f"meshware.{key}": value for key, value in said.items()
            },
        )  # fmt: skip
        return Placed(next(_numbers), "shop", workload, "0" * 16, record)

    return join([
        span("a", None, "GET /productpage", "productpage-v1", "server", 0, 0.0921),
        span("b", "a", "GET details", "productpage-v1", "client", 0.004, 0.0081),
        span("c", "b", "GET /details/0", "details-v1", "server", 0.0061, 0.0052),
        span("d", "a", "GET reviews", "productpage-v1", "client", 0.014, 0.071, attempts=2),
        span("e", "d", "GET reviews attempt 1", "productpage-v1", "client", 0.0141, 0.0259, "error",
             attempt=1, endpoint="127.0.0.1:9083"),
        span("f", "d", "GET reviews attempt 2", "productpage-v1", "client", 0.0431, 0.0412,
             attempt=2, endpoint="127.0.0.1:9084"),
        span("1", "f", "GET /reviews/0", "reviews-v2", "server", 0.0442, 0.0393),
        span("2", "1", "GET ratings", "reviews-v2", "client", 0.0521, 0.0272),
        span("3", "2", "GET /ratings/0", "ratings-v1", "server", 0.0534, 0.0241),
        span("b", None, "GET details", "productpage-v1", "client", 0, 0.0081, trace="0f" * 16,
             began=now - 9),
        span("c", "b", "GET /details/0", "details-v1", "server", 0.0021, 0.0052, trace="0f" * 16,
             began=now - 9),
    ])  # fmt: skip


def crowd(services: int = 200, edges: int = 2000) -> World:
    """A mesh as large as the page has to bear, in layers as far apart as the daemon's."""
    chance = random.Random(7)
    layers = 8
    nodes = [
        node(
            f"service-{i:03}", x=i % layers * 3, y=i // layers * 1.5, namespace=f"team-{i % 6}",
            health="bad" if i % 41 == 7 else "warn" if i % 23 == 5 else "good",
            rate=chance.uniform(1, 90),
        )
        for i in range(services)
    ]  # fmt: skip
    pairs: dict[tuple[str, str], dict[str, Any]] = {}
    while len(pairs) < edges:
        a, b = chance.sample(range(services), 2)
        if a % layers >= b % layers and chance.random() > 0.04:
            continue
        source, target = nodes[a]["id"], nodes[b]["id"]
        bad = nodes[b]["health"] == "bad" and chance.random() < 0.3
        pairs[source, target] = edge(
            source, target, chance.uniform(0.2, 40), chance.uniform(3, 90),
            errors=0.2 if bad else 0.0, health="bad" if bad else "good",
        )  # fmt: skip
    world = shop()
    world.graph |= {"nodes": nodes, "edges": list(pairs.values())}
    return world


def empty() -> World:
    """A daemon that was just started."""
    world = shop()
    world.graph |= {"nodes": [], "edges": []}
    world.workers["workers"] = []
    world.policy |= {"resources": [], "findings": [], "changes": []}
    world.calls, world.traces = [], []
    return world


def still(world: World) -> World:
    """The same, with numbers that stay."""
    world.moving = False
    return world
