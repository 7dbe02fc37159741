"""Check a destination by itself: its host, subset and port."""

from __future__ import annotations

from meshware.policy.document.virtual_service import Destination
from meshware.policy.parse import Resource
from meshware.policy.validate.common import Report
from meshware.policy.validate.grammar import bad_host, is_name
from meshware.policy.yaml12 import brief

__all__ = ["check_destination"]


def check_destination(resource: Resource, path: str, target: Destination, report: Report) -> None:
    """Report what is wrong with where calls or their copies go.

    The host may be a pattern, that of a service: the only way to say something of all its hosts.
    """
    wrong = bad_host(target.host)
    if target.host == "*":
        wrong = "that is every host there is; write the host of a service"
    if wrong is not None:
        report.error(resource, f"{path}.host", f"host is {brief(target.host)!r}; {wrong}")
    if target.subset is not None and not is_name(target.subset):
        report.error(
            resource,
            f"{path}.subset",
            f"subset is {brief(target.subset)!r}; write letters, digits and hyphens",
        )
    if target.port is not None and target.port.number is None:
        report.error(resource, f"{path}.port", "port has no number; add it, or remove port")
