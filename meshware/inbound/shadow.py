"""What policies say of a call without deciding it: those that audit, and those on trial.

AUDIT marks a call. A policy with the annotation `istio.io/dry-run: "true"` is on trial: it is told
what would be decided were it enforced as well, and nothing comes of that for the call.

Differs from Istio, which asks the policies on trial alone: there an ALLOW on trial counts as a
refusal for every call that another ALLOW policy lets in.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

from meshware.policy.inbound_facts import Facts
from meshware.policy.inbound_rules import InboundRules, RuleSet

__all__ = ["MALFORMED", "MOST_AUDITED", "NO_MARKS", "Marks", "marks_of"]

MOST_AUDITED = 8
"""Policies that a call is said to be audited by."""


class Marks(NamedTuple):
    """What a call is marked with."""

    audited: tuple[str, ...] = ()  # "namespace/name" of the AUDIT policies that matched
    shadow: Literal["allow", "deny"] | None = None  # were it enforced; None: nothing is on trial
    shadow_policy: str | None = None  # of the policies on trial the one that says so
    shadow_rule: int | None = None


NO_MARKS = Marks()

MALFORMED = Marks(shadow="deny")
"""Of a request that could mean two things to the policies on trial: enforced, they refuse it."""


def marks_of(
    rules: InboundRules,
    facts: Facts,
    paths: tuple[str, ...],
    partial_paths: tuple[str, ...],
) -> Marks:
    """Return what a call is marked with.

    Args:
        rules: the workload's.
        facts: the request, its path apart.
        paths: every path that it may mean; at least one.
        partial_paths: what it may mean to an app that looks behind a prefix only; for DENY, AUDIT.
    """
    every = (*paths, *partial_paths)
    audited = _audited(rules.audit, facts, every) if rules.audit.entries else ()
    shadow = rules.shadow
    if shadow is None:
        return Marks(audited)
    for refusing in (shadow.deny, rules.deny):
        for path in every if refusing.entries else ():
            entry = refusing.first(facts, path)
            if entry is not None:
                is_own = refusing is shadow.deny
                return Marks(
                    audited,
                    "deny",
                    entry.policy if is_own else None,
                    entry.rule if is_own else None,
                )
    allowing = [each for each in (shadow.allow, rules.allow) if each is not None]
    if not allowing:
        return Marks(audited, "allow")
    policy, rule = None, None
    for path in paths:
        found = next(
            ((entry, each) for each in allowing if (entry := each.first(facts, path)) is not None),
            None,
        )
        if found is None:
            return Marks(audited, "deny")
        entry, each = found
        if policy is None and each is shadow.allow:
            policy, rule = entry.policy, entry.rule
    return Marks(audited, "allow", policy, rule)


def _audited(audit: RuleSet, facts: Facts, paths: tuple[str, ...]) -> tuple[str, ...]:
    found: dict[str, None] = {}
    for path in paths:
        for entry in audit.every(facts, path):
            found[entry.policy] = None
            if len(found) >= MOST_AUDITED:
                return tuple(found)
    return tuple(found)
