"""`X-Forwarded-Client-Cert`: what Envoy writes is read, what attackers make of it is not."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from hypothesis import example, given
from hypothesis import strategies as st

from meshware.errors import TokenError
from meshware.identity.issue import issue_root, issue_svid, new_key
from meshware.identity.spiffe import SpiffeID
from meshware.identity.xfcc import MAX_XFCC_BYTES, Forwarded, element, forwarded, last_element

PROXY = SpiffeID.parse("spiffe://example.org/ns/edge/sa/proxy")
WEB = SpiffeID.parse("spiffe://example.org/ns/shop/sa/web")
EVIL = "spiffe://example.org/ns/admin/sa/root"
HASH = "ab" * 32
OURS = f'By={PROXY};Hash={HASH};Subject="";URI={WEB}'

GOOD = {
    "as Envoy writes it": [OURS],
    "an element of another proxy before": [
        f'By=spiffe://other/proxy;Hash={HASH};Subject="CN=x";URI={EVIL},{OURS}'
    ],
    "a space between elements": [f"URI={EVIL}, {OURS}"],
    "in a line before": [f"URI={EVIL}", OURS],
    "blanks around the line": [f" {OURS}\t"],
    "keys in any case": [f'by={PROXY};hash={HASH};SUBJECT="";uRi={WEB}'],
    "a URI within the subject": [f'By={PROXY};Subject="CN=;URI={EVIL}";URI={WEB}'],
    "an element within the subject": [f'By={PROXY};Subject="CN=x,URI={EVIL}";URI={WEB}'],
    "an escaped quote in the subject": [f'By={PROXY};Subject="CN=\\";URI={EVIL};x=\\"";URI={WEB}'],
    "an escaped backslash ends no quote early": [f'By={PROXY};Subject="CN=a\\\\";URI={WEB}'],
    "an escaped comma": [f'By={PROXY};Subject="CN=a\\,b";URI={WEB}'],
    "certificates": [f'By={PROXY};Cert="-----BEGIN%20C";Chain="%0A";URI={WEB}'],
    "names": [f"By={PROXY};URI={WEB};DNS=a.example.org;DNS=b.example.org"],
    "a quoted URI": [f'By={PROXY};URI="{WEB}"'],
    "without By and Hash": [f"URI={WEB}"],
    "an empty DNS name": [f"URI={WEB};DNS="],
}


@pytest.mark.parametrize("values", GOOD.values(), ids=GOOD)
def test_the_last_element_says_who_called_the_proxy(values):
    """And none before it, nor any text that only looks like one."""
    found = last_element(values, PROXY)
    assert found.id == WEB
    assert found.by in (None, str(PROXY))


def test_what_an_element_says_is_told():
    """Who wrote it and of which certificate."""
    assert last_element([OURS], PROXY) == Forwarded(WEB, str(PROXY), HASH)


BAD = {
    "nothing": [],
    "an empty line": [""],
    "an empty line behind": [OURS, ""],
    "a comma alone": [","],
    "an empty element first": [f",{OURS}"],
    "an empty element last": [f"{OURS},"],
    "an empty element between": [f"{OURS},,{OURS}"],
    "an empty pair": [f"By={PROXY};;URI={WEB}"],
    "a semicolon last": [f"{OURS};"],
    "a semicolon first": [f";{OURS}"],
    "a key alone": [f"By;URI={WEB}"],
    "a value alone": [str(WEB)],
    "no key": [f"={WEB}"],
    "a quote left open": [f'By={PROXY};Subject="CN=x;URI={WEB}'],
    "a quote opened by the client": [f'Subject="x,{OURS}'],
    "a quote opened by the client, closed by the proxy's": [f'Subject=",{OURS}'],
    "text behind a quote": [f'By={PROXY};Subject="CN=x"y;URI={WEB}'],
    "a quote within a bare value": [f'By={PROXY};Subject=CN"x";URI={WEB}'],
    "an escape that eats the closing quote": [f'Subject="\\",{OURS}'],
    "a backslash in a bare value": [f"By={PROXY};Subject=a\\;URI={WEB}"],
    "a backslash at the end": [f'By={PROXY};Subject="x\\'],
    "an equals sign in a bare value": [f"By={PROXY};URI={WEB}=x"],
    "a space in a bare value": [f"By={PROXY};URI={WEB} x"],
    "a space before a key": [f"By={PROXY}; URI={WEB}"],
    "a space behind a key": [f"By={PROXY};URI ={WEB}"],
    "two spaces between elements": [f"URI={EVIL},  {OURS}"],
    "an unknown key": [f"By={PROXY};Spiffe={EVIL};URI={WEB}"],
    "an unknown key before": [f"X=1,{OURS}"],
    "By twice": [f"By={PROXY};By={PROXY};URI={WEB}"],
    "Hash twice": [f"Hash={HASH};Hash={HASH};URI={WEB}"],
    "Subject twice": [f'Subject="";subject="";URI={WEB}'],
    "two URIs": [f"By={PROXY};URI={WEB};URI={EVIL}"],
    "two URIs, in another case": [f"By={PROXY};URI={EVIL};uri={WEB}"],
    "the same URI twice": [f"By={PROXY};URI={WEB};URI={WEB}"],
    "no URI": [f'By={PROXY};Hash={HASH};Subject=""'],
    "no URI in the last": [f"{OURS},By={PROXY};Hash={HASH}"],
    "an empty URI": [f"By={PROXY};URI="],
    "an empty quoted URI": [f'By={PROXY};URI=""'],
    "no SPIFFE ID": [f"By={PROXY};URI=https://example.org/x"],
    "a trust domain alone": [f"By={PROXY};URI=spiffe://example.org"],
    "a SPIFFE ID with a port": [f"By={PROXY};URI=spiffe://example.org:1/x"],
    "a SPIFFE ID with a user": [f"By={PROXY};URI=spiffe://a@example.org/x"],
    "a SPIFFE ID with a query": [f'By={PROXY};URI="spiffe://example.org/x?a=1"'],
    "a SPIFFE ID with dots": [f"By={PROXY};URI=spiffe://example.org/a/../b"],
    "a SPIFFE ID with a percent sign": [f"By={PROXY};URI=spiffe://example.org/a%2fb"],
    "a SPIFFE ID in upper case": [f"By={PROXY};URI=SPIFFE://example.org/a"],
    "a SPIFFE ID that is too long": [f"By={PROXY};URI=spiffe://example.org/{'a' * 2048}"],
    "a NUL": [f"By={PROXY};URI={WEB}\x00"],
    "a NUL within the subject": [f'By={PROXY};Subject="a\x00b";URI={WEB}'],
    "a line end": [f"By={PROXY};URI={WEB}\r\nx: y"],
    "a line feed within the subject": [f'By={PROXY};Subject="a\nb";URI={WEB}'],
    "a tab within": [f"By={PROXY};\tURI={WEB}"],
    "DEL": [f"By={PROXY};URI={WEB}\x7f"],
    "a byte that is not ASCII": [f'By={PROXY};Subject="\xe9";URI={WEB}'],
    "a full-width comma": [f"By={PROXY};URI={WEB}\uff0cURI={EVIL}"],
    "a lone surrogate": [f"By={PROXY};URI={WEB}\ud800"],
    "written by another proxy": [f"By=spiffe://example.org/ns/edge/sa/other;URI={WEB}"],
    "written by nobody": [f"By=;URI={WEB}"],
    "By differs in case": [f"By={str(PROXY).upper()};URI={WEB}"],
    "a hash that is none": [f"By={PROXY};Hash=zz;URI={WEB}"],
    "a hash in upper case": [f"By={PROXY};Hash={HASH.upper()};URI={WEB}"],
    "an empty hash": [f"By={PROXY};Hash=;URI={WEB}"],
    "broken in a line before": ['By="', OURS],
    "longer than may be": [f'Subject="{"x" * MAX_XFCC_BYTES}",{OURS}'],
    "longer in all lines together": [OURS] * 400,
    "more pairs than anybody needs": [f"{'DNS=a;' * 300}URI={WEB}"],
    "garbage": ['\\\\";;,,=='],
}


@pytest.mark.parametrize("values", BAD.values(), ids=BAD)
def test_what_envoy_never_writes_is_refused(values):
    """Wherever it stands: a parser that goes on behind a mistake can be led astray."""
    with pytest.raises(TokenError):
        last_element(values, PROXY)


_pieces = st.sampled_from(
    [
        *'",;=\\ ',
        "By=",
        "URI=",
        "Subject=",
        "Hash=",
        "DNS=",
        str(PROXY),
        str(WEB),
        EVIL,
        "x",
        "\x00",
    ]
)
_texts = st.one_of(st.text(max_size=200), st.lists(_pieces, max_size=30).map("".join))


@given(st.lists(_texts, max_size=4))
@example(['Subject="' + "\\" * 5000])
def test_no_text_does_anything_else_than_be_read_or_refused(values):
    """No exception but the declared one."""
    try:
        last_element(values, PROXY)
    except TokenError:
        pass


@given(_texts)
def test_whatever_a_client_sends_before_the_proxys_element_stays_the_proxys(before):
    """Appended behind any text, our element is the last, or all of it is refused."""
    try:
        found = last_element([f"{before},{OURS}"], PROXY)
    except TokenError:
        return
    assert (found.id, found.by, found.hash) == (WEB, str(PROXY), HASH)


@given(st.text(alphabet=st.characters(codec="utf-8"), min_size=1, max_size=16))
@example('CN="x",\\;URI=spiffe://a/b')
@example("\x01\x7f é ☃")
def test_no_subject_breaks_out_of_an_element(name):
    """A certificate may bear any name; the element is read back as it was meant."""
    leaf = _leaf(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
    assert last_element([element(PROXY, leaf, WEB)], PROXY).id == WEB


def _leaf(subject: x509.Name) -> bytes:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(_KEY.public_key())
        .serial_number(1)
        .not_valid_before(now)
        .not_valid_after(now + timedelta(days=1))
        .sign(_KEY, hashes.SHA256())
        .public_bytes(Encoding.DER)
    )


_KEY = new_key()


def test_an_svid_has_an_empty_subject():
    """In quotes all the same, as Envoy has it."""
    now = datetime(2026, 1, 1, tzinfo=UTC)
    root = issue_root("example.org", new_key(), now, 86400)
    leaf = issue_svid(root, WEB, new_key(), now).leaf
    der = leaf.public_bytes(Encoding.DER)
    digest = leaf.fingerprint(hashes.SHA256()).hex()
    assert element(PROXY, der, WEB) == f'By={PROXY};Hash={digest};Subject="";URI={WEB}'
    assert element(None, der, WEB) == f'Hash={digest};Subject="";URI={WEB}'


@pytest.mark.parametrize(
    ("mode", "received", "own", "sent"),
    [
        ("SANITIZE", ["a"], "b", None),
        ("SANITIZE_SET", ["a"], "b", "b"),
        ("SANITIZE_SET", ["a"], None, None),
        ("APPEND_FORWARD", ["a"], "b", "a,b"),
        ("APPEND_FORWARD", ["a", " c"], "b", "a,c,b"),
        ("APPEND_FORWARD", [], "b", "b"),
        ("APPEND_FORWARD", ["a"], None, "a"),
        ("APPEND_FORWARD", [], None, None),
    ],
)
def test_what_an_app_gets_is_as_mesh_config_says(mode, received, own, sent):
    """Source: Envoy, `forward_client_cert_details`."""
    assert forwarded(mode, received, own) == sent
