"""How a new endpoint is eased in. Source: Istio WarmupConfiguration; Envoy slow start mode."""

from __future__ import annotations

from dataclasses import dataclass

from meshware.policy.document.destination_rule import LoadBalancerSettings

__all__ = ["WarmupRule", "compile_warmup"]

_LEAST_PERCENT, _AGGRESSION = 10.0, 1.0  # Istio's defaults
_YOUNGEST_S = 0.001  # Envoy's


@dataclass(frozen=True, slots=True)
class WarmupRule:
    """For how long an endpoint gets less than its share, and how little at first."""

    seconds: float
    least: float  # of its weight, 0..1
    aggression: float

    def factor(self, age_s: float) -> float:
        """Return what an endpoint's weight is multiplied by at an age.

        Source: Envoy, `slow_start_config`.
        """
        if age_s >= self.seconds:
            return 1.0
        grown: float = (max(age_s, _YOUNGEST_S) / self.seconds) ** (1 / self.aggression)
        return max(grown, self.least)


def compile_warmup(written: LoadBalancerSettings | None) -> WarmupRule | None:
    """Return the rule of a load balancer; None: new endpoints get their whole share at once."""
    if written is None or written.simple == "RANDOM" or written.consistent_hash is not None:
        return None  # Envoy has it for balancers that take turns
    warmup = written.warmup
    if warmup is None:
        older = written.warmup_duration_secs
        return WarmupRule(older, _LEAST_PERCENT / 100, _AGGRESSION) if older else None
    if not warmup.duration:
        return None
    least = _LEAST_PERCENT if warmup.minimum_percent is None else warmup.minimum_percent
    return WarmupRule(warmup.duration, least / 100, warmup.aggression or _AGGRESSION)
