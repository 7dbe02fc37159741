"""The one seam of clients' TLS: who the other end is, decided inside of the handshake.

A check that runs after the handshake comes too late: by then a library may have sent its request.
`ssl` lets a context name the classes of its connections, every library makes those by the context,
and each of them ends a connection whose `do_handshake` raises. So the check is in `do_handshake`:
no byte of a request leaves before it has passed, over sockets and over memory (asyncio, trio).
"""

from __future__ import annotations

import ssl
from collections.abc import Callable, Sequence

from meshware.errors import PeerIdentityError
from meshware.identity.names import bears_one_of

__all__ = ["PeerCheck", "check_peers", "must_bear_one_of"]

PeerCheck = Callable[[ssl.SSLObject | ssl.SSLSocket], None]
"""Look at the other end of a finished handshake, and raise `PeerIdentityError` to refuse it."""


def check_peers(
    context: ssl.SSLContext,
    check: PeerCheck,
    socket_class: type[ssl.SSLSocket] = ssl.SSLSocket,
) -> None:
    """Make every handshake of a context end with a check.

    Args:
        context: of clients; it is changed.
        check: runs when OpenSSL has verified what it was told to.
        socket_class: of its sockets, to be built upon.
    """

    class CheckedObject(ssl.SSLObject):
        def do_handshake(self) -> None:
            super().do_handshake()
            check(self)

    class CheckedSocket(socket_class):  # type: ignore[misc,valid-type]
        def do_handshake(self, block: bool = False) -> None:
            super().do_handshake(block)
            check(self)

    context.sslobject_class = CheckedObject
    context.sslsocket_class = CheckedSocket


def must_bear_one_of(names: Sequence[str]) -> PeerCheck:
    """Return the check that the other end's certificate bears one of these names.

    The context must verify certificates: one that was not verified bears no name.
    """

    def check(connection: ssl.SSLObject | ssl.SSLSocket) -> None:
        if not bears_one_of(connection.getpeercert(), names):
            raise PeerIdentityError(1, "the certificate bears none of the names that policy wants")

    return check
