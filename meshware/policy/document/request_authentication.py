"""RequestAuthentication: which tokens of end users are good. Source: security.istio.io/v1."""

from __future__ import annotations

import msgspec

from meshware.policy.document.common import (
    Document,
    Duration,
    PolicyTargetReference,
    WorkloadSelector,
)

__all__ = ["ClaimToHeader", "JWTHeader", "JWTRule", "RequestAuthenticationSpec"]


class JWTHeader(Document, frozen=True):
    """A header that may carry a token."""

    name: str
    prefix: str | None = None


class ClaimToHeader(Document, frozen=True):
    """A claim that is passed on in a header."""

    header: str
    claim: str


class JWTRule(Document, frozen=True):
    """One issuer: its keys, its audiences, where its tokens are."""

    issuer: str | None = None
    audiences: tuple[str, ...] | None = None
    jwks_uri: str | None = None
    jwks_uri_snake: str | None = msgspec.field(name="jwks_uri", default=None)
    jwks: str | None = None
    from_headers: tuple[JWTHeader, ...] | None = None
    from_params: tuple[str, ...] | None = None
    from_cookies: tuple[str, ...] | None = None
    output_payload_to_header: str | None = None
    forward_original_token: bool | None = None
    output_claim_to_headers: tuple[ClaimToHeader, ...] | None = None
    timeout: Duration | None = None
    space_delimited_claims: tuple[str, ...] | None = None


class RequestAuthenticationSpec(Document, frozen=True):
    """Which tokens are good at some workloads."""

    selector: WorkloadSelector | None = None
    target_ref: PolicyTargetReference | None = None
    target_refs: tuple[PolicyTargetReference, ...] | None = None
    jwt_rules: tuple[JWTRule, ...] | None = None
