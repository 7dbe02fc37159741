"""Who calls: the identity that a call proves, if it proves any, and whether it has to.

1. A chain that the caller has shown in TLS is verified, whatever the server did with it; one that
   is not valid refuses the call, also where none is asked for: it is never taken for plaintext.
2. A caller that is proved to be a proxy which policy names may say for whom it calls, by
   `X-Forwarded-Client-Cert`. From anybody else that header means nothing.
3. Where policy takes token identities, a caller may prove itself by those, over plaintext or
   through such a proxy. Over its own mutual TLS it must be the same one. A token that is not valid
   refuses the call.
4. Where PeerAuthentication says STRICT, nobody without an identity goes further.

What was verified is remembered for as long as it holds: by the bytes of the chain and by whom we
believe, so that a change of trust ends it at once, and a certificate ends on its second.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple, Protocol

from meshware.call import Peer
from meshware.errors import PeerIdentityError, TokenError
from meshware.identity.spiffe import SpiffeID
from meshware.inbound.head import InboundHead
from meshware.inbound.tokens import TOKEN_HEADERS, TokenRefusal, check_tokens
from meshware.policy.peer_modes import mode_at
from meshware.policy.snapshot import Snapshot

if TYPE_CHECKING:
    from meshware.identity.bundle import Bundles
    from meshware.identity.replays import ReplayCache
    from meshware.identity.verify import Verified
    from meshware.identity.wimse import KnownWorkloads

__all__ = [
    "NOBODY",
    "XFCC",
    "Caller",
    "Identifies",
    "Peers",
    "Refused",
    "required",
    "takes_tokens",
]

_MOST_REMEMBERED = 4096

SOON_S = 30.0
"""So long before its certificate ends a caller is told to connect anew, with its next one: a proxy
may keep a connection for longer than an identity."""

XFCC = "x-forwarded-client-cert"


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls, as far as it is proved."""

    id: SpiffeID | None  # None: nobody has proved to be anybody
    peer: Peer | None = None  # the same for the app
    proxy: SpiffeID | None = None  # who said so, where it is not the caller's own connection
    is_ending: bool = False  # what the connection has shown ends soon: it should be made anew


class Refused(NamedTuple):
    """Why a call is refused for what it proves, or does not."""

    reason: str  # Envoy's response code details; for the log
    status: int = 403
    body: str = "RBAC: access denied"
    headers: tuple[tuple[str, str], ...] = (("content-type", "text/plain"),)
    is_last: bool = False  # the connection is good for nothing any more
    detail: str | None = None  # what Envoy's words leave out; for the log
    policy: str | None = None  # "namespace/name" of the RequestAuthentication that says so
    rule: int | None = None  # position in that policy's `jwtRules`


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


def takes_tokens(snapshot: Snapshot, port: int | None) -> bool:
    """Say whether token identities are taken at a port; not known: where they are at every port."""
    own = snapshot.inbound
    if own is None or not own.takes_tokens:
        return False
    modes = own.tokens
    if port is not None:
        return modes.ports.get(str(port), modes.mode) == "ACCEPT"
    return modes.mode == "ACCEPT" and "DISABLE" not in modes.ports.values()


class Peers:
    """Identifies callers. Safe to use from any thread.

    Args:
        bundles_of: returns whom a policy believes.
        now: returns unix seconds.
    """

    def __init__(self, bundles_of: Callable[[Snapshot], Bundles], now: Callable[[], float]) -> None:
        self._bundles_of = bundles_of
        self._now = now
        self._verified: dict[tuple[tuple[bytes, ...], str], tuple[Verified, Caller]] = {}
        # Made when the first token comes.
        self._replays: ReplayCache | None = None
        self._known: KnownWorkloads | None = None

    def renew(self) -> None:
        """Renew, in a child process, what holds locks."""
        if self._replays is not None:
            self._replays.renew()

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
                reason = f"peer_certificate_refused{{{error.args[1]}}}"
                return Refused(reason, is_last=True)
        proxies = snapshot.mesh.xfcc_trusted_proxies
        if proxies and caller.id is not None and str(caller.id) in proxies:
            forwarded = self._of_proxy(caller, head)
            if isinstance(forwarded, Refused):
                return forwarded
            caller = forwarded
        if takes_tokens(snapshot, head.port):
            proved = self._of_tokens(caller, head, snapshot)
            if isinstance(proved, Refused):
                return proved
            caller = proved
        return caller if caller.id is not None else required(caller, head, snapshot)

    def _of_proxy(self, proxy: Caller, head: InboundHead) -> Caller | Refused:
        """Return for whom a proxy calls; itself, where it says nothing."""
        values = head.headers(XFCC)
        if not values or proxy.id is None or proxy.peer is None:
            return proxy
        from meshware.identity.xfcc import last_element

        try:
            said = last_element(values, proxy.id)
        except TokenError as error:
            return Refused(f"forwarded_client_cert_refused{{{error}}}")
        peer = Peer(id=str(said.id), proved_by="xfcc", until=proxy.peer.until)
        return Caller(said.id, peer, proxy.id, proxy.is_ending)

    def _of_tokens(self, caller: Caller, head: InboundHead, snapshot: Snapshot) -> Caller | Refused:
        """Return who a call's tokens prove to make it; the caller so far, where it bears none."""
        if not any(head.headers(name) for name in TOKEN_HEADERS):
            return caller
        if snapshot.id is None:
            return Refused("workload_token_refused{this workload has no identity to be called by}")
        from meshware.identity.replays import ReplayCache
        from meshware.identity.wimse import KnownWorkloads

        if self._replays is None:
            self._replays = ReplayCache()
        if self._known is None:
            self._known = KnownWorkloads()
        found = check_tokens(
            head,
            self._bundles_of(snapshot),
            audience=str(snapshot.id),
            now=self._now(),
            replays=self._replays,
            known=self._known,
        )
        if found is None:
            return caller
        if isinstance(found, TokenRefusal):
            reason = f"workload_token_refused{{{found.reason}}}"
            return Refused(reason, found.status, found.body, found.headers)
        is_own = caller.id is not None and caller.proxy is None
        is_proxy = is_own and str(caller.id) in snapshot.mesh.xfcc_trusted_proxies
        if is_own and not is_proxy and found.id != caller.id:
            return Refused("workload_token_refused{its subject is not who the connection shows}")
        return Caller(found.id, Peer(id=str(found.id), proved_by="token", until=found.until))

    def _of_chain(self, chain: tuple[bytes, ...], snapshot: Snapshot) -> Caller:
        bundles = snapshot.bundles if snapshot.is_believing else self._bundles_of(snapshot)
        key = (chain, bundles.digest)
        now = self._now()
        known = self._verified.get(key)
        if known is not None and (left_s := known[0].until - now) > 0:
            return known[1] if left_s > SOON_S else replace(known[1], is_ending=True)
        from meshware.identity.verify import load_chain, verify_chain

        at = datetime.fromtimestamp(now, UTC)
        verified = verify_chain(load_chain(chain), bundles, at, "client")
        caller = Caller(
            verified.id, Peer(id=str(verified.id), proved_by="mtls", until=verified.until)
        )
        if len(self._verified) >= _MOST_REMEMBERED:
            self._verified.clear()
        self._verified[key] = (verified, caller)
        if verified.until - now <= SOON_S:
            return replace(caller, is_ending=True)
        return caller
