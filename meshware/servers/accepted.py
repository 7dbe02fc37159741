"""What to speak on a connection that was just accepted, for servers whose sockets block.

1. The mode is asked of the policy in force, for each connection: STRICT is TLS, DISABLE is left to
   the server, and under PERMISSIVE the caller's first byte tells (22 begins a TLS handshake, and no
   request of HTTP). That byte is looked at and stays where it is.
2. The caller has a short time for that byte, and a short time for its whole handshake: a server
   with one worker serves nobody else meanwhile.
3. A caller that fails is closed, and nothing of it ever reaches the app.

Where policy gives this workload no service account, PERMISSIVE has nothing to offer in TLS, and the
server goes on as if there was no mesh.
"""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any

from meshware.errors import IdentityError
from meshware.servers.modes import HANDSHAKE_BYTE, port_of, spoken

if TYPE_CHECKING:
    from meshware.runtime.mesh import Mesh

__all__ = ["FIRST_BYTE_S", "HANDSHAKE_S", "Unwanted", "is_tls", "settle"]

FIRST_BYTE_S = 2.0
HANDSHAKE_S = 5.0


class Unwanted(Exception):
    """A connection that is not served; it is closed already. Says why, for the log."""


def is_tls(connection: Any) -> bool:
    """Say whether a connection speaks TLS, whoever's socket it is (gevent has its own class)."""
    return hasattr(connection, "selected_alpn_protocol")


def settle(connection: socket.socket, mesh: Mesh) -> socket.socket | None:
    """Return the connection as it is to be served: through TLS, or plain.

    Args:
        connection: just accepted; what is returned blocks.
        mesh: whose policy and identity.

    Returns:
        None: the mesh does not mind, and the server goes on as it was set up.

    Raises:
        Unwanted: the caller is refused, and the connection closed.
    """
    mesh.start()
    mode = spoken(mesh, port_of(connection))
    if mode == "DISABLE":
        return None
    try:
        if mode == "PERMISSIVE" and not _begins_tls(connection):
            connection.settimeout(None)
            return connection
        return _shake_hands(connection, mesh)
    except (OSError, IdentityError, ValueError) as error:
        # `ssl` raises the first; the last are certificates that OpenSSL reads and others cannot.
        connection.close()
        raise Unwanted(str(error)) from error


def _begins_tls(connection: socket.socket) -> bool:
    connection.settimeout(FIRST_BYTE_S)
    return connection.recv(1, socket.MSG_PEEK) == HANDSHAKE_BYTE


def _shake_hands(connection: socket.socket, mesh: Mesh) -> socket.socket:
    context = mesh.identity.server_context()  # the same for as long as the identity is
    connection.settimeout(HANDSHAKE_S)
    # From here on it is TLS's: the first socket is an empty shell, also when the handshake fails.
    secured = context.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
    try:
        secured.do_handshake()  # `ssl` bounds it as a whole, however the caller drips
        secured.settimeout(None)
    except BaseException:
        secured.close()
        raise
    return secured
