"""Forwarded certificates without a URI beside them, as nginx sends them."""

from __future__ import annotations

from urllib.parse import quote

import pytest
from secured_apps import TD, WEB, Authority

from meshware.errors import TokenError
from meshware.identity.spiffe import SpiffeID
from meshware.identity.xfcc import last_element

PROXY = SpiffeID.parse(f"spiffe://{TD}/ns/edge/sa/proxy")
AUTHORITY = Authority()
PEM = AUTHORITY.issue(WEB).cert_pem.partition("-----END CERTIFICATE-----\n")
LEAF = PEM[0] + PEM[1]


def test_the_id_is_read_in_the_certificate():
    """It is percent-encoded."""
    assert str(last_element([f'Cert="{quote(LEAF, safe="")}"'], PROXY).id) == WEB


def test_a_uri_counts_where_both_are_there():
    """That is Envoy's, which verified it."""
    said = f'Cert="{quote(LEAF, safe="")}";URI=spiffe://{TD}/ns/default/sa/other'
    assert str(last_element([said], PROXY).id).endswith("/other")


@pytest.mark.parametrize(
    "cert",
    ["", "x", quote("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"), "%ff%00"],
)
def test_what_is_no_certificate_is_refused(cert):
    """And never taken for nobody."""
    with pytest.raises(TokenError):
        last_element([f'Cert="{cert}"'], PROXY)


def test_a_certificate_without_a_spiffe_id_is_refused():
    """A root has none that counts."""
    with pytest.raises(TokenError):
        last_element([f'Cert="{quote(AUTHORITY.issuer.cert_pem)}"'], PROXY)
