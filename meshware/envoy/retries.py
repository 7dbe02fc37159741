"""When a route is tried again: HTTPRetry as Envoy's RetryPolicy. Source: Istio, `ConvertPolicy`."""

from __future__ import annotations

from meshware.envoy.values import Json, any_of, duration
from meshware.policy.document.virtual_service import HTTPRetry

__all__ = ["retry_policy"]

_DEFAULT_ON = "connect-failure,refused-stream,unavailable,cancelled,retriable-status-codes"
_DEFAULT_ATTEMPTS = 2
_PREDICATES = "envoy.retry_host_predicates.previous_hosts"
_PRIORITIES = "envoy.retry_priorities.previous_priorities"


def retry_policy(written: HTTPRetry | None, *, is_hashed: bool) -> Json | None:
    """Return the policy of a route; None: nothing is tried again.

    Args:
        written: the route's, else the mesh's; None: Istio's own.
        is_hashed: a hash chooses the endpoint, and would choose the same one again.
    """
    rule = written or HTTPRetry()
    attempts = _DEFAULT_ATTEMPTS if rule.attempts is None else rule.attempts
    if attempts <= 0:
        return None
    words = [word.strip() for word in (rule.retry_on or _DEFAULT_ON).split(",")]
    statuses = [int(word) for word in words if word.isdigit()]
    names = [word for word in words if word and not word.isdigit()]
    if statuses and "retriable-status-codes" not in names:
        names.append("retriable-status-codes")
    policy: Json = {"retry_on": ",".join(names), "num_retries": attempts}
    if statuses:
        policy["retriable_status_codes"] = statuses
    if rule.per_try_timeout:
        policy["per_try_timeout"] = duration(rule.per_try_timeout)
    if rule.backoff:
        policy["retry_back_off"] = {"base_interval": duration(rule.backoff)}
    ignores = rule.retry_ignore_previous_hosts
    if ignores or (ignores is None and not is_hashed):
        kind = "envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate"
        policy["retry_host_predicate"] = [{"name": _PREDICATES, "typed_config": any_of(kind)}]
        policy["host_selection_retry_max_attempts"] = "5"
    if rule.retry_remote_localities:
        kind = "envoy.extensions.retry.priority.previous_priorities.v3.PreviousPrioritiesConfig"
        policy["retry_priority"] = {
            "name": _PRIORITIES,
            "typed_config": any_of(kind, update_frequency=2),
        }
    return policy
