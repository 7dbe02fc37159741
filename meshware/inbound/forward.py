"""What an app is told of its caller's certificate, in `X-Forwarded-Client-Cert`, if policy says so.

What came in that header is always removed first. It goes on only in front of our own element, and
only from a proxy that policy names.

Source: Istio ProxyHeaders.forwardedClientCert; Envoy, `forward_client_cert_details`.
"""

from __future__ import annotations

from meshware.inbound.head import InboundHead
from meshware.inbound.peer import XFCC, Caller
from meshware.policy.snapshot import Snapshot

__all__ = ["forwarded_cert"]


def forwarded_cert(
    head: InboundHead, caller: Caller, snapshot: Snapshot
) -> tuple[tuple[str, str], ...]:
    """Return the header that an app gets; nothing where there is nothing to tell."""
    from meshware.identity.xfcc import element, forwarded

    shown = caller.proxy or caller.id  # whose certificate the connection has
    is_by_token = caller.peer is not None and caller.peer.proved_by == "token"
    own = None
    if head.chain and shown is not None and not is_by_token:
        own = element(snapshot.id, head.chain[0], shown)
    received = head.headers(XFCC) if caller.proxy is not None else ()
    value = forwarded(snapshot.mesh.forward_cert, received, own)
    return () if value is None else ((XFCC, value),)
