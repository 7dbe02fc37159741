"""When an endpoint is taken out: OutlierDetection with its defaults filled in.

Source: Istio, `applyOutlierDetection`; Envoy's defaults.
"""

from __future__ import annotations

from dataclasses import dataclass

from meshware.policy.document.destination_rule import OutlierDetection

__all__ = ["OutlierRule", "compile_outlier"]


@dataclass(frozen=True, slots=True, kw_only=True)
class OutlierRule:
    """When an endpoint is ejected, and for how long. A limit of 0 is off."""

    consecutive_5xx: int
    consecutive_gateway: int
    consecutive_local: int
    splits_local: bool  # failures without an answer count for `consecutive_local` alone
    interval_s: float
    base_s: float
    max_ejection_percent: int
    min_health_percent: int  # fewer healthy ones than that: all are used, the ejected ones too


def compile_outlier(written: OutlierDetection | None) -> OutlierRule | None:
    """Return the rule of a policy; None: endpoints are never ejected. `{}` is all defaults."""
    if written is None:
        return None
    splits = bool(written.split_external_local_origin_errors)
    local = _given(written.consecutive_local_origin_failures, 5)
    return OutlierRule(
        consecutive_5xx=_given(written.consecutive_5xx_errors, 5),
        consecutive_gateway=_given(written.consecutive_gateway_errors, 0),
        consecutive_local=local if splits else 0,
        splits_local=splits,
        interval_s=written.interval or 10.0,
        base_s=written.base_ejection_time or 30.0,
        max_ejection_percent=written.max_ejection_percent or 10,  # Istio: 0 is not set
        min_health_percent=written.min_health_percent or 0,
    )


def _given(value: int | None, default: int) -> int:
    return default if value is None else value
