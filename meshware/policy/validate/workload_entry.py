"""Check WorkloadEntries, the endpoints of ServiceEntries, and WorkloadGroups.

Source: Istio, `ValidateWorkloadEntry` and `ValidateWorkloadGroup`.
"""

from __future__ import annotations

from collections.abc import Collection

from meshware.policy.addresses import UNIX_PREFIX
from meshware.policy.codes import SUSPICIOUS
from meshware.policy.document.service_entry import WorkloadEntrySpec, WorkloadGroupSpec
from meshware.policy.parse import Resource
from meshware.policy.validate.common import Report
from meshware.policy.validate.fields import check_labels
from meshware.policy.validate.grammar import (
    bad_address,
    bad_locality,
    bad_service_account,
    is_name,
)
from meshware.policy.yaml12 import brief

__all__ = ["check_workload", "check_workload_entry", "check_workload_group"]


def check_workload_entry(resource: Resource, report: Report) -> None:
    """Report what is wrong with one WorkloadEntry by itself."""
    if isinstance(resource.spec, WorkloadEntrySpec):
        check_workload(resource, "spec", resource.spec, report)
        check_labels(resource, "metadata.labels", resource.labels, report)


def check_workload_group(resource: Resource, report: Report) -> None:
    """Report what is wrong with one WorkloadGroup by itself."""
    spec = resource.spec
    if isinstance(spec, WorkloadGroupSpec):
        check_workload(resource, "spec.template", spec.template, report, has_address=False)
        if spec.metadata is not None:
            check_labels(resource, "spec.metadata.labels", spec.metadata.labels, report)


def check_workload(
    resource: Resource,
    path: str,
    entry: WorkloadEntrySpec,
    report: Report,
    *,
    ports: Collection[str] | None = None,
    has_address: bool = True,
    may_be_name: bool = True,
    may_be_socket: bool = True,
) -> None:
    """Report what is wrong with an instance of a workload.

    Args:
        resource: whose it is.
        path: the field.
        entry: what is written there.
        report: takes the problems.
        ports: the names of the service's ports; None: they are not known.
        has_address: an address must be written.
        may_be_name: the address may be a name, which is looked up.
        may_be_socket: the address may be a Unix socket.
    """
    if entry.address:
        better = bad_address(entry.address, may_be_name=may_be_name, may_be_socket=may_be_socket)
        if better is not None:
            report.error(
                resource, f"{path}.address", f"address is {brief(entry.address)!r}; {better}"
            )
        elif entry.address.startswith(UNIX_PREFIX) and entry.ports:
            report.error(
                resource, f"{path}.ports", "a Unix socket has no ports; remove them, or the socket"
            )
    elif has_address:
        _check_no_address(resource, path, entry, report)
    for name in entry.ports or {}:
        here = f"{path}.ports[{name}]"
        if not is_name(name):
            report.error(
                resource, here, f"{brief(name)!r} is no name of a port; write a service's port name"
            )
        elif ports is not None and name not in ports:
            report.error(
                resource,
                here,
                f"the service has no port called {brief(name)!r}; write one of "
                f"{', '.join(sorted(ports)) or 'its ports'}",
            )
    check_labels(resource, f"{path}.labels", entry.labels, report)
    _check_weight(resource, f"{path}.weight", entry.weight, report)
    for field, value, wrong in (
        ("locality", entry.locality, bad_locality),
        ("serviceAccount", entry.service_account, bad_service_account),
    ):
        remedy = wrong(value) if value is not None else None
        if remedy is not None:
            report.error(
                resource, f"{path}.{field}", f"{field} is {brief(value or '')!r}; {remedy}"
            )


def _check_no_address(
    resource: Resource, path: str, entry: WorkloadEntrySpec, report: Report
) -> None:
    if not entry.network:
        report.error(
            resource,
            f"{path}.address",
            "address is missing; write the IP address of this instance",
        )
        return
    report.warning(
        resource,
        f"{path}.address",
        "without an address this instance could only be called through the gateway of its "
        "network, and there are no gateways here: it gets no calls; write its address",
        SUSPICIOUS,
    )


def _check_weight(resource: Resource, path: str, weight: int | None, report: Report) -> None:
    if weight is None:
        return
    if weight < 0:
        report.error(resource, path, f"weight is {weight}; write a number of at least 1")
    elif weight == 0:
        report.warning(
            resource,
            path,
            "weight 0 counts as 1, as in Istio; remove the instance if it shall get no calls",
            SUSPICIOUS,
        )
