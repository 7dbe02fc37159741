"""Check Sidecars, each by itself. Source: Istio, `ValidateSidecar`."""

from __future__ import annotations

from collections.abc import Sequence

from meshware.policy.codes import DUPLICATE, SUSPICIOUS
from meshware.policy.document.sidecar import SidecarSpec
from meshware.policy.names import expand, is_partial_wildcard
from meshware.policy.parse import Resource
from meshware.policy.validate.common import Report
from meshware.policy.validate.egress_proxy import check_egress_proxy
from meshware.policy.validate.fields import check_selector
from meshware.policy.validate.grammar import bad_host, is_name
from meshware.policy.yaml12 import brief

__all__ = ["check_sidecar"]

_ANY, _OWN, _NONE = "*", ".", "~"


def check_sidecar(resource: Resource, report: Report) -> None:
    """Report what is wrong with one Sidecar by itself."""
    spec = resource.spec
    if not isinstance(spec, SidecarSpec):
        return
    if spec.workload_selector is not None:
        check_selector(
            resource, "spec.workloadSelector.labels", spec.workload_selector.labels, report
        )
    said = (spec.egress, spec.outbound_traffic_policy, spec.inbound_connection_pool)
    if all(each is None for each in said):
        report.error(
            resource,
            "spec",
            "this Sidecar says nothing; add egress, outboundTrafficPolicy or "
            "inboundConnectionPool, or remove it",
        )
    pool = spec.inbound_connection_pool
    if pool is not None:
        most = pool.http.http2_max_requests if pool.http is not None else None
        if most is None or most <= 0:
            report.error(
                resource,
                "spec.inboundConnectionPool",
                "inboundConnectionPool sets no limit; write http.http2MaxRequests with a number "
                "above 0, or remove it",
            )
    if spec.egress is not None:
        _check_egress(resource, spec, report)
    policy = spec.outbound_traffic_policy
    if policy is not None and policy.egress_proxy is not None:
        check_egress_proxy(resource, policy, policy.egress_proxy, report)
    elif policy is not None and policy.mode is None:
        report.warning(
            resource,
            "spec.outboundTrafficPolicy",
            "outboundTrafficPolicy without a mode means REGISTRY_ONLY; write mode: REGISTRY_ONLY "
            "or mode: ALLOW_ANY",
            SUSPICIOUS,
        )


def _check_egress(resource: Resource, spec: SidecarSpec, report: Report) -> None:
    if not spec.egress:
        report.error(
            resource,
            "spec.egress",
            "egress is an empty list, which could mean all or nothing; remove it for all, or "
            'write hosts: ["~/*"] for nothing',
        )
    seen: dict[str, int] = {}
    for index, listener in enumerate(spec.egress or ()):
        path = f"spec.egress[{index}]"
        if index:
            report.error(
                resource,
                path,
                "Istio takes one egress without a port; put all hosts into egress[0]",
            )
        if not listener.hosts:
            report.error(
                resource,
                f"{path}.hosts",
                'hosts is an empty list; write namespace/host, or "~/*" for nothing',
            )
        _check_egress_hosts(resource, f"{path}.hosts", listener.hosts, seen, report)


def _check_egress_hosts(
    resource: Resource, path: str, hosts: Sequence[str], seen: dict[str, int], report: Report
) -> None:
    has_all = any(host == "*/*" for host in hosts)
    for index, written in enumerate(hosts):
        here = f"{path}[{index}]"
        problem = _wrong_with(written, resource.namespace)
        if problem is not None:
            report.error(resource, here, f"hosts[{index}] is {brief(written)!r}; {problem}")
            continue
        if seen.setdefault(written.lower(), index) != index:
            report.warning(
                resource, here, f"{brief(written)!r} is there twice; remove one", DUPLICATE
            )
        elif has_all and written != "*/*":
            report.warning(
                resource,
                here,
                f"{brief(written)!r} changes nothing beside */*; remove one of them",
                SUSPICIOUS,
            )
        elif written.startswith("~") and len(hosts) > 1:
            report.warning(
                resource,
                here,
                f"{brief(written)!r} stands for nothing and changes nothing beside others; "
                "remove it",
                SUSPICIOUS,
            )


def _wrong_with(written: str, own_namespace: str) -> str | None:
    namespace, slash, host = written.partition("/")
    if not slash:
        return f"write namespace/host, such as ./{_full(written, own_namespace)}"
    if namespace.startswith(_NONE) and namespace != _NONE:
        return "`~` stands alone, for nothing; to leave a namespace out, list those that are wanted"
    if namespace not in (_ANY, _OWN, _NONE) and not is_name(namespace):
        return "before the slash write a namespace, `.`, `*` or `~`"
    wrong = bad_host(host)
    if wrong is not None:
        return wrong
    if host != "*" and "." not in host:
        owner = own_namespace if namespace in (_ANY, _OWN, _NONE) else namespace
        return f"a Sidecar takes no short hosts; write {namespace}/{_full(host, owner)}"
    if is_partial_wildcard(host):
        return f"a `*` is a whole label here; write {namespace}/*.{brief(host.lstrip('*-'))}"
    return None


def _full(host: str, namespace: str) -> str:
    return expand(host, namespace) if bad_host(host) is None else "reviews.shop.svc.cluster.local"
