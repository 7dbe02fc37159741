"""WorkloadPolicy: inbound extras of workloads that Istio has no field for. Ours."""

from __future__ import annotations

from typing import Literal

from meshware.policy.document.common import Document, WorkloadSelector

__all__ = ["TokenIdentity", "WorkloadPolicySpec"]


class TokenIdentity(Document, frozen=True):
    """Whether token identities are taken in the place of certificates."""

    mode: Literal["DISABLE", "ACCEPT"] | None = None


class WorkloadPolicySpec(Document, frozen=True):
    """Inbound extras of some workloads."""

    selector: WorkloadSelector | None = None
    token_identity: TokenIdentity | None = None
    port_level_token_identity: dict[str, TokenIdentity] | None = None
    probe_paths: tuple[str, ...] | None = None
