"""ServicePolicy: outbound extras for a host, which Istio has no words for.

Source: meshware.dev/v1alpha1.
"""

from __future__ import annotations

from meshware.policy.document.common import Document, Duration
from meshware.policy.document.destination_rule import RetryBudget
from meshware.policy.document.virtual_service import HTTPMatchRequest

__all__ = ["ServicePolicyRoute", "ServicePolicySpec"]


class ServicePolicyRoute(Document, frozen=True):
    """Extras for the calls that match; without `match` for all of a host."""

    match: tuple[HTTPMatchRequest, ...] | None = None
    safe_to_repeat: bool | None = None
    replay_buffer_bytes: int | None = None
    retry_budget: RetryBudget | None = None
    deadline: Duration | None = None


class ServicePolicySpec(Document, frozen=True):
    """Outbound extras for some hosts; the first rule that matches a call counts."""

    hosts: tuple[str, ...]
    http: tuple[ServicePolicyRoute, ...] | None = None
