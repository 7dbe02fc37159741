"""What a ServicePolicy says of a call: outbound extras that Istio has no words for.

Source: meshware.dev/v1alpha1 ServicePolicy.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from meshware.call import RequestHead
from meshware.policy.limits import Budget, compile_budget
from meshware.policy.request_match import refusal, request_matcher
from meshware.policy.view import View

__all__ = ["NO_RULE", "REPLAY_BYTES", "CallRule", "compile_call_rules"]

REPLAY_BYTES = 65_536
"""How much of a body that can be read only once is kept, to be sent again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CallRule:
    """One rule; the first that accepts a call counts, for all that it says."""

    accepts: Callable[[RequestHead], bool] | None  # None: everything
    is_safe: bool | None  # to repeat; None: the method decides
    replay_bytes: int
    budget: Budget | None  # of retries, in place of the destination's; None: that one holds
    deadline_s: float | None  # for the whole call, its body too; None: no limit of this kind
    policy: tuple[str, str]  # namespace and name of the ServicePolicy
    index: int  # in its `http`


NO_RULE = CallRule(
    accepts=None,
    is_safe=None,
    replay_bytes=REPLAY_BYTES,
    budget=None,
    deadline_s=None,
    policy=("", ""),
    index=0,
)
"""What holds where nobody says anything."""


def compile_call_rules(
    view: View, host: str, service_namespace: str, port: int
) -> tuple[CallRule, ...]:
    """Return the rules for calls of a host and port, in the order in which they are asked.

    Args:
        view: the client's.
        host: full.
        service_namespace: whose ServicePolicies count as the service's own.
        port: that is dialled.
    """
    found = view.service_policy(host, service_namespace)
    if found is None:
        return ()
    rules = []
    for index, rule in enumerate(found.spec.http or ()):
        for block in rule.match or (None,):
            if block is not None and refusal(block, None, port, view.client) is not None:
                continue
            size = rule.replay_buffer_bytes
            rules.append(
                CallRule(
                    accepts=request_matcher(block) if block is not None else None,
                    is_safe=rule.safe_to_repeat,
                    replay_bytes=REPLAY_BYTES if size is None else size,
                    budget=compile_budget(rule.retry_budget),
                    deadline_s=rule.deadline or None,
                    policy=(found.namespace, found.name),
                    index=index,
                )
            )
    return tuple(rules)
