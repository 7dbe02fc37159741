"""Decide whether a request may pass: DENY first, then ALLOW. Source: Istio AuthorizationPolicy."""

from __future__ import annotations

import msgspec

from meshware.policy.inbound_facts import Facts
from meshware.policy.inbound_rules import InboundRules

__all__ = ["Verdict", "decide"]


class Verdict(msgspec.Struct, frozen=True, gc=False):  # made for each call
    """What the rules say, and which of them said it."""

    is_allowed: bool
    policy: str | None = None  # "namespace/name"; None: no policy matched
    rule: int | None = None  # position in that policy's `rules`
    key: str | None = None  # of that policy's record

    @property
    def details(self) -> str:
        """Envoy's response code details of a refusal."""
        matched = "none"
        if self.policy is not None:
            namespace, _, name = self.policy.partition("/")
            matched = f"ns[{namespace}]-policy[{name}]-rule[{self.rule}]"
        return f"rbac_access_denied_matched_policy[{matched}]"


_PASS = Verdict(True)
_REFUSED = Verdict(False)


def decide(
    rules: InboundRules,
    facts: Facts,
    paths: tuple[str, ...],
    partial_paths: tuple[str, ...] = (),
) -> Verdict:
    """Return what the rules of a workload say about a request.

    Args:
        rules: the workload's.
        facts: the request, its path apart.
        paths: every path that the request may mean; at least one. DENY holds if it matches any of
            them, ALLOW needs each of them allowed, each by some rule.
        partial_paths: what it may mean to an app that looks behind a prefix only; for DENY.
    """
    deny = rules.deny
    if deny.entries:
        for path in (*paths, *partial_paths):
            entry = deny.first(facts, path)
            if entry is not None:
                return Verdict(False, entry.policy, entry.rule, entry.key)
    allow = rules.allow
    if allow is None:
        return _PASS
    allowed = None
    for path in paths:
        entry = allow.first(facts, path)
        if entry is None:
            return _REFUSED
        allowed = allowed or entry
    if allowed is None:
        return _REFUSED
    return Verdict(True, allowed.policy, allowed.rule, allowed.key)
