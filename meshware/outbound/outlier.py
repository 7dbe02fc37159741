"""Take endpoints out for a while, for their behaviour.

Theory of operation
-------------------
Each endpoint of a cluster has counters of failures in a row. A counter that reaches its limit
ejects the endpoint, if not too many are out already, and begins anew. Every `interval_s` a sweep
lets back in whoever has been out long enough, and forgives one earlier ejection of whoever was in.
Nothing here has a timer: the sweeps that were due are made up for at the next call.

What counts as what:

=======================  =========  =============  ===========================
what happened            5xx        gateway        local origin
=======================  =========  =============  ===========================
status below 500         back to 0  back to 0      back to 0
500, 501, 505 ...        +1         back to 0      back to 0
502, 503, 504            +1         +1             back to 0
no answer, or a time-out +1         +1             -
the same, split:
  no connection          -          -              +1
  a connection, no more  -          -              1
=======================  =========  =============  ===========================

Source: Envoy, "Outlier detection", `outlier_detection_impl.cc`; Istio OutlierDetection.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass, field

from meshware.call import Answer
from meshware.policy.outlier_rule import OutlierRule

__all__ = ["OutlierState", "eject_for_s", "status_of"]

_LONGEST_S = 300.0  # Envoy, max_ejection_time
_GATEWAY = (502, 503, 504)


def eject_for_s(times: int, rule: OutlierRule) -> float:
    """Return how long an endpoint stays out after its `times`-th ejection.

    Args:
        times: ejections in a row, counting this one; at least 1.
        rule: whose base counts.
    Returns:
        Seconds: base times `times`, at most the larger of base and 300 s.
    Source: Envoy outlier detection, `max_ejection_time`.
    """
    return min(times * rule.base_s, max(_LONGEST_S, rule.base_s))


# Source: Envoy, `Grpc::Utility::grpcToHttpStatus`.
_OF_GRPC = {
    "0": 200, "1": 499, "2": 500, "3": 400, "4": 504, "5": 404, "6": 409, "7": 403, "8": 429,
    "9": 400, "10": 409, "11": 400, "12": 501, "13": 500, "14": 503, "15": 500, "16": 401,
}  # fmt: skip


def status_of(answer: Answer, *, to_grpc: bool) -> int:
    """Return the status that an answer counts with: gRPC's own, where its headers have one.

    Args:
        answer: the upstream's.
        to_grpc: the request was gRPC's; of others only HTTP's status counts.
    """
    if answer.status == 200 and to_grpc:
        kind = answer.headers("content-type")
        if kind and kind[0].startswith("application/grpc"):
            found = answer.headers("grpc-status")
            return _OF_GRPC.get(found[0], 500) if found else 200
    return answer.status


@dataclass(slots=True)
class _Record:
    """What is remembered of one endpoint."""

    failures: int = 0  # 5xx in a row
    gateway: int = 0
    local: int = 0
    times: int = 0  # ejections in a row
    ejected_at: float | None = None


@dataclass(slots=True)
class OutlierState:
    """What is remembered of the endpoints of one cluster. Not thread-safe: its owner locks."""

    _records: dict[str, _Record] = field(default_factory=dict)
    _swept_at: float | None = None

    def answered(
        self, key: str, status: int, endpoints: Collection[str], rule: OutlierRule, now: float
    ) -> None:
        """Count an answer.

        Args:
            key: the endpoint's.
            status: of HTTP, as gRPC's status means it where there is one.
            endpoints: keys of all endpoints of the cluster.
            rule: when to eject.
            now: monotonic seconds.
        """
        record = self._records.get(key)
        if status < 500:
            if record is not None:
                record.failures = record.gateway = record.local = 0
            return
        if record is None:
            record = self._records[key] = _Record()
        record.local = 0
        is_gateway = status in _GATEWAY
        record.gateway = record.gateway + 1 if is_gateway else 0
        record.failures += 1
        self._judge(record, endpoints, rule, now)

    def failed(
        self,
        key: str,
        endpoints: Collection[str],
        rule: OutlierRule,
        now: float,
        *,
        is_connected: bool = False,
    ) -> None:
        """Count an attempt that brought no answer, or a body that broke off.

        Args:
            key: the endpoint's.
            endpoints: keys of all endpoints of the cluster.
            rule: when to eject.
            now: monotonic seconds.
            is_connected: there was a connection, which Envoy counts as a success of local origin
                before it counts what came of it.
        """
        record = self._records.setdefault(key, _Record())
        if rule.splits_local:
            record.local = 1 if is_connected else record.local + 1
        else:
            record.gateway += 1
            record.failures += 1
        self._judge(record, endpoints, rule, now)

    def eject(self, key: str, endpoints: Collection[str], rule: OutlierRule, now: float) -> bool:
        """Eject an endpoint as if its failures had met a limit; False: too many are out already."""
        record = self._records.setdefault(key, _Record())
        self._eject(record, endpoints, rule, now)
        return record.ejected_at is not None

    def ejected(self, endpoints: Collection[str], rule: OutlierRule, now: float) -> frozenset[str]:
        """Return the keys of the endpoints that are out now; none while there is panic."""
        out = self.out(endpoints, rule, now)
        if not out:
            return out
        healthy_percent = 100 * (len(endpoints) - len(out)) / len(endpoints)
        return frozenset() if healthy_percent < rule.min_health_percent else out

    def out(self, endpoints: Collection[str], rule: OutlierRule, now: float) -> frozenset[str]:
        """Return the keys of the endpoints that are out now, panic or not."""
        self._sweep(rule, now)
        if len(self._records) > 2 * len(endpoints):  # those that are no endpoints any more
            self._records = {k: r for k, r in self._records.items() if k in endpoints}
        return self._out(endpoints)

    def _out(self, endpoints: Collection[str]) -> frozenset[str]:
        records = self._records
        return frozenset(
            key for key in endpoints if key in records and records[key].ejected_at is not None
        )

    def _judge(
        self, record: _Record, endpoints: Collection[str], rule: OutlierRule, now: float
    ) -> None:
        for name, limit in (
            ("failures", rule.consecutive_5xx),
            ("gateway", rule.consecutive_gateway),
            ("local", rule.consecutive_local),
        ):
            if limit and getattr(record, name) >= limit:
                setattr(record, name, 0)
                self._eject(record, endpoints, rule, now)

    def _eject(
        self, record: _Record, endpoints: Collection[str], rule: OutlierRule, now: float
    ) -> None:
        self._sweep(rule, now)
        if record.ejected_at is not None:
            return  # an attempt that was under way when it was ejected
        share = 100 * (len(self._out(endpoints)) + 1) / len(endpoints)
        if share > rule.max_ejection_percent:
            return
        record.ejected_at = now
        if record.times * rule.base_s < max(_LONGEST_S, rule.base_s) + rule.base_s:
            record.times += 1

    def _sweep(self, rule: OutlierRule, now: float) -> None:
        """Make up for the sweeps that were due since the last one."""
        if self._swept_at is None:
            self._swept_at = now
            return
        due = math.floor((now - self._swept_at) / rule.interval_s)
        if due <= 0:
            return
        began, self._swept_at = self._swept_at, self._swept_at + due * rule.interval_s
        for record in self._records.values():
            forgiving = due
            if record.ejected_at is not None:
                back_at = record.ejected_at + eject_for_s(record.times, rule)
                # The first sweep at which it has been out for long enough.
                first = max(1, math.ceil((back_at - began) / rule.interval_s))
                if first > due:
                    continue
                record.ejected_at = None
                record.failures = record.gateway = record.local = 0
                forgiving = due - first
            record.times = max(0, record.times - forgiving)
