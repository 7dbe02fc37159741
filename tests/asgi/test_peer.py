"""What a driver finds of the caller in TLS, and what it never takes for it."""

from __future__ import annotations

import subprocess
import sys

import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from tls_servers import CALLER, authority, svid_of

from meshware.asgi.head import inbound_head
from meshware.asgi.peer import shown_in_extension

SVID = svid_of(authority(), CALLER)
PEM = [one.public_bytes(Encoding.PEM).decode() for one in SVID.chain]
DER = tuple(one.public_bytes(Encoding.DER) for one in SVID.chain)


async def receive():
    """Of a server that keeps its connection to itself."""
    return {"type": "http.disconnect"}


def head_of(scope=None, receive=receive):
    """The head of a call."""
    return inbound_head(
        {"type": "http", "path": "/", "headers": [], "method": "GET", **(scope or {})},
        receive,
        None,
    )


def test_the_extension_is_believed_to_the_letter():
    head = head_of(
        {"extensions": {"tls": {"client_cert_chain": PEM, "server_name": "orders.shop"}}}
    )
    assert head.chain == DER
    assert head.sni == "orders.shop"


@pytest.mark.parametrize("lines", ["\n", "\r\n"], ids=["LF", "CRLF"])
def test_line_ends_of_pem_are_the_servers_affair(lines):
    written = PEM[0].replace("\n", lines) + lines
    assert shown_in_extension({"client_cert_chain": [written]})[0] == DER[:1]


@pytest.mark.parametrize(
    "chain",
    [
        ["-----BEGIN CERTIFICATE-----\nnot base64!\n-----END CERTIFICATE-----"],
        [""],
        [PEM[0][:-30]],
        [b"bytes"],
        [None],
        "text in the place of a list",
        42,
    ],
)
def test_what_cannot_be_read_is_a_chain_that_cannot_be_verified(chain):
    """Were it None, the call would pass for plaintext."""
    found, _ = shown_in_extension({"client_cert_chain": chain})
    assert found
    assert not set(found) & set(DER)


def test_one_unreadable_certificate_spoils_no_other_and_is_not_left_out():
    found, _ = shown_in_extension({"client_cert_chain": [PEM[0], "garbage"]})
    assert found[0] == DER[0]
    assert len(found) == 2


@pytest.mark.parametrize("extension", [{}, {"client_cert_chain": []}, {"client_cert_chain": None}])
def test_who_showed_nothing_has_no_chain(extension):
    assert head_of({"extensions": {"tls": extension}}).chain is None


def test_without_tls_there_is_no_chain():
    assert head_of().chain is None
    assert head_of({"extensions": None}).chain is None
    assert head_of({"extensions": {"tls": None}}).chain is None


def test_an_extension_that_is_no_mapping_is_no_plaintext():
    assert head_of({"extensions": {"tls": "yes"}}).chain is not None


def test_headers_make_no_chain():
    names = [
        b"x-forwarded-client-cert", b"client-cert", b"client-cert-chain", b"ssl-client-cert",
        b"x-ssl-client-cert", b"x-client-cert", b"tls", b"extensions",
    ]  # fmt: skip
    head = head_of({"headers": [(name, PEM[0].replace("\n", "").encode()) for name in names]})
    assert (head.chain, head.sni) == (None, None)


class Protocol:
    """As a server keeps a connection."""

    def __init__(self, connection):
        self.transport = self
        self.asked = []
        self.connection = connection

    def get_extra_info(self, name):
        self.asked.append(name)
        return self.connection if name == "ssl_object" else None

    async def receive(self):
        return {"type": "http.disconnect"}


def test_the_extension_goes_before_the_connection():
    protocol = Protocol(object())
    head = head_of({"extensions": {"tls": {"client_cert_chain": PEM}}}, protocol.receive)
    assert head.chain == DER
    assert "ssl_object" not in protocol.asked


def test_a_plaintext_connection_costs_no_import_of_cryptography():
    program = (
        "import sys; from meshware.asgi.head import inbound_head\n"
        "async def receive(): ...\n"
        "inbound_head({'type': 'http', 'path': '/', 'headers': []}, receive, None)\n"
        "print('cryptography' in sys.modules)"
    )
    said = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True
    )
    assert said.stdout == "False\n"
