"""Check how many retries may run at once. Source: Istio, TrafficPolicy.RetryBudget."""

from __future__ import annotations

from meshware.policy.document.destination_rule import RetryBudget
from meshware.policy.parse import Resource
from meshware.policy.validate.common import Report

__all__ = ["check_budget"]


def check_budget(resource: Resource, path: str, budget: RetryBudget | None, report: Report) -> None:
    """Report a budget that cannot be."""
    least = budget.min_retry_concurrency if budget is not None else None
    if least is not None and least < 0:
        report.error(
            resource,
            f"{path}.minRetryConcurrency",
            f"minRetryConcurrency is {least}; write 0 or a number above",
        )
