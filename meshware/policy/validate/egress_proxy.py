"""Check the egress proxy of a Sidecar: the service that gets what the mesh does not know.

Source: Istio, `validateSidecarOutboundTrafficPolicy`.
"""

from __future__ import annotations

from meshware.policy.codes import UNKNOWN_REFERENCE
from meshware.policy.document.sidecar import OutboundTrafficPolicy, SidecarSpec
from meshware.policy.document.virtual_service import Destination
from meshware.policy.names import expand
from meshware.policy.parse import Resource
from meshware.policy.validate.common import Report
from meshware.policy.validate.grammar import bad_host
from meshware.policy.validate.hints import Hints
from meshware.policy.validate.registry import Registry
from meshware.policy.yaml12 import brief

__all__ = ["check_egress_proxies", "check_egress_proxy"]

_FIELD = "spec.outboundTrafficPolicy"


def check_egress_proxy(
    resource: Resource, policy: OutboundTrafficPolicy, proxy: Destination, report: Report
) -> None:
    """Report what is wrong with the egress proxy of one Sidecar by itself."""
    if policy.mode != "ALLOW_ANY":
        was = "missing, which means REGISTRY_ONLY" if policy.mode is None else policy.mode
        report.error(
            resource,
            f"{_FIELD}.mode",
            f"mode is {was}, and what is refused goes to no egressProxy; write mode: ALLOW_ANY, "
            "or remove egressProxy",
        )
    here = f"{_FIELD}.egressProxy"
    wrong = bad_host(proxy.host, may_be_pattern=False)
    if wrong is not None:
        report.error(resource, f"{here}.host", f"host is {brief(proxy.host)!r}; {wrong}")
    if proxy.port is None or proxy.port.number is None:
        report.error(
            resource, f"{here}.port", "port is missing; write port: {number: ...} of the proxy"
        )


def check_egress_proxies(registry: Registry, report: Report) -> None:
    """Report egress proxies that are no service, or have no such port or subset."""
    hints = Hints(registry)
    for resource in registry.resources:
        if not isinstance(resource.spec, SidecarSpec):
            continue
        policy = resource.spec.outbound_traffic_policy
        proxy = policy.egress_proxy if policy is not None else None
        if proxy is not None and bad_host(proxy.host, may_be_pattern=False) is None:
            _check_service(registry, resource, proxy, hints, report)


def _check_service(
    registry: Registry, resource: Resource, proxy: Destination, hints: Hints, report: Report
) -> None:
    here = f"{_FIELD}.egressProxy"
    host = expand(proxy.host, resource.namespace)
    claim = registry.service(host, resource.namespace)
    if claim is None:
        report.error(
            resource,
            f"{here}.host",
            f"no ServiceEntry that is seen here has the host {brief(host, 100)}; "
            f"{hints.for_host(proxy.host, resource.namespace)}",
            UNKNOWN_REFERENCE,
        )
        return
    number = proxy.port.number if proxy.port is not None else None
    if number is not None and number not in claim.ports:
        there = ", ".join(map(str, sorted(claim.ports))) or "none"
        report.error(
            resource,
            f"{here}.port.number",
            f"{brief(host, 100)} has no port {number}; it has {there}",
            UNKNOWN_REFERENCE,
        )
    if not proxy.subset:
        return
    rules = registry.rules_for(host, claim.resource.namespace, resource.namespace)
    names = {subset.name for rule in rules for subset in rule.spec.subsets or ()}
    if proxy.subset not in names:
        report.error(
            resource,
            f"{here}.subset",
            f"no DestinationRule for {brief(host, 100)} defines subset {brief(proxy.subset)!r}; "
            "add it to subsets of one",
            UNKNOWN_REFERENCE,
        )
