"""Check VirtualServices that delegate, and those that they delegate to.

Source: Istio, `validateRootHTTPRoute`, `validateDelegateHTTPRoute`, `mergeVirtualServicesIfNeeded`,
which leaves out in silence what is reported here.
"""

from __future__ import annotations

from collections.abc import Sequence

from meshware.policy.codes import INEFFECTIVE_MATCH, SUSPICIOUS, UNKNOWN_REFERENCE
from meshware.policy.decode import nearest
from meshware.policy.delegates import (
    Delegates,
    delegate_key,
    delegates_of,
    is_delegate,
    is_exported_to,
    joined,
)
from meshware.policy.document.virtual_service import HTTPRoute, VirtualServiceSpec
from meshware.policy.parse import Resource
from meshware.policy.validate.common import Report
from meshware.policy.yaml12 import brief

__all__ = ["check_delegate_alone", "check_delegates"]


def check_delegate_alone(resource: Resource, spec: VirtualServiceSpec, report: Report) -> None:
    """Report what a VirtualService without hosts may not have."""
    if spec.gateways:
        report.error(
            resource,
            "spec.gateways",
            "gateways are for the VirtualService that delegates; remove them here, or add hosts",
        )
    for index, route in enumerate(spec.http or ()):
        if route.delegate is not None:
            report.error(
                resource,
                f"spec.http[{index}].delegate",
                "a delegate may not delegate further; write its rules here, or add hosts",
            )


def check_delegates(resources: Sequence[Resource], report: Report) -> None:
    """Report delegates that are not there, that nobody names, and rules that never match."""
    delegates = delegates_of(resources)
    used: set[tuple[str, str]] = set()
    for resource in resources:
        spec = resource.spec
        if not isinstance(spec, VirtualServiceSpec) or is_delegate(spec):
            continue
        for index, route in enumerate(spec.http or ()):
            if route.delegate is None:
                continue
            path = f"spec.http[{index}]"
            key = delegate_key(route.delegate, resource.namespace)
            used.add(key)
            found = delegates.get(key)
            if found is None:
                message = _missing(key, resources, delegates)
                report.error(resource, f"{path}.delegate", message, UNKNOWN_REFERENCE)
            elif not is_exported_to(found, resource.namespace):
                report.error(
                    resource,
                    f"{path}.delegate",
                    f"{'/'.join(key)} is not exported to {resource.namespace}; widen its exportTo",
                    UNKNOWN_REFERENCE,
                )
            else:
                _check_pairs(resource, route, path, found, report)
    for key, resource in delegates.items():
        if key not in used:
            report.warning(
                resource,
                "spec.hosts",
                "hosts is missing, and no rule delegates to this VirtualService, so it changes "
                "nothing; add the hosts that callers dial, or name it in a rule's delegate",
                SUSPICIOUS,
            )


def _missing(key: tuple[str, str], resources: Sequence[Resource], delegates: Delegates) -> str:
    """Say what is wrong with the name of a delegate that is not there."""
    named = "/".join(key)
    for other in resources:
        if (other.namespace, other.name) == key and isinstance(other.spec, VirtualServiceSpec):
            return f"VirtualService {brief(named)} has hosts and so is no delegate; remove them"
    near = nearest(named, {"/".join(each): None for each in delegates})
    hint = f"did you mean {near}?" if near else "add it, without hosts"
    return f"there is no VirtualService {brief(named)}; {hint}"


def _check_pairs(
    resource: Resource, route: HTTPRoute, path: str, found: Resource, report: Report
) -> None:
    assert isinstance(found.spec, VirtualServiceSpec)
    for index, own in enumerate(found.spec.http or ()):
        if own.delegate is None and joined(route, own) is None:
            report.warning(
                found,
                f"spec.http[{index}].match",
                f"this rule never matches under {path} of VirtualService {resource.namespace}/"
                f"{resource.name}, which delegates to it: a condition goes beyond that rule's; "
                "narrow it",
                INEFFECTIVE_MATCH,
            )
