"""Check VirtualServices, each by itself.

Source: Istio, `ValidateVirtualService`. Stricter where Istio would take a field and not look at
it: what is written and has no effect is told.
"""

from __future__ import annotations

from collections.abc import Sequence

from meshware.policy.codes import DUPLICATE, NOT_APPLICABLE, SUSPICIOUS
from meshware.policy.delegates import is_delegate
from meshware.policy.document.virtual_service import (
    HTTPRoute,
    HTTPRouteDestination,
    VirtualServiceSpec,
)
from meshware.policy.names import expand, is_partial_wildcard, is_wildcard, wildcards
from meshware.policy.parse import Resource
from meshware.policy.records import is_for_mesh
from meshware.policy.validate.common import Report
from meshware.policy.validate.cors import check_cors
from meshware.policy.validate.delegates import check_delegate_alone
from meshware.policy.validate.destinations import check_destination
from meshware.policy.validate.edits import check_headers, check_rewrite
from meshware.policy.validate.fields import SHORTEST_S, check_export_to, check_unique
from meshware.policy.validate.grammar import bad_host, is_name
from meshware.policy.validate.mirrors import check_mirrors
from meshware.policy.validate.reachability import check_reachability
from meshware.policy.validate.retries import check_retries
from meshware.policy.validate.route_actions import check_actions, leads_somewhere
from meshware.policy.validate.route_match import check_match
from meshware.policy.yaml12 import brief

__all__ = ["check_virtual_service"]

_PERCENT = 100
_LIKE_PERCENT = 50  # a total of at least so much was most likely meant to be 100


def check_virtual_service(resource: Resource, report: Report) -> None:
    """Report what is wrong with one VirtualService by itself."""
    spec = resource.spec
    if not isinstance(spec, VirtualServiceSpec):
        return
    if is_delegate(spec):
        check_delegate_alone(resource, spec, report)
    _check_hosts(resource, spec, report)
    _check_gateways(resource, "spec.gateways", spec.gateways, report)
    if not is_for_mesh(spec):
        report.info(
            resource,
            "spec.gateways",
            "gateways does not name `mesh`, so this VirtualService is for gateways only and "
            "changes nothing here; add mesh if it is meant for apps",
            NOT_APPLICABLE,
        )
    check_export_to(resource, spec.export_to, report)
    if not spec.http:
        report.error(resource, "spec.http", "http has no route; add one")
    names: dict[str, int] = {}
    for index, route in enumerate(spec.http or ()):
        _check_route(resource, f"spec.http[{index}]", route, report)
        if route.name and names.setdefault(route.name, index) != index:
            report.warning(
                resource,
                f"spec.http[{index}].name",
                f"http[{names[route.name]}] is called {brief(route.name)!r} too, so nobody can "
                "tell them apart in logs; rename one",
                DUPLICATE,
            )
    check_reachability(resource, spec, report)


def _check_hosts(resource: Resource, spec: VirtualServiceSpec, report: Report) -> None:
    seen: dict[str, str] = {}
    good: list[tuple[str, str]] = []
    for index, written in enumerate(spec.hosts or ()):
        here = f"spec.hosts[{index}]"
        wrong = bad_host(written)
        if wrong is not None:
            report.error(resource, here, f"hosts[{index}] is {brief(written)!r}; {wrong}")
        elif written == "*" and is_for_mesh(spec):
            report.error(
                resource,
                here,
                "the host `*` is for gateways only; write the hosts that callers dial",
            )
        else:
            host = expand(written, resource.namespace)
            check_unique(resource, here, host, seen, report)
            good.append((here, host))
    _check_covered(resource, good, report)


def _check_covered(resource: Resource, hosts: Sequence[tuple[str, str]], report: Report) -> None:
    """Report hosts that a pattern of the same list covers, as Istio refuses them."""
    patterns = {host for _, host in hosts if is_wildcard(host)}
    if not patterns:
        return
    partial = [host for host in patterns if is_partial_wildcard(host)]
    for here, host in hosts:
        wider = next((one for one in wildcards(host, partial) if one in patterns), None)
        if wider is not None:
            report.error(
                resource, here, f"the pattern {wider} covers {host} already; remove one", DUPLICATE
            )


def _check_gateways(
    resource: Resource, path: str, written: Sequence[str] | None, report: Report
) -> None:
    for index, name in enumerate(written or ()):
        namespace, slash, gateway = name.partition("/")
        if slash:
            is_good = is_name(namespace) and is_name(gateway)
        else:
            is_good = bad_host(name, may_be_pattern=False) is None
        if not is_good:
            report.error(
                resource,
                f"{path}[{index}]",
                f"{brief(name)!r} is no gateway; write mesh for all apps, or namespace/name",
            )


def _check_route(resource: Resource, path: str, route: HTTPRoute, report: Report) -> None:
    if route.match is not None and not route.match:
        report.warning(
            resource,
            f"{path}.match",
            "match is an empty list and so takes every call; add a condition, or remove it to say "
            "the same",
            SUSPICIOUS,
        )
    for index, block in enumerate(route.match or ()):
        here = f"{path}.match[{index}]"
        check_match(resource, here, block, report)
        _check_gateways(resource, f"{here}.gateways", block.gateways, report)
    check_actions(resource, path, route, report)
    check_headers(resource, f"{path}.headers", route.headers, report)
    check_rewrite(resource, f"{path}.rewrite", route.rewrite, route.match or (), report)
    for index, entry in enumerate(route.route or ()):
        check_headers(resource, f"{path}.route[{index}].headers", entry.headers, report)
    if leads_somewhere(route):
        _check_destinations(resource, f"{path}.route", route.route or (), report)
        check_mirrors(resource, path, route, report)
    if route.timeout is not None and 0 < route.timeout < SHORTEST_S:
        report.error(
            resource,
            f"{path}.timeout",
            "timeout is too short; write at least 1ms, or 0s for no limit",
        )
    check_cors(resource, f"{path}.corsPolicy", route.cors_policy, report)
    if route.retries is not None:
        check_retries(resource, f"{path}.retries", route.retries, route.timeout, report)


def _check_destinations(
    resource: Resource, path: str, written: Sequence[HTTPRouteDestination], report: Report
) -> None:
    if not written:
        report.error(resource, path, "route has no destination; add one")
    seen: dict[tuple[str, str | None, int | None], int] = {}
    for index, entry in enumerate(written):
        here = f"{path}[{index}].destination"
        target = entry.destination
        check_destination(resource, here, target, report)
        number = target.port.number if target.port else None
        key = (expand(target.host, resource.namespace), target.subset or None, number)
        if seen.setdefault(key, index) != index:
            report.warning(
                resource,
                here,
                f"route[{seen[key]}] leads to the same; join them and add their weights",
                DUPLICATE,
            )
    _check_weights(resource, path, written, report)


def _check_weights(
    resource: Resource, path: str, written: Sequence[HTTPRouteDestination], report: Report
) -> None:
    for index, entry in enumerate(written):
        if entry.weight is not None and entry.weight < 0:
            report.error(
                resource,
                f"{path}[{index}].weight",
                f"weight is {entry.weight}; write 0 for no calls, or a number above",
            )
            return
    if len(written) == 1 and written[0].weight == 0:
        report.warning(
            resource,
            f"{path}[0].weight",
            "the only destination gets every call, whatever its weight; remove the weight, or the "
            "route",
            SUSPICIOUS,
        )
    if len(written) <= 1:
        return
    total = sum(entry.weight or 0 for entry in written)
    if total == 0:
        report.error(
            resource,
            path,
            "the weights add up to 0, so no destination gets a call; write a weight for each",
        )
        return
    for index, entry in enumerate(written):
        if entry.weight is None:
            report.warning(
                resource,
                f"{path}[{index}]",
                f"route[{index}] has no weight, which beside others means 0, no calls; write "
                "weight",
                SUSPICIOUS,
            )
    if total != _PERCENT and total >= _LIKE_PERCENT:
        report.info(
            resource,
            path,
            f"the weights add up to {total}, not 100; each destination gets its share of {total}",
            SUSPICIOUS,
        )
