"""Check where the copies of a route's calls go, and how many of them.

Source: Istio, `validateHTTPRoute`, `validateHTTPMirrors`.
"""

from __future__ import annotations

from meshware.policy.codes import SUSPICIOUS
from meshware.policy.document.virtual_service import HTTPRoute
from meshware.policy.mirror_rule import mirrored
from meshware.policy.parse import Resource
from meshware.policy.validate.common import Report
from meshware.policy.validate.destinations import check_destination

__all__ = ["check_mirrors"]

_SHARES = {
    "mirror_percentage": "mirrorPercentage",
    "mirror_percent": "mirrorPercent",
    "mirror_percent_snake": "mirror_percent",
}


def check_mirrors(resource: Resource, path: str, route: HTTPRoute, report: Report) -> None:
    """Report what is wrong with the mirrors of a route."""
    if route.mirror is not None and route.mirrors is not None:
        report.error(
            resource, f"{path}.mirrors", "mirror and mirrors are both set; move mirror into mirrors"
        )
    shares = [field for field in _SHARES if getattr(route, field) is not None]
    for field in shares:
        name = _SHARES[field]
        if route.mirror is None:
            report.error(
                resource,
                f"{path}.{name}",
                f"{name} is of `mirror`, which is not there; write mirrors[].percentage, or remove "
                "it",
            )
        elif field != shares[0]:
            report.warning(
                resource,
                f"{path}.{name}",
                f"{name} is not looked at beside {_SHARES[shares[0]]}; remove it",
                SUSPICIOUS,
            )
        percent = getattr(route, field)
        if isinstance(percent, int) and not 0 <= percent <= 100:
            report.error(
                resource,
                f"{path}.{name}",
                f"{name} is {percent}; write a number from 0 to 100",
            )
    for field, target, share in mirrored(route):
        check_destination(resource, f"{path}.{field}", target, report)
        if share is not None and not share.value:
            report.warning(
                resource,
                f"{path}.{field}",
                "no call is copied here, with a percentage of 0; write one, or remove the mirror",
                SUSPICIOUS,
            )
