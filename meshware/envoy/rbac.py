"""AuthorizationPolicies as Envoy's RBAC filters, in Istio's order: AUDIT, DENY, ALLOW.

Each action that a policy has becomes one filter, each rule one of its policies, by the name that
Istio gives it and that Envoy tells in its response code details. A policy on trial
(`istio.io/dry-run`) goes into the shadow rules of its action, which count and refuse nobody.

Source: Istio, "pilot/pkg/security/authz/builder"; Envoy RBAC filter.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from meshware.envoy.callers import principals
from meshware.envoy.operations import permissions
from meshware.envoy.values import Json, any_of
from meshware.policy.document.authorization_policy import (
    MeshAuthorizationPolicySpec,
    MeshRule,
)
from meshware.policy.peer_matchers import Home

__all__ = ["RBAC_FILTER", "Written", "rbac_filters"]

RBAC_FILTER = "envoy.filters.http.rbac"

_TYPE = "envoy.extensions.filters.http.rbac.v3.RBAC"
_NEVER = {
    "permissions": [{"not_rule": {"any": True}}],
    "principals": [{"not_id": {"any": True}}],
}

# Istio's action, Envoy's, and what Istio puts before the names of statistics of shadow rules.
_ACTIONS = (
    ("AUDIT", "LOG", ""),
    ("DENY", "DENY", "istio_dry_run_deny_"),
    ("ALLOW", "ALLOW", "istio_dry_run_allow_"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """An AuthorizationPolicy that selects the workload, as it is written."""

    namespace: str
    name: str
    spec: MeshAuthorizationPolicySpec
    is_dry_run: bool = False


def rbac_filters(policies: Sequence[Written], trust_domains: tuple[str, ...]) -> list[Json]:
    """Return the filters of AUDIT, DENY and ALLOW policies, of each action that there is.

    Args:
        policies: oldest first.
        trust_domains: our own, then its aliases.

    Raises:
        ValueError: a condition has no counterpart in Envoy.
    """
    found = []
    for action, name, prefix in _ACTIONS:
        of_action = [each for each in policies if (each.spec.action or "ALLOW") == action]
        if not of_action:
            continue
        fields: Json = {}
        enforced = [each for each in of_action if not each.is_dry_run]
        if enforced:
            fields["rules"] = _rules(name, enforced, trust_domains)
        trials = [each for each in of_action if each.is_dry_run]
        if trials:
            fields["shadow_rules"] = _rules(name, trials, trust_domains)
            if prefix:
                fields["shadow_rules_stat_prefix"] = prefix
        found.append({"name": RBAC_FILTER, "typed_config": any_of(_TYPE, **fields)})
    return found


def _rules(action: str, policies: Sequence[Written], trust_domains: tuple[str, ...]) -> Json:
    found: Json = {}
    for policy in policies:
        rules = policy.spec.rules or ()
        home = Home(policy.namespace, trust_domains)
        for position, rule in enumerate(rules):
            found[_name(policy, position)] = _policy(rule, home)
        if not rules:
            found[_name(policy, 0)] = _NEVER
    return {"action": action, "policies": found}


def _policy(rule: MeshRule, home: Home) -> Json:
    return {"permissions": permissions(rule), "principals": principals(rule, home)}


def _name(policy: Written, position: int) -> str:
    return f"ns[{policy.namespace}]-policy[{policy.name}]-rule[{position}]"
