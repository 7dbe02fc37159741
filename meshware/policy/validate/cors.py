"""Check what browsers are told. Source: Istio, `validateCORSPolicy`; Fetch standard."""

from __future__ import annotations

from collections.abc import Sequence

from meshware.policy.codes import INEFFECTIVE_MATCH, SUSPICIOUS
from meshware.policy.document.virtual_service import CorsPolicy
from meshware.policy.parse import Resource
from meshware.policy.validate.common import Report
from meshware.policy.validate.fields import check_string_match
from meshware.policy.validate.grammar import is_token
from meshware.policy.validate.registry import Registry
from meshware.policy.yaml12 import brief

__all__ = ["check_cors", "check_cors_owners"]

_ANY = "*"
# Fetch standard: methods that no browser lets a page use.
_FORBIDDEN = ("CONNECT", "TRACE", "TRACK")


def check_cors(resource: Resource, path: str, policy: CorsPolicy | None, report: Report) -> None:
    """Report a policy that browsers would not understand, or that lets in more than it seems."""
    if policy is None:
        return
    if not policy.allow_origins and not policy.allow_origin:
        report.error(
            resource, path, "corsPolicy allows no origin; write allowOrigins, or remove it"
        )
    if policy.allow_origins and policy.allow_origin:
        report.error(
            resource,
            f"{path}.allowOrigin",
            "allowOrigin and allowOrigins are both set; move all of them into allowOrigins",
        )
    has_any = _ANY in (policy.allow_origin or ())
    for index, match in enumerate(policy.allow_origins or ()):
        here = f"{path}.allowOrigins[{index}]"
        check_string_match(resource, here, match, report, may_be_presence=False)
        has_any = has_any or match.exact == _ANY
        if match.exact not in (None, _ANY) and "://" not in (match.exact or ""):
            report.warning(
                resource,
                here,
                f"{brief(match.exact or '')!r} is no origin, and so matches none; write its scheme "
                "too, as in https://shop.example.com",
                SUSPICIOUS,
            )
        if match.prefix is not None and match.prefix.count("/") < 3:
            report.warning(
                resource,
                here,
                f"any origin that begins with {brief(match.prefix)!r} may call, "
                f"{brief(match.prefix)}.evil.test too; write exact, or a regex with an end",
                SUSPICIOUS,
            )
    if has_any and policy.allow_credentials:
        report.warning(
            resource,
            f"{path}.allowCredentials",
            "pages of every origin may call with the user's cookies, since each origin is told "
            "that it is allowed; name the origins",
            SUSPICIOUS,
        )
    for name, words in (
        ("allowMethods", policy.allow_methods),
        ("allowHeaders", policy.allow_headers),
        ("exposeHeaders", policy.expose_headers),
    ):
        _check_words(resource, f"{path}.{name}", words or (), report)
    if policy.max_age is not None and policy.max_age != int(policy.max_age):
        report.error(resource, f"{path}.maxAge", "maxAge is in whole seconds; round it up or down")


def _check_words(resource: Resource, path: str, words: Sequence[str], report: Report) -> None:
    name = path.rpartition(".")[2]
    for index, word in enumerate(words):
        if not is_token(word):
            report.error(
                resource, f"{path}[{index}]", f"{brief(word)!r} is no name that {name} may hold"
            )
        elif name == "allowMethods" and word.upper() in _FORBIDDEN:
            report.warning(
                resource,
                f"{path}[{index}]",
                f"no browser lets a page use {word.upper()}; remove it",
                SUSPICIOUS,
            )
        elif word == _ANY and len(words) > 1:
            report.warning(
                resource,
                f"{path}[{index}]",
                "`*` means everything only where it stands alone; remove the others",
                SUSPICIOUS,
            )


def check_cors_owners(registry: Registry, report: Report) -> None:
    """Report policies of namespaces that may not speak for a service."""
    for routes in registry.routes:
        resource = routes.resource
        if resource.namespace == registry.root:
            continue
        owners = {
            claim.resource.namespace
            for host in routes.export_to
            for claim in registry.claims_of(host)
        }
        if not owners or resource.namespace in owners:
            continue
        for index, route in enumerate(routes.spec.http or ()):
            if route.cors_policy is not None:
                report.warning(
                    resource,
                    f"spec.http[{index}].corsPolicy",
                    "the corsPolicy changes nothing: the service itself answers, and only for "
                    f"VirtualServices of {', '.join(sorted(owners))} or {registry.root}; move it "
                    "there",
                    INEFFECTIVE_MATCH,
                )
