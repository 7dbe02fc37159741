"""Check when endpoints are ejected, and whether they ever would be.

Source: Istio, `validateOutlierDetection`.
"""

from __future__ import annotations

from meshware.policy.codes import SUSPICIOUS
from meshware.policy.document.destination_rule import OutlierDetection
from meshware.policy.outlier_rule import OutlierRule, compile_outlier
from meshware.policy.parse import Resource
from meshware.policy.validate.common import Report
from meshware.policy.validate.fields import check_duration

__all__ = ["check_outlier", "check_outlier_share"]

_COUNTS = {
    "consecutive_5xx_errors": "consecutive5xxErrors",
    "consecutive_gateway_errors": "consecutiveGatewayErrors",
    "consecutive_local_origin_failures": "consecutiveLocalOriginFailures",
}
_PERCENTS = {
    "max_ejection_percent": "maxEjectionPercent",
    "min_health_percent": "minHealthPercent",
}


def check_outlier(
    resource: Resource, path: str, written: OutlierDetection | None, report: Report
) -> None:
    """Report what is out of range or has no effect in one outlierDetection."""
    if written is None:
        return
    check_duration(resource, f"{path}.interval", written.interval, report)
    check_duration(resource, f"{path}.baseEjectionTime", written.base_ejection_time, report)
    for attribute, name in _COUNTS.items():
        value = getattr(written, attribute)
        if value is not None and value < 0:
            report.error(
                resource, f"{path}.{name}", f"{name} is {value}; write 0 for off, or a number above"
            )
    for attribute, name in _PERCENTS.items():
        value = getattr(written, attribute)
        if value is not None and not 0 <= value <= 100:
            report.error(
                resource, f"{path}.{name}", f"{name} is {value}; write a number from 0 to 100"
            )
    _check_effect(resource, path, written, report)


def _check_effect(resource: Resource, path: str, written: OutlierDetection, report: Report) -> None:
    rule = compile_outlier(written)
    assert rule is not None
    if written.max_ejection_percent == 0:
        report.warning(
            resource,
            f"{path}.maxEjectionPercent",
            "0 counts as not written, which is 10; to eject nobody remove outlierDetection",
            SUSPICIOUS,
        )
    if written.consecutive_local_origin_failures is not None and not rule.splits_local:
        report.warning(
            resource,
            f"{path}.consecutiveLocalOriginFailures",
            "it counts only beside splitExternalLocalOriginErrors: true; add that, or remove this",
            SUSPICIOUS,
        )
    limit, gateway = rule.consecutive_5xx, rule.consecutive_gateway
    if written.consecutive_gateway_errors and limit and gateway >= limit:
        report.warning(
            resource,
            f"{path}.consecutiveGatewayErrors",
            f"{limit} errors of any kind eject first; write less than consecutive5xxErrors, or 0 "
            "for that",
            SUSPICIOUS,
        )
    if not (limit or gateway or rule.consecutive_local):
        report.warning(
            resource, path, "every count is off, so nobody is ever ejected; set one", SUSPICIOUS
        )


def check_outlier_share(
    resource: Resource, path: str, written: OutlierDetection | None, count: int, report: Report
) -> None:
    """Report a share of so few endpoints that none of them may ever be ejected."""
    rule: OutlierRule | None = compile_outlier(written)
    if rule is None or not count or 100 / count <= rule.max_ejection_percent:
        return
    report.warning(
        resource,
        f"{path}.maxEjectionPercent",
        f"{rule.max_ejection_percent} % of {count} endpoints is less than one, so nobody is ever "
        f"ejected; write at least {-(-100 // count)}",
        SUSPICIOUS,
    )
