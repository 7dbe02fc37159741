"""Check CUSTOM policies: an authorizer that there is, and rules that can be asked before tokens.

An authorizer is asked before end users' tokens are looked at, and Istio lets its rules go by no
identity either, so that whom it is asked about does not depend on what it is there to find out.

Source: Istio's validation of AuthorizationPolicy, action CUSTOM.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from meshware.policy.authorizers import service_host
from meshware.policy.codes import INVALID, UNKNOWN_REFERENCE
from meshware.policy.decode import nearest
from meshware.policy.document.authorization_policy import (
    AuthorizationPolicySpec,
    MeshAuthorizationPolicySpec,
    MeshRule,
    Rule,
)
from meshware.policy.document.mesh_config import ExtensionProvider, MeshConfigSpec
from meshware.policy.parse import Resource
from meshware.policy.validate.common import Report
from meshware.policy.validate.registry import ANYWHERE, Registry
from meshware.policy.yaml12 import brief

__all__ = ["check_custom_providers", "check_custom_rules"]

_NO_IDENTITY = (
    "principals",
    "not_principals",
    "namespaces",
    "not_namespaces",
    "service_accounts",
    "not_service_accounts",
    "trust_domains",
    "not_trust_domains",
    "request_principals",
    "not_request_principals",
)
_NO_KEYS = ("source.principal", "source.namespace", "source.serviceAccount", "source.trustDomain")
_NO_KEY_PREFIX = "request.auth."

_Spec = AuthorizationPolicySpec | MeshAuthorizationPolicySpec


def check_custom_rules(resource: Resource, report: Report) -> None:
    """Report what is wrong with the CUSTOM part of one policy by itself."""
    spec = resource.spec
    if not isinstance(spec, _Spec):
        return
    if spec.action != "CUSTOM":
        if spec.provider is not None:
            report.error(
                resource,
                "spec.provider",
                "provider is for action CUSTOM alone; write action: CUSTOM, or remove it",
            )
        return
    if spec.provider is None or not spec.provider.name:
        report.error(
            resource,
            "spec.provider.name",
            "a CUSTOM policy asks an authorizer; write provider: {name: ...} of one of "
            "MeshConfig's extensionProviders",
        )
    for field, name in _identities(spec):
        report.error(
            resource,
            field,
            f"{name} cannot stand in a CUSTOM rule: an authorizer is asked before anybody's "
            "identity counts; remove it, or write a DENY or ALLOW policy about it",
            INVALID,
        )


def _identities(spec: _Spec) -> Iterator[tuple[str, str]]:
    """Yield the fields that go by an identity."""
    rules: tuple[Rule | MeshRule, ...] = spec.rules or ()
    for at, rule in enumerate(rules):
        for index, one in enumerate(rule.from_ or ()):
            for name in _NO_IDENTITY if one.source is not None else ():
                if getattr(one.source, name) is not None:
                    word = _camel(name)
                    yield f"spec.rules[{at}].from[{index}].source.{word}", word
        for index, condition in enumerate(rule.when or ()):
            key = condition.key
            if key in _NO_KEYS or key.startswith(_NO_KEY_PREFIX):
                yield f"spec.rules[{at}].when[{index}].key", brief(key)


def _camel(name: str) -> str:
    first, *others = name.split("_")
    return first + "".join(word.capitalize() for word in others)


def check_custom_providers(registry: Registry, report: Report) -> None:
    """Report CUSTOM policies whose authorizer there is not, or is not seen where it is asked."""
    providers = _providers(registry.resources)
    for resource in registry.resources:
        spec = resource.spec
        if not isinstance(spec, _Spec) or spec.action != "CUSTOM":
            continue
        name = spec.provider.name if spec.provider is not None else None
        if not name:
            continue
        provider = providers.get(name)
        if provider is None:
            near = nearest(name, tuple(providers))
            known = ", ".join(sorted(providers)) or "none"
            report.error(
                resource,
                "spec.provider.name",
                f"MeshConfig has no authorizer {brief(name)!r} among its extensionProviders "
                + (f"(did you mean {near}?); " if near else f"(it has {known}); ")
                + "add it there, or every matching request would have to be refused",
                UNKNOWN_REFERENCE,
            )
        elif provider.envoy_ext_authz_http is not None:
            _check_seen(registry, resource, provider.envoy_ext_authz_http.service, report)


def _providers(resources: Sequence[Resource]) -> dict[str, ExtensionProvider]:
    return {
        provider.name: provider
        for resource in resources
        if isinstance(resource.spec, MeshConfigSpec)
        for provider in resource.spec.extension_providers or ()
        if provider.envoy_ext_authz_http is not None or provider.in_process is not None
    }


def _check_seen(registry: Registry, resource: Resource, service: str, report: Report) -> None:
    """Report an authorizer that the workloads of a policy cannot call."""
    host = service_host(service).lower()
    is_everywhere = resource.namespace == registry.root
    client = ANYWHERE if is_everywhere else resource.namespace
    claims = registry.claims_of(host)
    if not claims or registry.service(host, client) is not None:
        return  # no service at all is told of in the MeshConfig
    whose = "of all namespaces" if is_everywhere else f"of namespace {resource.namespace}"
    tell = report.warning if is_everywhere else report.error
    tell(
        resource,
        "spec.provider.name",
        f"workloads {whose} do not see the authorizer's service {brief(host, 100)}; add "
        f'`exportTo: ["*"]` to its ServiceEntry',
        UNKNOWN_REFERENCE,
    )
