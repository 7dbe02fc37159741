"""Who called first, as the proxies in front say: what policies know as `remote.ip`.

Every proxy appends whom it was called by to `X-Forwarded-For`. Where MeshConfig says how many of
them are ours (`defaultConfig.gatewayTopology.numTrustedProxies`), the entry that the outermost of
these wrote counts, and nothing to the left of it: callers write there what they like.

Where it says none, no header counts, and the address is the transport's peer. Differs from Istio's
sidecar, which takes the last entry then, whoever wrote it.

Source: Envoy, "x-forwarded-for", xff_num_trusted_hops; RFC 7239, 6, for the forms of an entry.
"""

from __future__ import annotations

from collections.abc import Sequence

from meshware.inbound.head import InboundHead
from meshware.policy.addresses import parse_address

__all__ = ["remote_ip"]


def remote_ip(head: InboundHead, trusted_hops: int) -> str | None:
    """Return the address of the first caller that is to be believed; None: it is not known.

    Args:
        head: the call.
        trusted_hops: how many proxies in front are ours; every call must come through all of them.
    """
    if trusted_hops == 0:
        return head.source_ip
    return _entry(head.headers("x-forwarded-for"), trusted_hops)


def _entry(lines: Sequence[str], wanted: int) -> str | None:
    """Return the entry with a number, from the right and from 1; None: there is no address."""
    for line in reversed(lines):
        entries = line.rsplit(",", wanted)
        if len(entries) >= wanted:
            return _address(entries[-wanted])
        wanted -= len(entries)
    return None


def _address(entry: str) -> str | None:
    """Return the address in `10.0.0.1`, `10.0.0.1:80`, `::1`, `[::1]` or `[::1]:80`."""
    text = entry.strip(" \t")
    if text.startswith("["):
        text, bracket, rest = text[1:].partition("]")
        if not bracket or (rest and not _is_port(rest)) or ":" not in text:
            return None
    elif text.count(":") == 1:
        text, _, port = text.partition(":")
        if not _is_port(f":{port}"):
            return None
    return None if parse_address(text) is None else text


def _is_port(text: str) -> bool:
    return text[:1] == ":" and text[1:].isascii() and text[1:].isdigit() and len(text) <= 6
