"""The one seam of TLS: who the other end is, decided inside of the handshake.

A check that runs after the handshake comes too late: by then a library may have sent its request.
`ssl` lets a context name the classes of its connections, every library makes those by the context,
and each of them ends a connection whose `do_handshake` raises. So the check is in `do_handshake`:
no byte of a request leaves before it has passed, over sockets and over memory (asyncio, trio).
"""

from __future__ import annotations

import contextlib
import os
import ssl
import tempfile
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from meshware.errors import IdentityError, PeerIdentityError
from meshware.identity.bundle import Bundles
from meshware.identity.names import bears_one_of
from meshware.identity.svid import X509SVID
from meshware.identity.verify import Verified, load_chain, verify_chain

__all__ = [
    "PeerCheck",
    "asked_for",
    "check_peers",
    "mesh_client_context",
    "mesh_server_context",
    "must_bear_one_of",
    "note_name",
    "note_verified",
    "peer_chain",
    "shown_chain",
    "verified_peer",
]

Connection = ssl.SSLObject | ssl.SSLSocket

PeerCheck = Callable[[Connection], None]
"""Look at the other end of a finished handshake, and raise `PeerIdentityError` to refuse it."""

_VERIFIED = "_meshware_verified"
_ASKED_FOR = "_meshware_sni"
_SHOWN = "_meshware_shown_chain"
_UNREADABLE = b"not a certificate"


def check_peers(
    context: ssl.SSLContext,
    check: PeerCheck,
    socket_class: type[ssl.SSLSocket] | None = None,
) -> None:
    """Make every handshake of a context end with a check.

    Args:
        context: of clients or servers; it is changed.
        check: runs when OpenSSL has verified what it was told to.
        socket_class: of its sockets, to be built upon; None: the one of `ssl`, which gevent may
            have replaced by now.
    """
    base = socket_class or ssl.SSLSocket

    class CheckedObject(ssl.SSLObject):
        def do_handshake(self) -> None:
            super().do_handshake()
            check(self)

    class CheckedSocket(base):  # type: ignore[misc,valid-type]
        def do_handshake(self, *block: bool) -> None:  # gevent's takes no argument
            super().do_handshake(*block)
            check(self)

    context.sslobject_class = CheckedObject
    context.sslsocket_class = CheckedSocket


def must_bear_one_of(names: Sequence[str]) -> PeerCheck:
    """Return the check that the other end's certificate bears one of these names.

    The context must verify certificates: one that was not verified bears no name.
    """

    def check(connection: Connection) -> None:
        if not bears_one_of(connection.getpeercert(), names):
            raise PeerIdentityError(1, "the certificate bears none of the names that policy wants")

    return check


def mesh_client_context(
    svid: X509SVID,
    bundles: Bundles,
    expected: frozenset[str],
    now: Callable[[], datetime],
    socket_class: type[ssl.SSLSocket] | None = None,
) -> ssl.SSLContext:
    """Return the context in which a workload calls others of the mesh.

    Args:
        svid: what it shows.
        bundles: whom it believes.
        expected: whom it expects: SPIFFE IDs (or other names) of which the server must bear one.
        now: tells aware UTC, at each handshake.
        socket_class: of its sockets, to be built upon.

    Raises:
        IdentityError: nobody is expected, so that nobody could answer; or TLS cannot use the SVID.
    """
    if not expected:
        raise IdentityError("nobody is expected to answer: policy names no service account")
    context = _mesh_context(ssl.PROTOCOL_TLS_CLIENT, svid, bundles)
    names = tuple(expected)

    def check(connection: Connection) -> None:
        verified = verify_chain(peer_chain(connection), bundles, now(), "server")
        if str(verified.id) not in expected and not bears_one_of(connection.getpeercert(), names):
            raise PeerIdentityError(1, f"the peer is refused: it is {verified.id}, not expected")
        note_verified(connection, verified)

    check_peers(context, check, socket_class)
    return context


def mesh_server_context(
    svid: X509SVID, bundles: Bundles, now: Callable[[], datetime]
) -> ssl.SSLContext:
    """Return the context in which a workload is called by others of the mesh.

    It demands a certificate, verifies it whole, and never resumes a session: what was verified once
    would outlive what it was verified against.

    Args:
        svid: what it shows.
        bundles: whom it believes.
        now: tells aware UTC, at each handshake.
    """
    context = _mesh_context(ssl.PROTOCOL_TLS_SERVER, svid, bundles)
    context.num_tickets = 0

    def check(connection: Connection) -> None:
        verified = verify_chain(peer_chain(connection), bundles, now(), "client")
        note_verified(connection, verified)

    check_peers(context, check)
    context.sni_callback = note_name
    return context


def note_name(connection: Any, server_name: str | None, _: ssl.SSLContext) -> None:
    """Keep with a connection the name that its client asked for: an `sni_callback`."""
    setattr(connection, _ASKED_FOR, server_name)


def asked_for(connection: Any) -> str | None:
    """Return the name that a client asked for; None: none, or nobody noted it."""
    found = getattr(connection, _ASKED_FOR, None)
    return found if isinstance(found, str) else None


def note_verified(connection: Connection, verified: Verified) -> None:
    """Keep with a connection who was verified in its handshake."""
    setattr(connection, _VERIFIED, verified)


def verified_peer(connection: Any) -> Verified | None:
    """Return who was verified in the handshake of one of our contexts; None: nobody was."""
    found = getattr(connection, _VERIFIED, None)
    return found if isinstance(found, Verified) else None


def peer_chain(connection: Any) -> tuple[x509.Certificate, ...]:
    """Return what the other end has shown, its leaf first; nothing where it showed none.

    OpenSSL must have verified it: of a context that does not, the chain is empty.

    Raises:
        PeerIdentityError: a certificate cannot be read, or there are too many.
    """
    if connection.context.verify_mode == ssl.CERT_NONE:
        return ()
    leaf = connection.getpeercert(binary_form=True)
    if leaf is None:
        return ()
    shown = [leaf]
    if hasattr(connection, "get_unverified_chain"):  # Python 3.13
        shown = connection.get_unverified_chain()
    else:
        inner = getattr(connection, "_sslobj", None)
        if isinstance(inner, ssl.SSLObject):
            inner = getattr(inner, "_sslobj", None)
        unverified = getattr(inner, "get_unverified_chain", None)
        if unverified is not None:
            found = unverified() or ()
            shown = [ssl.PEM_cert_to_DER_cert(each.public_bytes()) for each in found] or shown
    if shown[0] != leaf:  # a server keeps its client's leaf apart from the rest
        shown = [leaf, *shown]
    return load_chain(shown)


def shown_chain(connection: Any) -> tuple[bytes, ...]:
    """Return what `peer_chain` does, as DER; it is remembered with the connection.

    What OpenSSL took and our parser does not is a chain that nobody can verify: a call that comes
    by it must not pass for one in plaintext, nor for one by the part of it that can be read.
    """
    known: tuple[bytes, ...] | None = getattr(connection, _SHOWN, None)
    if known is None:
        try:
            known = tuple(one.public_bytes(Encoding.DER) for one in peer_chain(connection))
        except ValueError:  # `PeerIdentityError` is one
            known = (_UNREADABLE,)
        with contextlib.suppress(AttributeError):  # another library's; it is asked each time
            setattr(connection, _SHOWN, known)
    return known


def _mesh_context(protocol: int, svid: X509SVID, bundles: Bundles) -> ssl.SSLContext:
    context = ssl.SSLContext(protocol)
    context.until_s = svid.until_s  # type: ignore[attr-defined]  # for who keeps connections
    context.minimum_version = ssl.TLSVersion.TLSv1_2  # Istio's meshMTLS.minProtocolVersion
    context.check_hostname = False  # the ID is the name
    context.verify_mode = ssl.CERT_REQUIRED
    context.options |= ssl.OP_NO_TICKET | ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    context.set_alpn_protocols(["http/1.1"])
    # Intermediates among them are no roots to OpenSSL, which asks for a self-signed end.
    trusted = (*bundles.roots, *bundles.intermediates)
    try:
        if trusted:
            context.load_verify_locations(
                cadata=b"".join(one.public_bytes(Encoding.DER) for one in trusted)
            )
        with _as_file(svid.pem) as path:
            context.load_cert_chain(path)
    except OSError as error:  # `ssl.SSLError` is one: a key too weak for OpenSSL; no descriptor
        why = getattr(error, "reason", None) or error.strerror or "unknown"
        raise IdentityError(f"the identity {svid.id} cannot be used for TLS: {why}") from error
    return context


@contextlib.contextmanager
def _as_file(text: str) -> Iterator[str]:
    """Give a secret a path, which is all that `ssl` takes: in memory, or in a file of ours alone.

    So what is loaded is what was read and verified, whatever has become of its file since.
    """
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("svid", os.MFD_CLOEXEC)
        try:
            os.write(descriptor, text.encode())
            yield f"/proc/self/fd/{descriptor}"
        finally:
            os.close(descriptor)
        return
    with tempfile.NamedTemporaryFile("w", suffix=".pem") as file:  # made with mode 0600
        file.write(text)
        file.flush()
        yield file.name
