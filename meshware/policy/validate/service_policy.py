"""Check ServicePolicies: hosts that exist, rules that say something and can be reached."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from meshware.policy.codes import DUPLICATE, INVALID
from meshware.policy.document.common import StringMatch
from meshware.policy.document.service_entry import ServiceEntrySpec
from meshware.policy.document.service_policy import ServicePolicyRoute, ServicePolicySpec
from meshware.policy.document.virtual_service import HTTPMatchRequest
from meshware.policy.match import string_matcher
from meshware.policy.names import expand, matches
from meshware.policy.parse import Resource
from meshware.policy.request_match import request_matcher
from meshware.policy.validate.budget import check_budget
from meshware.policy.validate.common import Report
from meshware.policy.validate.fields import check_duration
from meshware.policy.yaml12 import brief

__all__ = ["UNKNOWN_HOST", "check_service_policies", "check_service_policy"]

UNKNOWN_HOST = "IST0101"  # Istio's ReferencedResourceNotFound

# The labels of a DNS name (underscores are common and harmless); a `*` may only come first.
_LABEL = r"[A-Za-z0-9_]([-A-Za-z0-9_]*[A-Za-z0-9_])?"
_HOST = re.compile(rf"\*|(\*[-.]?)?{_LABEL}(\.{_LABEL})*")
_LONGEST_HOST = 253
_LARGEST_BUFFER = 16 * 1024 * 1024


def check_service_policy(resource: Resource, report: Report) -> None:
    """Report what is wrong with one ServicePolicy by itself."""
    spec = resource.spec
    if not isinstance(spec, ServicePolicySpec):
        return
    if not spec.hosts:
        report.error(resource, "spec.hosts", "hosts is an empty list; add a host")
    full: dict[str, int] = {}
    for index, host in enumerate(spec.hosts):
        here = f"spec.hosts[{index}]"
        if len(host) > _LONGEST_HOST or not _HOST.fullmatch(host):
            report.error(
                resource,
                here,
                f"hosts[{index}] is {brief(host)!r}; write a host such as reviews, or a pattern "
                "such as *.example.com",
            )
        elif full.setdefault(expand(host, resource.namespace), index) != index:
            report.error(
                resource, here, f"the host {brief(host)!r} is there twice; remove one", DUPLICATE
            )
    if not spec.http:
        report.error(resource, "spec.http", "http has no rule; add one, such as safeToRepeat: true")
    _check_rules(resource, spec.http or (), report)


def check_service_policies(resources: Sequence[Resource], report: Report) -> None:
    """Report hosts that no service has, and hosts that two ServicePolicies speak for."""
    declared = {
        expand(host, resource.namespace)
        for resource in resources
        if isinstance(resource.spec, ServiceEntrySpec)
        for host in resource.spec.hosts
    }
    first: dict[tuple[str, str], Resource] = {}
    for resource in resources:
        if not isinstance(resource.spec, ServicePolicySpec):
            continue
        for index, written in enumerate(resource.spec.hosts):
            here = f"spec.hosts[{index}]"
            host = expand(written, resource.namespace)
            other = first.setdefault((resource.namespace, host), resource)
            if other is not resource:
                report.error(
                    resource,
                    here,
                    f"ServicePolicy {other.namespace}/{other.name} "
                    f"({other.origin.file}:{other.origin.line}) speaks for {brief(host, 100)} "
                    "already; put the rules into one of them",
                    DUPLICATE,
                )
            if host not in declared and not any(
                matches(host, one) or matches(one, host) for one in declared
            ):
                report.warning(
                    resource,
                    here,
                    f"no ServiceEntry has the host {brief(host, 100)}; mend it, or add one",
                    UNKNOWN_HOST,
                )


def _check_rules(resource: Resource, rules: Sequence[ServicePolicyRoute], report: Report) -> None:
    catch_all: int | None = None
    for index, rule in enumerate(rules):
        here = f"spec.http[{index}]"
        said = (rule.safe_to_repeat, rule.replay_buffer_bytes, rule.retry_budget, rule.deadline)
        if all(each is None for each in said):
            report.error(
                resource,
                here,
                "this rule says nothing; add safeToRepeat, replayBufferBytes, retryBudget or "
                "deadline",
            )
        _check_values(resource, here, rule, report)
        if rule.match is not None and not rule.match:
            report.error(
                resource,
                f"{here}.match",
                "match is an empty list, which could mean all or nothing; add a condition, or "
                "remove it for all calls",
            )
        if catch_all is not None:
            report.warning(
                resource,
                here,
                f"no call comes to this rule: http[{catch_all}] takes all; put it before that one",
            )
        is_good = _check_matches(resource, rule.match or (), f"{here}.match", report)
        if catch_all is None and is_good and _takes_all(rule):
            catch_all = index


def _check_values(resource: Resource, path: str, rule: ServicePolicyRoute, report: Report) -> None:
    size = rule.replay_buffer_bytes
    if size is not None and not 0 <= size <= _LARGEST_BUFFER:
        report.error(
            resource,
            f"{path}.replayBufferBytes",
            f"replayBufferBytes is {size}; write a number from 0, for none, to {_LARGEST_BUFFER}, "
            "which each call may hold in memory",
        )
    check_duration(resource, f"{path}.deadline", rule.deadline, report, ", or remove it")
    check_budget(resource, f"{path}.retryBudget", rule.retry_budget, report)


def _takes_all(rule: ServicePolicyRoute) -> bool:
    if rule.match is None:
        return True
    only_for_some = ("port", "source_labels", "source_namespace", "gateways")
    return any(
        request_matcher(block) is None
        and all(getattr(block, name) is None for name in only_for_some)
        for block in rule.match
    )


def _check_matches(
    resource: Resource, blocks: Sequence[HTTPMatchRequest], path: str, report: Report
) -> bool:
    is_good = True
    for index, block in enumerate(blocks):
        for field, match in _string_matches(block):
            here = f"{path}[{index}].{field}"
            wrong = _wrong_with(match)
            if wrong is not None:
                is_good = False
                report.error(resource, here, f"{field} {wrong}", INVALID)
    return is_good


def _string_matches(block: HTTPMatchRequest) -> Iterator[tuple[str, StringMatch]]:
    for field, match in (
        ("uri", block.uri),
        ("scheme", block.scheme),
        ("method", block.method),
        ("authority", block.authority),
    ):
        if match is not None:
            yield field, match
    for field, many in (
        ("headers", block.headers),
        ("withoutHeaders", block.without_headers),
        ("queryParams", block.query_params),
    ):
        for name, match in (many or {}).items():
            yield f"{field}[{name}]", match


def _wrong_with(match: StringMatch) -> str | None:
    if sum(value is not None for value in (match.exact, match.prefix, match.regex)) > 1:
        return "has several of exact, prefix and regex; keep one of them"
    try:
        string_matcher(match)
    except ValueError as error:
        return f"has a regular expression that cannot be used: {error}; mend it"
    return None
