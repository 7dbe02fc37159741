"""Every hostile chain in a real handshake, shown by a client and by a server: no byte passes."""

from __future__ import annotations

import ssl

import hostile_chains as chains
import pytest
from raw_tls import ask, careless_context, front_of, serving

from meshware.clock import SystemClock
from meshware.errors import PeerIdentityError
from meshware.identity.spiffe import SpiffeID
from meshware.identity.svid import X509SVID
from meshware.identity.tls import mesh_client_context

# OpenSSL itself shows no such chain: duplicate extensions, and for servers an empty one and keys
# that its TLS has no signatures for.
NOT_SHOWN = {"leaf-two-sans", "leaf-two-usages", "leaf-two-basic-constraints"}
NOT_FOR_SERVERS = {"no-chain"} | NOT_SHOWN
CLIENTS = sorted({*chains.names(good=False, role="client")} - NOT_SHOWN)
SERVERS = sorted({*chains.names(good=False, role="server")} - NOT_FOR_SERVERS)
VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]


def _own() -> X509SVID:
    own = chains.sign(chains.root())
    return X509SVID(SpiffeID.parse(chains.ID), (own.certificate,), own.key)


def _client(case):
    """Return the context of a client that believes as a case says, and expects its good ID."""
    return mesh_client_context(_own(), case.bundles, frozenset([chains.ID]), SystemClock().now)


@pytest.mark.parametrize("name", CLIENTS)
def test_a_hostile_client_gets_no_byte_to_the_app(name):
    case = chains.case(name)
    _, front = front_of(_own(), case.bundles)
    with serving(front) as server:
        for version in VERSIONS:
            client = careless_context(False, case.shown, case.key, version)
            with pytest.raises(OSError):
                ask(server.address, client)
            assert isinstance(server.last(), OSError)


@pytest.mark.parametrize("name", SERVERS)
def test_a_hostile_server_gets_no_byte_of_a_request(name):
    case = chains.case(name)
    for version in VERSIONS:
        with serving(careless_context(True, case.shown, case.key, version)) as server:
            with pytest.raises(OSError):
                ask(server.address, _client(case))
            received = server.last()
            assert received == b"" or isinstance(received, OSError)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("name", chains.names(good=True))
def test_a_good_chain_passes_both_ways(name, version):
    case = chains.case(name)
    _, front = front_of(_own(), case.bundles)
    with serving(front) as server:
        client = careless_context(False, case.shown, case.key, version)
        assert ask(server.address, client)[0] == b"heard"
        assert server.last() == b"request"
    with serving(careless_context(True, case.shown, case.key, version)) as server:
        assert ask(server.address, _client(case))[0] == b"heard"
        assert server.last() == b"request"


def test_what_openssl_would_have_let_through_is_refused_by_our_own_check():
    """One pool of roots is not enough: OpenSSL is content, and the peer is nobody all the same."""
    case = chains.case("partner-signs-our-id")
    _, front = front_of(_own(), case.bundles)
    with serving(front) as server:
        with pytest.raises(OSError):
            ask(server.address, careless_context(False, case.shown, case.key))
        assert isinstance(server.last(), PeerIdentityError)


def test_a_server_that_is_somebody_else_gets_no_byte():
    case = chains.case("good-leaf")
    expected = frozenset([chains.ID + "-else"])
    client = mesh_client_context(_own(), case.bundles, expected, SystemClock().now)
    with serving(careless_context(True, case.shown, case.key)) as server:
        with pytest.raises(PeerIdentityError, match="not expected"):
            ask(server.address, client)
        received = server.last()
        assert received == b"" or isinstance(received, OSError)
