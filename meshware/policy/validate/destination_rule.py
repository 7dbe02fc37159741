"""Check DestinationRules, each by itself. Source: Istio, `ValidateDestinationRule`."""

from __future__ import annotations

from meshware.policy.codes import SUSPICIOUS
from meshware.policy.document.destination_rule import (
    ConnectionPoolSettings,
    DestinationRuleSpec,
    LoadBalancerSettings,
    PortTrafficPolicy,
    Subset,
    TrafficPolicy,
)
from meshware.policy.parse import Resource
from meshware.policy.validate.budget import check_budget
from meshware.policy.validate.client_tls import check_client_tls
from meshware.policy.validate.common import Report
from meshware.policy.validate.connections import check_connections
from meshware.policy.validate.fields import (
    check_duration,
    check_export_to,
    check_labels,
    check_selector,
    check_unique,
)
from meshware.policy.validate.grammar import bad_host, is_name
from meshware.policy.validate.load_balancer import check_load_balancer
from meshware.policy.validate.locality import check_locality, check_warmup
from meshware.policy.validate.outlier import check_outlier
from meshware.policy.yaml12 import brief

__all__ = ["check_destination_rule"]

# What the entry of a port replaces as a whole: what it leaves out becomes the default.
_RESET = {
    "loadBalancer": "load_balancer",
    "connectionPool": "connection_pool",
    "outlierDetection": "outlier_detection",
    "tls": "tls",
}


def check_destination_rule(resource: Resource, report: Report) -> None:
    """Report what is wrong with one DestinationRule by itself."""
    spec = resource.spec
    if not isinstance(spec, DestinationRuleSpec):
        return
    wrong = bad_host(spec.host)
    if wrong is not None:
        report.error(resource, "spec.host", f"host is {brief(spec.host)!r}; {wrong}")
    if spec.traffic_policy is None and not spec.subsets:
        report.warning(
            resource,
            "spec",
            "this DestinationRule changes nothing; add a trafficPolicy or subsets, or remove it",
            SUSPICIOUS,
        )
    _check_policy(resource, "spec.trafficPolicy", spec.traffic_policy, report)
    seen: dict[str, str] = {}
    for index, subset in enumerate(spec.subsets or ()):
        here = f"spec.subsets[{index}]"
        _check_subset(resource, here, subset, seen, report)
        _check_policy(
            resource,
            f"{here}.trafficPolicy",
            subset.traffic_policy,
            report,
            wider=spec.traffic_policy,
        )
    check_export_to(resource, spec.export_to, report)
    _check_selector(resource, spec, report)


def _check_subset(
    resource: Resource, path: str, subset: Subset, seen: dict[str, str], report: Report
) -> None:
    if is_name(subset.name):
        check_unique(resource, f"{path}.name", subset.name, seen, report)
    else:
        report.error(
            resource,
            f"{path}.name",
            f"name is {brief(subset.name)!r}; write letters, digits and hyphens, 63 at most",
        )
    if not subset.labels:
        report.warning(
            resource,
            path,
            f"subset {brief(subset.name)!r} names no label and so has every endpoint of the host; "
            "add labels",
            SUSPICIOUS,
        )
    check_labels(resource, f"{path}.labels", subset.labels, report)


def _check_selector(resource: Resource, spec: DestinationRuleSpec, report: Report) -> None:
    if spec.workload_selector is None:
        return
    labels = spec.workload_selector.match_labels
    check_selector(resource, "spec.workloadSelector.matchLabels", labels, report)
    beyond = [word for word in spec.export_to or () if word not in (".", resource.namespace)]
    if beyond:
        report.error(
            resource,
            "spec.exportTo",
            "a DestinationRule with a workloadSelector is for clients of its own namespace; "
            "remove exportTo",
        )


def _check_policy(
    resource: Resource,
    path: str,
    policy: TrafficPolicy | None,
    report: Report,
    *,
    wider: TrafficPolicy | None = None,
) -> None:
    if policy is None:
        return
    if policy == TrafficPolicy():
        report.error(resource, path, "trafficPolicy is empty; add a field to it, or remove it")
    _check_pool(resource, f"{path}.connectionPool", policy.connection_pool, report)
    check_client_tls(resource, f"{path}.tls", policy.tls, report)
    check_outlier(resource, f"{path}.outlierDetection", policy.outlier_detection, report)
    ejects = any(each and each.outlier_detection is not None for each in (policy, wider))
    _check_balancer(resource, path, policy.load_balancer, report, ejects=ejects)
    check_budget(resource, f"{path}.retryBudget", policy.retry_budget, report)
    seen: dict[int, int] = {}
    for index, entry in enumerate(policy.port_level_settings or ()):
        here = f"{path}.portLevelSettings[{index}]"
        number = entry.port.number if entry.port is not None else None
        if number is None:
            report.error(resource, f"{here}.port", "port.number is missing; add it")
        elif seen.setdefault(number, index) != index:
            report.error(
                resource,
                f"{here}.port.number",
                f"portLevelSettings[{seen[number]}] is for port {number} too; join them",
            )
        if entry == PortTrafficPolicy(port=entry.port):
            report.error(resource, here, "there is no setting for this port; add one")
        _check_pool(resource, f"{here}.connectionPool", entry.connection_pool, report)
        check_client_tls(resource, f"{here}.tls", entry.tls, report)
        check_outlier(resource, f"{here}.outlierDetection", entry.outlier_detection, report)
        ejects = entry.outlier_detection is not None
        _check_balancer(resource, here, entry.load_balancer, report, ejects=ejects)
        _check_reset(resource, here, policy, entry, report)


def _check_reset(
    resource: Resource, path: str, policy: TrafficPolicy, entry: PortTrafficPolicy, report: Report
) -> None:
    """Tell which settings a port's entry puts back to their defaults, by leaving them out."""
    lost = [
        name
        for name, attribute in _RESET.items()
        if getattr(policy, attribute) is not None and getattr(entry, attribute) is None
    ]
    if lost:
        words = " and ".join(lost)
        report.info(
            resource,
            path,
            f"for this port the trafficPolicy's {words} does not hold, since the entry replaces "
            f"all settings; repeat {words} in it if it shall hold",
            SUSPICIOUS,
        )


def _check_balancer(
    resource: Resource,
    path: str,
    balancer: LoadBalancerSettings | None,
    report: Report,
    *,
    ejects: bool,
) -> None:
    if balancer is None:
        return
    here = f"{path}.loadBalancer"
    check_load_balancer(resource, here, balancer, report)
    check_warmup(resource, here, balancer, report)
    check_locality(
        resource,
        f"{here}.localityLbSetting",
        balancer.locality_lb_setting,
        report,
        ejects=ejects,
    )


_HTTP_COUNTS = {
    "http1_max_pending_requests": "http1MaxPendingRequests",
    "http2_max_requests": "http2MaxRequests",
    "max_retries": "maxRetries",
}


def _check_count(resource: Resource, path: str, value: int | None, report: Report) -> None:
    name = path.rpartition(".")[2]
    if value is None or value > 0:
        return
    if value < 0:
        report.error(resource, path, f"{name} is {value}; write a number above 0")
        return
    report.warning(
        resource,
        path,
        f"{name} 0 counts as not written, which is no limit; write 1 for the least, or remove it",
        SUSPICIOUS,
    )


def _check_pool(
    resource: Resource, path: str, pool: ConnectionPoolSettings | None, report: Report
) -> None:
    if pool is None:
        return
    if pool == ConnectionPoolSettings():
        report.error(resource, path, "connectionPool is empty; add a field to it, or remove it")
    for attribute, name in _HTTP_COUNTS.items() if pool.http is not None else ():
        _check_count(resource, f"{path}.http.{name}", getattr(pool.http, attribute), report)
    pending = pool.http.http1_max_pending_requests if pool.http is not None else None
    if pending and not (pool.tcp is not None and pool.tcp.max_connections):
        report.warning(
            resource,
            f"{path}.http.http1MaxPendingRequests",
            "requests wait only for a connection, of which there are as many as it takes; write "
            "tcp.maxConnections too",
            SUSPICIOUS,
        )
    check_connections(resource, path, pool, report)
    if pool.tcp is not None:
        _check_count(resource, f"{path}.tcp.maxConnections", pool.tcp.max_connections, report)
        check_duration(
            resource,
            f"{path}.tcp.connectTimeout",
            pool.tcp.connect_timeout,
            report,
            ", or remove it for 10s",
        )
