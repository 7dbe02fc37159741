"""What only the mesh may say in headers: what callers sent of that is gone before rules look.

Rules are asked about the request that the app gets. A header that is taken away behind them would
let a caller write what a rule takes for the mesh's word.
"""

from __future__ import annotations

from collections.abc import Sequence

from meshware.call import HeaderLookup
from meshware.inbound.forward import forwarded_cert
from meshware.inbound.head import InboundHead
from meshware.inbound.header_names import HeaderNames
from meshware.inbound.peer import Caller, takes_tokens
from meshware.inbound.tokens import TOKEN_HEADERS
from meshware.policy.snapshot import Snapshot

__all__ = ["Pairs", "cleaned", "overlaid"]

Pairs = tuple[tuple[str, str], ...]

_NOTHING: tuple[str, ...] = ()


def cleaned(
    head: InboundHead, names: HeaderNames, caller: Caller, snapshot: Snapshot
) -> tuple[tuple[str, ...], Pairs]:
    """Return which headers of a call go, in lower case, and which come in their place."""
    remove: tuple[str, ...] = names.ours
    add: Pairs = ()
    if snapshot.mesh.forward_cert != "SANITIZE":
        add = forwarded_cert(head, caller, snapshot)
    if takes_tokens(snapshot, head.port):
        remove += tuple(name for name in TOKEN_HEADERS if name in head.names)
    return remove, add


def overlaid(
    headers: HeaderLookup, names: Sequence[str], remove: Sequence[str], add: Pairs
) -> tuple[HeaderLookup, Sequence[str]]:
    """Return headers and their names as they are behind a change: first removed, then added."""
    added: dict[str, tuple[str, ...]] = {}
    for name, value in add:
        added[name] = (*added.get(name, ()), value)
    gone = frozenset(remove)

    def look_up(name: str) -> Sequence[str]:
        found = added.get(name)
        if found is not None:
            return found
        return _NOTHING if name in gone else headers(name)

    kept = [name for name in names if name not in gone and name not in added]
    return look_up, (*kept, *added)
