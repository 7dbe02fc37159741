"""PeerAuthentication: whether callers must show a certificate. Source: security.istio.io/v1."""

from __future__ import annotations

from typing import Literal

from meshware.policy.document.common import Document, WorkloadSelector

__all__ = ["MutualTLS", "PeerAuthenticationSpec"]


class MutualTLS(Document, frozen=True):
    """The mode of one scope."""

    mode: Literal["UNSET", "DISABLE", "PERMISSIVE", "STRICT"] | None = None


class PeerAuthenticationSpec(Document, frozen=True):
    """Whether callers of some workloads must show a certificate."""

    selector: WorkloadSelector | None = None
    mtls: MutualTLS | None = None
    port_level_mtls: dict[str, MutualTLS] | None = None
