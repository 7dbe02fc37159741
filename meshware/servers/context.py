"""The TLS context that a server keeps for its whole life, while identities come and go behind it.

Servers take one context at their start. This one swaps itself, at the beginning of each handshake,
for the context of the identity that holds then. OpenSSL takes the certificate and the authorities
from the new one, and whether to demand a certificate at all from the first: so that one demands.

OpenSSL looks for a session to resume before it swaps, so sessions belong to the first context, and
those of TLS 1.2 would be resumed across a rotation: the client would go on with what it was shown
by an identity that has ended. So connections are made by a first context of this identity alone.

Without an identity no handshake succeeds, and nothing is answered in the clear in its place.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from meshware.errors import IdentityError
from meshware.identity.tls import check_peers, note_name, note_verified, peer_chain
from meshware.identity.verify import verify_chain

if TYPE_CHECKING:
    from meshware.runtime.mesh import Mesh

__all__ = ["FrontContext", "front_context", "front_of_this_process", "shown_certificate"]

_SHOWN = "_meshware_shown"


class FrontContext(ssl.SSLContext):
    """A context of ours: what it lets in is verified, so a server that has it speaks the mesh's."""

    first: Callable[[], ssl.SSLContext] | None = None  # returns the one that makes connections

    def wrap_socket(self, *args: Any, **rest: Any) -> ssl.SSLSocket:
        """As `ssl.SSLContext.wrap_socket`."""
        if self.first is None:
            return super().wrap_socket(*args, **rest)
        return self.first().wrap_socket(*args, **rest)

    def wrap_bio(self, *args: Any, **rest: Any) -> ssl.SSLObject:
        """As `ssl.SSLContext.wrap_bio`."""
        if self.first is None:
            return super().wrap_bio(*args, **rest)
        return self.first().wrap_bio(*args, **rest)


def front_context(mesh: Mesh, protocols: tuple[str, ...] = ("http/1.1",)) -> FrontContext:
    """Return a server's context that follows the identity of a mesh.

    Args:
        mesh: whose identity and whose trust.
        protocols: for ALPN, the best first.
    """
    front = _first_context(mesh, protocols)
    kept: tuple[ssl.SSLContext, FrontContext] | None = None

    def first() -> ssl.SSLContext:
        nonlocal kept
        try:
            own = mesh.identity.server_context()
        except IdentityError:
            return _first_context(mesh, protocols)  # whose handshakes fail, as it finds none either
        found = kept
        if found is None or found[0] is not own:
            found = kept = (own, _first_context(mesh, protocols))
        return found[1]

    front.first = first
    return front


def front_of_this_process() -> FrontContext:
    """Return `front_context` for the mesh of this process, which is started."""
    from meshware.runtime.mesh import Mesh

    mesh = Mesh.current()
    mesh.start()
    return front_context(mesh)


def _first_context(mesh: Mesh, protocols: tuple[str, ...]) -> FrontContext:
    context = FrontContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.verify_mode = ssl.CERT_REQUIRED
    context.options |= ssl.OP_NO_TICKET | ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    context.num_tickets = 0
    context.set_alpn_protocols(list(protocols))

    def swap(connection: Any, server_name: str | None, front: ssl.SSLContext) -> int | None:
        svid = mesh.identity.svid()
        try:
            connection.context = mesh.identity.server_context()
        except IdentityError:
            return int(ssl.AlertDescription.ALERT_DESCRIPTION_INTERNAL_ERROR)
        note_name(connection, server_name, front)
        # Renewed between the two lines: then nobody says which one this connection shows.
        if svid is not None and svid is mesh.identity.svid():
            setattr(connection, _SHOWN, svid.leaf)
        return None

    def check(connection: ssl.SSLObject | ssl.SSLSocket) -> None:
        # The class of a connection is the first context's, and so is its check.
        note_verified(
            connection,
            verify_chain(
                peer_chain(connection), mesh.identity.bundles(), mesh.clock.now(), "client"
            ),
        )

    context.sni_callback = swap
    check_peers(context, check)
    return context


def shown_certificate(connection: Any) -> Any:
    """Return the leaf that we have shown in a handshake; None: not known."""
    return getattr(connection, _SHOWN, None)
