"""What a connection shows, as both kinds of drivers find it, over real handshakes in memory."""

from __future__ import annotations

import ssl

from cryptography.hazmat.primitives.serialization import Encoding
from identities import MeshAuthority

from meshware.asgi.peer import shown_in_extension, shown_on
from meshware.identity.verify import MAX_CHAIN
from meshware.servers.tls_extension import tls_extension
from meshware.wsgi.peer import chain_of, server_name_of

AUTHORITY = MeshAuthority()
SVID = AUTHORITY.issue("default/web")
DER = tuple(one.public_bytes(Encoding.DER) for one in SVID.chain)


def connected(tmp_path, chain_pem, *, asks=True):
    """The server's end of a connection whose client has shown a chain."""
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname = False
    own = tmp_path / "svid.pem"
    own.write_text(SVID.key_pem + chain_pem)
    for context in (server, client):
        context.load_cert_chain(own)
        context.load_verify_locations(cadata=AUTHORITY.bundle_pem)
    if asks:
        server.verify_mode = ssl.CERT_REQUIRED
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = (
        client.wrap_bio(to_client, to_server, server_hostname="app"),
        server.wrap_bio(to_server, to_client, server_side=True),
    )
    left = list(ends)
    while left:
        for end in tuple(left):
            try:
                end.do_handshake()
                left.remove(end)
            except ssl.SSLWantReadError:
                pass
    return ends[1]


def found(connection):
    """What each kind of driver finds."""
    by_asgi, name = shown_on({"ssl_object": connection}.get)
    environ = {"gunicorn.socket": connection}
    assert server_name_of(environ) == name
    by_wsgi = chain_of(environ)
    assert by_asgi == by_wsgi == shown_in_extension(tls_extension(connection))[0]
    return by_wsgi


def test_both_find_the_whole_chain(tmp_path):
    connection = connected(tmp_path, SVID.cert_pem)
    assert found(connection) == DER
    assert found(connection) == DER  # remembered


def test_a_server_that_asks_for_none_has_none(tmp_path):
    assert found(connected(tmp_path, SVID.cert_pem, asks=False)) is None


def test_a_chain_that_is_too_long_is_no_shorter_one(tmp_path):
    """OpenSSL passes over what it does not need; the leaf alone would be valid."""
    longer = SVID.cert_pem + AUTHORITY.root_pem * MAX_CHAIN
    shown = found(connected(tmp_path, longer))
    assert shown
    assert DER[0] not in shown
