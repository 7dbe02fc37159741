"""Who calls: the identity that a call proves, if it proves any, and whether it has to.

1. A chain that the caller has shown in TLS is verified, whatever the server did with it; one that
   is not valid refuses the call, also where none is asked for: it is never taken for plaintext.
2. Where PeerAuthentication says STRICT, nobody without an identity goes further.

What was verified is remembered for as long as it holds: by the bytes of the chain and by whom we
believe, so that a change of trust ends it at once, and a certificate ends on its second.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, NamedTuple, Protocol

from meshware.call import Peer
from meshware.errors import PeerIdentityError
from meshware.identity.spiffe import SpiffeID
from meshware.inbound.head import InboundHead
from meshware.policy.peer_modes import mode_at
from meshware.policy.snapshot import Snapshot

if TYPE_CHECKING:
    from meshware.identity.bundle import Bundles
    from meshware.identity.verify import Verified

__all__ = ["NOBODY", "Caller", "Identifies", "Peers", "Refused", "required"]

_MOST_REMEMBERED = 4096


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls, as far as it is proved."""

    id: SpiffeID | None  # None: nobody has proved to be anybody
    peer: Peer | None = None  # the same for the app


class Refused(NamedTuple):
    """Why a call is refused for what it proves, or does not."""

    reason: str  # Envoy's response code details; for the log


NOBODY = Caller(None)


class Identifies(Protocol):
    """What tells the gate who calls."""

    def identify(self, head: InboundHead, snapshot: Snapshot) -> Caller | Refused:
        """Return who calls, or why nobody may call so."""
        ...


def required(caller: Caller, head: InboundHead, snapshot: Snapshot) -> Caller | Refused:
    """Return a caller, or why it may not be nobody."""
    inbound = snapshot.inbound
    if caller.id is None and (inbound is None or mode_at(inbound.peer, head.port) == "STRICT"):
        return Refused("peer_authentication_strict")
    return caller


class Peers:
    """Identifies callers. Safe to use from any thread.

    Args:
        bundles_of: returns whom a policy believes.
        now: returns aware UTC.
    """

    def __init__(
        self, bundles_of: Callable[[Snapshot], Bundles], now: Callable[[], datetime]
    ) -> None:
        self._bundles_of = bundles_of
        self._now = now
        self._verified: dict[tuple[tuple[bytes, ...], str], tuple[Verified, Caller]] = {}

    def identify(self, head: InboundHead, snapshot: Snapshot) -> Caller | Refused:
        """Return who calls, or why nobody may call so.

        Args:
            head: of the call.
            snapshot: the policy that decides it; it knows this workload.
        """
        caller = NOBODY
        if head.chain is not None:
            try:
                caller = self._of_chain(head.chain, snapshot)
            except PeerIdentityError as error:
                return Refused(f"peer_certificate_refused{{{error.args[1]}}}")
        return required(caller, head, snapshot)

    def _of_chain(self, chain: tuple[bytes, ...], snapshot: Snapshot) -> Caller:
        bundles = self._bundles_of(snapshot)
        key = (chain, bundles.digest)
        now = self._now()
        known = self._verified.get(key)
        if known is not None and now.timestamp() < known[0].until:
            return known[1]
        from meshware.identity.verify import load_chain, verify_chain

        verified = verify_chain(load_chain(chain), bundles, now, "client")
        caller = Caller(
            verified.id, Peer(id=str(verified.id), proved_by="mtls", until=verified.until)
        )
        if len(self._verified) >= _MOST_REMEMBERED:
            self._verified.clear()
        self._verified[key] = (verified, caller)
        return caller
