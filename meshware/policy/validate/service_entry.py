"""Check ServiceEntries, each by itself. Source: Istio, `ValidateServiceEntry`."""

from __future__ import annotations

from collections.abc import Sequence

from meshware.policy.codes import DUPLICATE, NOT_APPLICABLE, SUSPICIOUS
from meshware.policy.document.service_entry import ServiceEntrySpec, ServicePort, WorkloadEntrySpec
from meshware.policy.names import expand, is_partial_wildcard
from meshware.policy.parse import Resource
from meshware.policy.validate.client_tls import check_alt_names
from meshware.policy.validate.common import Report
from meshware.policy.validate.fields import check_export_to, check_selector, check_unique
from meshware.policy.validate.grammar import bad_host, is_name
from meshware.policy.validate.registry import LOOKED_UP
from meshware.policy.validate.resolution import check_addresses, check_resolution
from meshware.policy.validate.workload_entry import check_workload
from meshware.policy.yaml12 import brief

__all__ = ["check_service_entry"]

_MOST_HOSTS = 256  # Istio's CRD
_HTTP = frozenset({"HTTP", "HTTP2", "GRPC", "GRPC-WEB", "HTTP_PROXY", "HTTPS", "TLS"})
_OTHERS = frozenset({"TCP", "UDP", "MONGO", "REDIS", "MYSQL"})


def check_service_entry(resource: Resource, report: Report) -> None:
    """Report what is wrong with one ServiceEntry by itself."""
    spec = resource.spec
    if not isinstance(spec, ServiceEntrySpec):
        return
    _check_hosts(resource, spec.hosts, report)
    _check_ports(resource, spec.ports or (), report)
    check_resolution(resource, spec, report)
    check_addresses(resource, spec, report)
    _check_who_answers(resource, spec, report)
    check_export_to(resource, spec.export_to, report, may_be_nobody=True)
    check_alt_names(resource, "spec.subjectAltNames", spec.subject_alt_names, report)


def _check_hosts(resource: Resource, hosts: Sequence[str], report: Report) -> None:
    if not hosts:
        report.error(
            resource, "spec.hosts", "hosts is an empty list; add the host that callers dial"
        )
    if len(hosts) > _MOST_HOSTS:
        report.error(
            resource,
            "spec.hosts",
            f"there are {len(hosts)} hosts and Istio takes {_MOST_HOSTS}; split the ServiceEntry",
        )
    seen: dict[str, str] = {}
    for index, written in enumerate(hosts):
        here = f"spec.hosts[{index}]"
        wrong = bad_host(written)
        if wrong is not None:
            report.error(resource, here, f"hosts[{index}] is {brief(written)!r}; {wrong}")
        elif written == "*":
            report.error(
                resource, here, "the host `*` would be every host there is; write those it is for"
            )
        else:
            check_unique(resource, here, expand(written, resource.namespace), seen, report)
            if is_partial_wildcard(written):
                report.warning(
                    resource,
                    here,
                    f"{brief(written)!r} ends within a label, which Istio takes with a warning; "
                    f"write *.{brief(written.lstrip('*-'))}",
                    SUSPICIOUS,
                )


def _check_ports(resource: Resource, ports: Sequence[ServicePort], report: Report) -> None:
    if not ports:
        report.error(resource, "spec.ports", "there is no port, so nothing can be called; add one")
    numbers: dict[str, str] = {}
    names: dict[str, str] = {}
    for index, port in enumerate(ports):
        here = f"spec.ports[{index}]"
        check_unique(resource, f"{here}.number", str(port.number), numbers, report)
        if is_name(port.name):
            check_unique(resource, f"{here}.name", port.name, names, report)
        else:
            report.error(
                resource,
                f"{here}.name",
                f"name is {brief(port.name)!r}; write letters, digits and hyphens, 63 at most",
            )
        if port.protocol is not None:
            _check_protocol(resource, f"{here}.protocol", port.protocol, report)


def _check_protocol(resource: Resource, path: str, protocol: str, report: Report) -> None:
    word = protocol.upper()
    if word in _OTHERS:
        report.info(
            resource,
            path,
            f"protocol {word} is not applicable: only HTTP passes through the mesh in an app's "
            "process, and calls to this port go by it",
            NOT_APPLICABLE,
        )
    elif word not in _HTTP:
        report.error(
            resource,
            path,
            f"protocol is {brief(protocol)!r}; write one of {', '.join(sorted(_HTTP | _OTHERS))}",
        )


def _check_who_answers(resource: Resource, spec: ServiceEntrySpec, report: Report) -> None:
    if spec.endpoints is not None and spec.workload_selector is not None:
        report.error(
            resource,
            "spec.workloadSelector",
            "there are both endpoints and a workloadSelector; keep one of them",
        )
    elif spec.resolution == "STATIC" and not spec.endpoints and spec.workload_selector is None:
        report.warning(
            resource,
            "spec.endpoints",
            "this service has no endpoints, so calls are 503 no healthy upstream; add endpoints "
            "or a workloadSelector",
            SUSPICIOUS,
        )
    if spec.workload_selector is not None:
        check_selector(
            resource, "spec.workloadSelector.labels", spec.workload_selector.labels, report
        )
        if spec.location != "MESH_INTERNAL":
            was = "missing, which means MESH_EXTERNAL" if spec.location is None else spec.location
            report.warning(
                resource,
                "spec.location",
                f"location is {was}, and a workloadSelector is for services inside of the mesh; "
                "write location: MESH_INTERNAL",
                SUSPICIOUS,
            )
    _check_endpoints(resource, spec, report)


def _check_endpoints(resource: Resource, spec: ServiceEntrySpec, report: Report) -> None:
    names = frozenset(port.name for port in spec.ports or ())
    seen: dict[tuple[object, ...], int] = {}
    for index, endpoint in enumerate(spec.endpoints or ()):
        here = f"spec.endpoints[{index}]"
        check_workload(
            resource,
            here,
            endpoint,
            report,
            ports=names,
            may_be_name=spec.resolution in LOOKED_UP,
            may_be_socket=spec.resolution not in LOOKED_UP,
        )
        place = (endpoint.address, *_ports_of(endpoint, spec.ports or ()))
        if endpoint.address and seen.setdefault(place, index) != index:
            report.warning(
                resource,
                here,
                f"endpoints[{seen[place]}] has the same address and ports, which is then called "
                "twice as often; remove one, or write weight",
                DUPLICATE,
            )


def _ports_of(endpoint: WorkloadEntrySpec, ports: Sequence[ServicePort]) -> tuple[int, ...]:
    return tuple(
        (endpoint.ports or {}).get(port.name) or port.target_port or port.number for port in ports
    )
