"""What a WSGI environ tells of the caller's certificate, and what no caller can make it tell."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from identities import MeshAuthority

from meshware.wsgi.head import header_key, inbound_head
from meshware.wsgi.peer import chain_of, server_name_of

SVID = MeshAuthority().issue("default/web")
CHAIN = tuple(each.public_bytes(Encoding.DER) for each in SVID.chain)
LEAF, ABOVE = (each.public_bytes(Encoding.PEM).decode() for each in SVID.chain)


@pytest.mark.parametrize(
    ("environ", "chain"),
    [
        ({"SSL_CLIENT_CERT": LEAF}, CHAIN[:1]),
        ({"SSL_CLIENT_CERT": LEAF + ABOVE}, CHAIN),
        ({"SSL_CLIENT_CERT": LEAF.replace("\n", "\r\n") + "\n\n" + ABOVE}, CHAIN),
        ({"SSL_CLIENT_CERT": LEAF.replace("\n", "\n\t")}, CHAIN[:1]),
        ({"HTTPS_CC": LEAF}, CHAIN[:1]),
        ({"HTTPS_CC": ABOVE, "SSL_CLIENT_CERT": LEAF}, CHAIN[:1]),
    ],
    ids=["leaf", "chain", "other line ends", "folded", "uWSGI", "both"],
)
def test_a_server_that_tells_is_believed(environ, chain):
    assert chain_of(environ) == chain


@pytest.mark.parametrize(
    "environ",
    [{}, {"SSL_CLIENT_CERT": ""}, {"SSL_CLIENT_CERT": " \n"}, {"HTTPS_CC": ""}, {"HTTPS": "on"}],
    ids=["plain", "empty", "blank", "uWSGI's empty", "TLS without more"],
)
def test_where_nothing_is_told_nothing_is_known(environ):
    assert chain_of(environ) is None


@pytest.mark.parametrize(
    "pem",
    [
        "(null)",
        "-----BEGIN CERTIFICATE-----",
        LEAF[:-10],
        LEAF + "x",
        "x" + LEAF,
        LEAF + "-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n",
        "-----BEGIN CERTIFICATE-----\n\n-----END CERTIFICATE-----\n",
        LEAF.replace("M", "=", 1),
        "%2D%2D" + LEAF,
        LEAF * 200,
        "\N{SNOWMAN}",
    ],
    ids=[
        "no PEM", "a beginning", "cut off", "more behind", "more before", "second is none",
        "empty block", "no base64", "escaped", "endless", "no ASCII",
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_a_chain_that_nobody_can_verify(pem):
    """None would be plaintext."""
    found = chain_of({"SSL_CLIENT_CERT": pem})
    assert found
    assert found[0]
    assert LEAF.encode() != found[0]
    assert CHAIN[0] not in found


@pytest.mark.parametrize(
    "name",
    ["ssl-client-cert", "https-cc", "https_cc", "s-cc", "s_cc", "ssl_client_cert", "ssl-tls-sni"],
)
def test_the_key_of_a_header_is_none_that_is_believed(name):
    key = header_key(name)
    assert key not in ("SSL_CLIENT_CERT", "HTTPS_CC", "SSL_TLS_SNI")
    assert chain_of({key: LEAF}) is None
    assert server_name_of({key: "a.example"}) is None


def test_the_head_has_both():
    environ = {
        "REQUEST_METHOD": "GET",
        "PATH_INFO": "/",
        "SSL_CLIENT_CERT": LEAF + ABOVE,
        "SSL_TLS_SNI": "app.default",
    }
    head = inbound_head(environ, None)
    assert (head.chain, head.sni) == (CHAIN, "app.default")
    assert inbound_head({"REQUEST_METHOD": "GET"}, None).chain is None
