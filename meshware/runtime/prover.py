"""Make the two headers of token identity for one attempt."""

from __future__ import annotations

import secrets

from meshware.identity.wimse import IDENTITY_HEADER, PROOF_HEADER, mint_proof
from meshware.runtime.token_files import WorkloadToken

__all__ = ["prove"]


def prove(
    token: WorkloadToken, audience: str, method: str, target: str, now: float
) -> tuple[tuple[str, str], ...]:
    """Return the headers: our identity token, and a proof that is good for this once.

    Args:
        token: our own.
        audience: the receiver's SPIFFE ID.
        method: of the request.
        target: its path and query, as they go out.
        now: unix seconds.
    """
    proof = mint_proof(
        token.wit,
        token.key,
        audience=audience,
        method=method,
        target=target,
        now=now,
        jti=secrets.token_urlsafe(16),
    )
    return ((IDENTITY_HEADER, token.wit), (PROOF_HEADER, proof))
