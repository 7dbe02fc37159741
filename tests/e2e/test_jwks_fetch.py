"""Fetching keys from real servers, of which hardly any means well."""

from __future__ import annotations

import json
import socket
import threading
import time
from contextlib import closing

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from key_server import drips, endless, key_server, key_set, never, new_key, raw, redirects, says

from meshware.identity.jwk import public_jwk
from meshware.policy.jwks_records import DISCOVERY, JwksSource
from meshware.policy.record_types import KeyFetching
from meshware.runtime.dns_lookup import lookup_for
from meshware.runtime.dns_schedule import Bad, Good
from meshware.runtime.jwks_fetch import KeyFetcher
from meshware.runtime.jwks_schedule import Failed, Fetched, FetchJob

TIMEOUT_S = 1.0
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"


@pytest.fixture
def server(tmp_path):
    """A server whose certificate is for `localhost`, `127.0.0.1` and `id.test`."""
    with key_server(tmp_path, "localhost", "127.0.0.1", "id.test") as made:
        yield made


class Names:
    """Stands for DNS: answers as told, and counts."""

    def __init__(self, **answers):
        self.answers = {name.replace("_", "."): list(found) for name, found in answers.items()}
        self.asked = []

    def __call__(self, name):
        self.asked.append(name)
        found = self.answers.get(name)
        if not found:
            return Bad("nxdomain", "no such name (NXDOMAIN)")
        answer = found.pop(0) if len(found) > 1 else found[0]
        return Good(answer if isinstance(answer, tuple) else (answer,), None)


def allowed(server, *hosts, **more):
    """Rules under which a server of a test may be asked."""
    ca_file = str(server.ca_file) if server.scheme == "https" else None
    return KeyFetching(**{"internal_hosts": hosts or ("localhost",), "ca_file": ca_file, **more})


def fetch(uri, rules, lookup=None, timeout_s=TIMEOUT_S, **source):
    """Fetch once."""
    job = FetchJob(JwksSource(uri, timeout_s=timeout_s, **source), rules)
    return KeyFetcher(lookup or lookup_for())(job)


def failed(outcome, reason, words=""):
    """Say that a fetch came to this, in a sentence."""
    assert isinstance(outcome, Failed), outcome
    assert outcome.reason == reason, outcome
    assert words in outcome.detail, outcome
    return True


# --- good servers ---------------------------------------------------------------------------------


def test_keys_are_fetched_by_https_and_nothing_more_is_told(server):
    """One request, plain and small, and no credentials of anybody."""
    server.say(says(key_set(new_key("a"))), "/keys?v=1")
    outcome = fetch(server.uri("/keys?v=1"), allowed(server))
    assert isinstance(outcome, Fetched)
    assert json.loads(outcome.keys)["keys"][0]["kid"] == "a"
    assert server.requests == [
        f"GET /keys?v=1 HTTP/1.1\r\nHost: localhost:{server.port}\r\nUser-Agent: meshware\r\n"
        "Accept: application/json\r\nAccept-Encoding: identity\r\nConnection: close\r\n\r\n"
    ]


def test_the_environment_has_no_say(server, monkeypatch, tmp_path):
    """Neither a proxy of it nor the users of a `.netrc`."""
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    (tmp_path / ".netrc").write_text("machine localhost login a password b\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    server.say(says(key_set(new_key("a"))))
    assert isinstance(fetch(server.uri(), allowed(server)), Fetched)
    assert "authorization" not in server.requests[0].lower()


@pytest.mark.parametrize(
    "framing",
    [
        lambda body: HEAD + b"\r\n" + body,
        lambda body: (
            HEAD + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n" % len(body) + body + b"\r\n0\r\n\r\n"
        ),
        lambda body: b"HTTP/1.1 100 Continue\r\n\r\n" + HEAD + b"\r\n" + body,
    ],
    ids=["until-the-end", "chunked", "after-100"],
)
def test_an_answer_may_be_framed_in_any_way(server, framing):
    """Of HTTP/1.1."""
    server.say(raw(framing(key_set(new_key("a")))))
    assert isinstance(fetch(server.uri(), allowed(server)), Fetched)


@pytest.mark.parametrize("status", ["301 X", "302 X", "303 X", "307 X", "308 X"])
def test_a_redirect_within_the_server_is_followed(server, status):
    """Three of them."""
    server.say(redirects("/b", status))
    server.say(redirects(server.uri("/c"), status), "/b")
    server.say(redirects("d", status), "/c")
    server.say(says(key_set(new_key("a"))), "/d")
    assert isinstance(fetch(server.uri(), allowed(server)), Fetched)


def test_an_address_that_takes_no_connection_leaves_the_others(server):
    """Each has its share of the time."""
    names = Names(id_test=[("127.0.0.2", "127.0.0.1")])
    server.say(says(key_set(new_key("a"))))
    outcome = fetch(server.uri(host="id.test"), allowed(server, "id.test"), names)
    assert isinstance(outcome, Fetched)


def test_keys_come_the_same_whatever_their_order_and_company(server):
    """So that policy changes when keys do, and not otherwise."""
    one, two = new_key("a"), new_key("b")
    weak = public_jwk(rsa.generate_private_key(65537, 1024), kid="weak")
    for_secrets = {**new_key("c"), "use": "enc"}
    with_chain = {**two, "x5c": ["MIIB"], "x5t": "abc", "comment": "x" * 1000}
    server.say(says(key_set(one, two)), "/one")
    server.say(says(key_set(weak, with_chain, one, one, for_secrets, {"kty": "odd"})), "/two")
    outcomes = {fetch(server.uri(path), allowed(server)) for path in ("/one", "/two")}
    assert len(outcomes) == 1
    assert [key["kid"] for key in json.loads(outcomes.pop().keys)["keys"]] == ["a", "b"]


# --- discovery ------------------------------------------------------------------------------------


def discovered(server, document, **how):
    """Fetch by way of an issuer's configuration."""
    issuer = server.uri("")
    server.say(says(json.dumps(document).encode()), DISCOVERY)
    return fetch(issuer + DISCOVERY, allowed(server), is_discovery=True, issuer=issuer, **how)


def test_an_issuers_configuration_says_where_its_keys_are(server):
    """As OpenID Connect has it."""
    server.say(says(key_set(new_key("a"))), "/where")
    document = {"issuer": server.uri(""), "jwks_uri": server.uri("/where"), "scopes_supported": []}
    assert isinstance(discovered(server, document), Fetched)


@pytest.mark.parametrize("issuer", ["slash", "case", "other", None, 7])
def test_a_configuration_of_another_issuer_is_not_believed(server, issuer):
    """To the letter."""
    own = server.uri("")
    said = {"slash": own + "/", "case": own.upper(), "other": "https://id.test"}.get(issuer, issuer)
    server.say(says(key_set(new_key("a"))))
    outcome = discovered(server, {"issuer": said, "jwks_uri": server.uri()})
    assert failed(outcome, "content", "another issuer")
    assert server.times_asked() == 0


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        (None, "content"),
        ("", "content"),
        ("file:///etc/passwd", "address"),
        ("http://localhost/keys", "address"),
        ("https://169.254.169.254/latest", "address"),
        ("https://127.0.0.1/keys", "address"),
        ("https://user@localhost/keys", "address"),
    ],
)
def test_the_address_in_a_configuration_obeys_the_same_rules(server, address, reason):
    """Whoever serves it chooses it."""
    assert failed(discovered(server, {"issuer": server.uri(""), "jwks_uri": address}), reason)


def test_both_documents_have_one_time_out(server):
    """A quick configuration and slow keys."""
    server.say(drips(HEAD + b"\r\n"))
    began = time.monotonic()
    document = {"issuer": server.uri(""), "jwks_uri": server.uri()}
    assert failed(discovered(server, document), "timeout")
    assert time.monotonic() - began < 3 * TIMEOUT_S


# --- answers that are no keys ---------------------------------------------------------------------

SECRET = {"kty": "oct", "k": "c2VjcmV0", "kid": "s"}

ANSWERS = {
    "500": (says(key_set(), "500 Oops"), "status", "500"),
    "404": (says(b"", "404 Not Found"), "status", "404"),
    "204": (raw(b"HTTP/1.1 204 No Content\r\n\r\n"), "status", "204"),
    "html": (says(b"<html><body>log in</body></html>"), "content", "JSON"),
    "empty": (says(b""), "content", "JSON"),
    "no keys": (says(b"{}"), "content", "no key set"),
    "list": (says(b"[]"), "content", "no key set"),
    "keys of no list": (says(b'{"keys": {}}'), "content", "no key set"),
    "empty list": (says(key_set()), "content", "not 1 to 100 keys"),
    "odd key": (says(b'{"keys": [7]}'), "content", "no key that can verify"),
    "twice": (says(b'{"keys": [], "keys": []}'), "content", "twice"),
    "utf-16": (says('{"keys": []}'.encode("utf-16")), "content", "UTF-8"),
    "deep": (says(b"[" * 100_000), "content", "deep"),
    "oct": (says(key_set(SECRET, new_key("a"))), "content", "holds a secret"),
    "private": (says(key_set({**new_key("a"), "d": "AA"})), "content", "holds a secret"),
    "many": (says(key_set(*[new_key("a")] * 101)), "content", "not 1 to 100 keys"),
    "gzip": (says(key_set(new_key("a")), "200 OK", "Content-Encoding: gzip"), "content", "compr"),
    "no http": (raw(b"SSH-2.0-OpenSSH\r\n"), "content", "no HTTP"),
    "nothing": (raw(b""), "content", "no HTTP"),
    "cut": (raw(HEAD + b"Content-Length: 1000\r\n\r\n{"), "content", "cut"),
    "cut chunk": (raw(HEAD + b"Transfer-Encoding: chunked\r\n\r\nff\r\n{"), "content", "cut"),
    "bad chunk": (raw(HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n{"), "content", "cut"),
    "many headers": (raw(b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 500 + b"\r\n"), "content", "HTTP"),
    "long": (raw(HEAD + b"Content-Length: 104857600\r\n\r\n"), "size", "1048576"),
    "100 MB": (endless(HEAD + b"\r\n"), "size", "1048576"),
    "100 MB, said to be less": (
        endless(HEAD + b"Transfer-Encoding: chunked\r\n\r\n6400000\r\n"),
        "size",
        "1048576",
    ),
    "endless 100": (endless(b"HTTP/1.1 100 Continue\r\n\r\n" * 100_000), "size", "1048576"),
    "silence": (never, "timeout", "timeout"),
    "drip in the head": (drips(b"HTTP/1.1 200 OK\r\nX: "), "timeout", "timeout"),
    "drip in the body": (drips(HEAD + b"Content-Length: 1000\r\n\r\n"), "timeout", "timeout"),
    "loop": (redirects("/keys"), "redirect", "more than 3"),
    "nowhere": (says(b"", "302 Found"), "redirect", "nowhere"),
    "other host": (redirects("https://evil.example.com/keys"), "redirect", "another place"),
    "other host, short": (redirects("//169.254.169.254/keys"), "redirect", "another place"),
    "other port": (redirects("https://localhost:1/keys"), "redirect", "another place"),
    "down to http": (redirects("http://localhost/keys"), "redirect", "another place"),
    "file": (redirects("file:///etc/passwd"), "redirect", "none"),
    "user": (redirects("https://a@localhost/"), "redirect", "none"),
}


@pytest.mark.parametrize(("answer", "reason", "words"), ANSWERS.values(), ids=ANSWERS.keys())
def test_what_is_no_key_set_is_no_answer(server, answer, reason, words):
    """Soon, in a small part of memory, and with a sentence that says what is wrong."""
    server.say(answer)
    began = time.monotonic()
    assert failed(fetch(server.uri(), allowed(server)), reason, words)
    assert time.monotonic() - began < 3 * TIMEOUT_S
    assert server.times_asked() <= 4


def test_a_handshake_that_never_ends_is_not_waited_for():
    """A server that takes the connection, and says nothing."""
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        uri = f"https://localhost:{listener.getsockname()[1]}/"
        began = time.monotonic()
        rules = KeyFetching(internal_hosts=("localhost",))
        assert failed(fetch(uri, rules), "timeout")
        assert time.monotonic() - began < 3 * TIMEOUT_S


def test_a_handshake_that_drips_is_not_waited_for():
    """A byte now and again would keep a time-out of single reads waiting."""
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:

        def drip():
            connection, _ = listener.accept()
            with closing(connection), pytest.raises(OSError, match="."):
                for byte in b"\x16\x03\x03\x40\x00" + b"\x02" * 16384:
                    connection.sendall(bytes([byte]))
                    time.sleep(0.05)

        thread = threading.Thread(target=drip)
        thread.start()
        began = time.monotonic()
        uri = f"https://localhost:{listener.getsockname()[1]}/"
        outcome = fetch(uri, KeyFetching(internal_hosts=("localhost",)))
        assert isinstance(outcome, Failed)
        assert time.monotonic() - began < 3 * TIMEOUT_S
        thread.join(10)


# --- places that may not be asked -----------------------------------------------------------------


def test_http_is_refused_unless_the_mesh_allows_that_host(tmp_path):
    """Anybody on the way could put in keys of his own."""
    with key_server(tmp_path, tls=False) as server:
        server.say(says(key_set(new_key("a"))))
        assert failed(fetch(server.uri(), allowed(server)), "address", "allowedHttpHosts")
        assert server.requests == []
        rules = allowed(server, http_hosts=("localhost",))
        assert isinstance(fetch(server.uri(), rules), Fetched)
        rules = KeyFetching(http_hosts=("localhost",))
        assert failed(fetch(server.uri(), rules), "address", "allowedInternalHosts")


@pytest.mark.parametrize(
    "answer",
    ["127.0.0.1", "::1", "10.0.0.1", "192.168.0.1", "fd00::1", ("1.1.1.1", "127.0.0.1")],
    ids=str,
)
def test_a_name_that_leads_inside_is_refused_unless_the_mesh_allows_it(server, answer):
    """All addresses of it count: one bad one is enough."""
    names = Names(id_test=[answer])
    outcome = fetch(server.uri(host="id.test"), allowed(server, "other.test"), names)
    assert failed(outcome, "address", "allowedInternalHosts")
    assert server.requests == []


@pytest.mark.parametrize("answer", ["169.254.169.254", "fe80::1", "192.0.2.1", "fd00:ec2::254"])
def test_a_name_that_leads_to_metadata_is_refused_whatever_the_mesh_allows(server, answer):
    """Link-local, documentation, and where clouds keep the secrets of a machine."""
    names = Names(id_test=[answer])
    outcome = fetch(server.uri(host="id.test"), allowed(server, "id.test"), names)
    assert failed(outcome, "address", "never")


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "[64:ff9b::7f00:1]",
        "169.254.169.254",
        "10.1.2.3",
    ],
)
def test_an_address_in_the_text_is_judged_as_well(server, host):
    """Nobody needs a name for it."""
    assert failed(fetch(server.uri(host=host), allowed(server)), "address")
    assert server.requests == []


@pytest.mark.parametrize("host", ["127.1", "2130706433", "0x7f.1", "0177.0.0.1"])
def test_odd_spellings_of_an_address_lead_nowhere(server, host):
    """Whatever the machine's resolver makes of them, it is judged."""
    outcome = fetch(server.uri(host=host), allowed(server))
    assert isinstance(outcome, Failed)
    assert outcome.reason in ("name", "address")
    assert server.requests == []


def test_a_name_that_is_rebound_gets_no_second_look_up(server):
    """The connection goes to the very address that was judged, redirects included."""
    names = Names(id_test=["127.0.0.1", "169.254.169.254"])
    server.say(redirects("/b"))
    server.say(says(key_set(new_key("a"))), "/b")
    outcome = fetch(server.uri(host="id.test"), allowed(server, "id.test"), names)
    assert isinstance(outcome, Fetched)
    assert names.asked == ["id.test"]


def test_a_name_that_nobody_knows_is_told(server):
    """By what DNS said."""
    outcome = fetch(server.uri(host="gone.test"), allowed(server), Names())
    assert failed(outcome, "name", "gone.test cannot be looked up: no such name")


def test_nobody_there_is_told():
    """With the place."""
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        port = listener.getsockname()[1]
    outcome = fetch(f"https://localhost:{port}/", KeyFetching(internal_hosts=("localhost",)))
    assert failed(outcome, "connect", f"localhost:{port} cannot be reached: connection refused")


# --- certificates ---------------------------------------------------------------------------------


def test_a_certificate_of_an_authority_that_is_not_believed_is_refused(server):
    """The system's do not have it; and the remedy is told."""
    outcome = fetch(server.uri(), KeyFetching(internal_hosts=("localhost",)))
    assert failed(outcome, "tls", "spec.jwks.caFile")
    assert server.requests == []


def test_a_certificate_for_another_name_is_refused(tmp_path):
    """Whoever has any certificate is not any host."""
    with key_server(tmp_path, "other.test") as server:
        assert failed(fetch(server.uri(), allowed(server)), "tls", "localhost")
        assert server.requests == []


@pytest.mark.parametrize("content", [None, "", "nonsense"])
def test_a_file_of_authorities_that_cannot_be_used_is_told(server, tmp_path, content):
    """By its place in policy; the system's authorities do not stand in for it."""
    path = tmp_path / "roots.pem"
    if content is not None:
        path.write_text(content)
    outcome = fetch(server.uri(), allowed(server, ca_file=str(path)))
    assert failed(outcome, "tls", "spec.jwks.caFile")
