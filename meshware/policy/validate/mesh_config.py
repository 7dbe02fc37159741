"""Check the MeshConfig: there is one, in the root namespace, and its values are in range.

Source: Istio's MeshConfig; the SPIFFE ID standard, "Trust Domain".
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from meshware.policy.codes import DUPLICATE
from meshware.policy.document.mesh_config import MeshConfigSpec
from meshware.policy.parse import Resource
from meshware.policy.validate.common import Report
from meshware.policy.validate.locality import check_locality
from meshware.policy.yaml12 import brief

__all__ = [
    "DEFAULT_ROOT_NAMESPACE",
    "check_mesh_config",
    "check_mesh_configs",
    "root_namespace_of",
]

DEFAULT_ROOT_NAMESPACE = "istio-system"  # Istio's, so that its mesh-wide policies work unchanged

_TRUST_DOMAIN = re.compile(r"[a-z0-9._-]{1,255}")
_NAMESPACE = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_MOST_HOPS = 100  # so many values of a header are read at the most
_SHORTEST_S = 0.001
_EVERYWHERE, _OWN, _NOWHERE = "*", ".", "~"


def root_namespace_of(resources: Sequence[Resource]) -> str:
    """Return the namespace whose policies are for the whole mesh."""
    for resource in resources:
        if isinstance(resource.spec, MeshConfigSpec) and resource.spec.root_namespace:
            return resource.spec.root_namespace
    return DEFAULT_ROOT_NAMESPACE


def check_mesh_config(resource: Resource, report: Report) -> None:
    """Report what is wrong with one MeshConfig by itself."""
    spec = resource.spec
    if not isinstance(spec, MeshConfigSpec):
        return
    domain = spec.trust_domain
    if domain is not None and not _TRUST_DOMAIN.fullmatch(domain):
        report.error(
            resource,
            "spec.trustDomain",
            f"trustDomain is {brief(domain)!r}; write lower-case letters, digits, dots, hyphens "
            "and underscores, 255 characters at most",
        )
    _check_root_namespace(resource, spec, report)
    for name, seconds in (
        ("connectTimeout", spec.connect_timeout),
        ("dnsRefreshRate", spec.dns_refresh_rate),
    ):
        if seconds is not None and seconds < _SHORTEST_S:
            report.error(resource, f"spec.{name}", f"{name} is too short; write at least 1ms")
    _check_hops(resource, spec, report)
    _check_propagation(resource, spec, report)
    setting = spec.locality_lb_setting
    check_locality(resource, "spec.localityLbSetting", setting, report, ejects=True)
    for field, written in (
        ("spec.defaultServiceExportTo", spec.default_service_export_to),
        ("spec.defaultVirtualServiceExportTo", spec.default_virtual_service_export_to),
        ("spec.defaultDestinationRuleExportTo", spec.default_destination_rule_export_to),
    ):
        if written is not None:
            _check_export(resource, field, written, report)


def check_mesh_configs(resources: Sequence[Resource], report: Report) -> None:
    """Report every MeshConfig but the first: settings of the whole mesh stand in one place."""
    first: Resource | None = None
    for resource in resources:
        if not isinstance(resource.spec, MeshConfigSpec):
            continue
        if first is None:
            first = resource
        elif (resource.namespace, resource.name) != (first.namespace, first.name):
            report.error(
                resource,
                "kind",
                f"there is another MeshConfig in {first.origin.file}:{first.origin.line}; put all "
                "settings into one of them",
                DUPLICATE,
            )


def _check_root_namespace(resource: Resource, spec: MeshConfigSpec, report: Report) -> None:
    root = spec.root_namespace
    if root is not None and not _NAMESPACE.fullmatch(root):
        report.error(
            resource,
            "spec.rootNamespace",
            f"rootNamespace is {brief(root)!r}; write a namespace: lower-case letters, digits and "
            "hyphens",
        )
        return
    wanted = root or DEFAULT_ROOT_NAMESPACE
    if resource.namespace != wanted:
        report.error(
            resource,
            "metadata.namespace",
            f"the MeshConfig is in namespace {resource.namespace} and the root namespace is "
            f"{wanted}; write metadata.namespace: {wanted}, or set spec.rootNamespace",
        )


def _check_hops(resource: Resource, spec: MeshConfigSpec, report: Report) -> None:
    topology = spec.default_config.gateway_topology if spec.default_config else None
    hops = topology.num_trusted_proxies if topology else None
    if hops is not None and not 0 <= hops <= _MOST_HOPS:
        report.error(
            resource,
            "spec.defaultConfig.gatewayTopology.numTrustedProxies",
            f"numTrustedProxies is {hops}; write how many proxies of yours every call comes "
            f"through, from 0 to {_MOST_HOPS}",
        )


def _check_propagation(resource: Resource, spec: MeshConfigSpec, report: Report) -> None:
    written = spec.tracing.propagation if spec.tracing else None
    if written is None:
        return
    here = "spec.tracing.propagation"
    if not written:
        report.error(resource, here, "propagation is an empty list; write `w3c`, `b3` or `b3multi`")
    for index, word in enumerate(written):
        if word in written[:index]:
            report.error(resource, f"{here}[{index}]", f"propagation has {word} twice; remove one")


def _check_export(resource: Resource, field: str, written: Sequence[str], report: Report) -> None:
    name = field.rpartition(".")[2]
    if not written:
        report.error(
            resource, field, f'{name} is an empty list; write ["*"], ["."] or ["~"], or remove it'
        )
    for index, word in enumerate(written):
        here = f"{field}[{index}]"
        if word in (_EVERYWHERE, _NOWHERE):
            if len(written) > 1:
                report.error(
                    resource, here, f"{name} has {word!r} beside others; let it stand alone"
                )
        elif word in written[:index]:
            report.error(resource, here, f"{name} has {word!r} twice; remove one")
        elif word != _OWN and not _NAMESPACE.fullmatch(word):
            report.error(
                resource,
                here,
                f"{name}[{index}] is {brief(word)!r}; write `.`, `*`, `~` or a namespace",
            )
