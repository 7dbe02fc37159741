"""`X-Forwarded-Client-Cert` as the real Envoy sends it, beside ours: letter by letter."""

from __future__ import annotations

import socket
import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from conformance.static_envoy import PATIENCE_S, StaticEnvoy
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from cryptography.x509.oid import NameOID
from log_world import Inbound

from meshware.identity.issue import Issuer, issue_root, issue_svid, new_key
from meshware.identity.spiffe import SpiffeID
from meshware.identity.xfcc import element, forwarded, last_element

pytestmark = pytest.mark.conformance

PROXY = SpiffeID.parse("spiffe://example.org/ns/edge/sa/proxy")
WEB = SpiffeID.parse("spiffe://example.org/ns/shop/sa/web")

SUBJECTS = {
    "none, as an SVID has": [],
    "a name": [(NameOID.COMMON_NAME, "web")],
    "several": [
        (NameOID.COUNTRY_NAME, "DE"),
        (NameOID.ORGANIZATION_NAME, "Shop, Inc."),
        (NameOID.ORGANIZATIONAL_UNIT_NAME, "a+b"),
        (NameOID.COMMON_NAME, "web"),
    ],
    "what has to be escaped": [(NameOID.COMMON_NAME, ' #a"b\\c;d<e>f=g ')],
    "an element within": [(NameOID.COMMON_NAME, 'x",URI=spiffe://example.org/evil;Subject="y')],
    "letters beyond ASCII": [(NameOID.COMMON_NAME, "m\u00fcller \u2603")],
    "control characters": [(NameOID.COMMON_NAME, "a\x01b\x7fc\td")],
    "rarer attributes": [
        (NameOID.EMAIL_ADDRESS, "a@example.org"),
        (NameOID.SERIAL_NUMBER, "7"),
        (NameOID.GIVEN_NAME, "A"),
        (NameOID.SURNAME, "B"),
        (NameOID.TITLE, "Dr"),
        (NameOID.DOMAIN_COMPONENT, "org"),
        (NameOID.USER_ID, "u"),
        (NameOID.LOCALITY_NAME, "L"),
        (NameOID.STATE_OR_PROVINCE_NAME, "S"),
        (NameOID.STREET_ADDRESS, "1 St"),
        (NameOID.DN_QUALIFIER, "q"),
        (NameOID.COMMON_NAME, "web"),
    ],
}


def leaf_of(root: Issuer, names: list[tuple[x509.ObjectIdentifier, str]]) -> tuple[bytes, str]:
    """A client's certificate with this subject, as DER, and as PEM with its key."""
    key, now = new_key(), datetime.now(UTC)
    leaf = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(kind, value) for kind, value in names]))
        .issuer_name(root.certificate.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.UniformResourceIdentifier(str(WEB))]), critical=True
        )
        .sign(root.key, hashes.SHA256())
    )
    pem = leaf.public_bytes(Encoding.PEM) + key.private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
    )
    return leaf.public_bytes(Encoding.DER), pem.decode()


LOGGED = "|".join(
    f"%DOWNSTREAM_{name}%"
    for name in (
        *("PEER_SUBJECT", "PEER_ISSUER", "PEER_SERIAL", "PEER_FINGERPRINT_256"),
        *("PEER_FINGERPRINT_1", "PEER_URI_SAN", "PEER_CERT_V_START", "PEER_CERT_V_END(%s)"),
        "LOCAL_URI_SAN",
    )
)


class MutualEnvoy(StaticEnvoy):
    """An Envoy with mutual TLS on two ports that answers with the XFCC header it would forward."""

    MODES = ("SANITIZE_SET", "APPEND_FORWARD")

    def __init__(self, program: str, directory: Path, root: Issuer) -> None:
        svid = issue_svid(root, PROXY, new_key(), datetime.now(UTC))
        self.directory = directory
        for name, text in (
            ("cert.pem", svid.cert_pem),
            ("key.pem", svid.key_pem),
            ("ca.pem", root.cert_pem),
        ):
            (directory / name).write_text(text)
        super().__init__(
            program, directory, {"listeners": [self._listener(mode) for mode in self.MODES]}
        )

    def _listener(self, mode: str) -> dict:
        google = "type.googleapis.com/envoy.extensions"
        path = str(self.directory)
        http = {
            "@type": f"{google}.filters.network.http_connection_manager.v3.HttpConnectionManager",
            "stat_prefix": mode,
            "forward_client_cert_details": mode,
            "set_current_client_cert_details": {"subject": True, "uri": True},
            "route_config": {
                "virtual_hosts": [
                    {
                        "name": "all",
                        "domains": ["*"],
                        "routes": [{"match": {"prefix": "/"}, "direct_response": {"status": 200}}],
                        "response_headers_to_add": [
                            {
                                "header": {
                                    "key": "seen",
                                    "value": "%REQ(X-FORWARDED-CLIENT-CERT)%",
                                }
                            },
                            {"header": {"key": "logged", "value": LOGGED}},
                        ],
                    }
                ]
            },
            "http_filters": [
                {
                    "name": "router",
                    "typed_config": {"@type": f"{google}.filters.http.router.v3.Router"},
                }
            ],
        }
        certificate = {
            "certificate_chain": {"filename": f"{path}/cert.pem"},
            "private_key": {"filename": f"{path}/key.pem"},
        }
        tls = {
            "@type": f"{google}.transport_sockets.tls.v3.DownstreamTlsContext",
            "require_client_certificate": True,
            "common_tls_context": {
                "tls_certificates": [certificate],
                "validation_context": {"trusted_ca": {"filename": f"{path}/ca.pem"}},
            },
        }
        return {
            "name": mode,
            "address": {"socket_address": {"address": "127.0.0.1", "port_value": 0}},
            "filter_chains": [
                {
                    "transport_socket": {"name": "tls", "typed_config": tls},
                    "filters": [{"name": "http", "typed_config": http}],
                }
            ],
        }

    def forwards(self, mode: str, pem: str, sent: str | None) -> str:
        """What it would forward of a client with this certificate that sends this header."""
        return self._answer(mode, pem, sent)["seen"]

    def logs(self, pem: str) -> str:
        """What it would log of a client with this certificate."""
        return self._answer("SANITIZE_SET", pem, None)["logged"]

    def _answer(self, mode: str, pem: str, sent: str | None) -> dict[str, str]:
        path = self.directory / "client.pem"
        path.write_text(pem)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        context.load_cert_chain(path)
        raw = socket.create_connection(("127.0.0.1", self.ports[mode]))
        answer = _get(context.wrap_socket(raw), "/", sent, until=b"\r\n\r\n")
        pairs = (line.split(": ", 1) for line in answer.splitlines() if ": " in line)
        return dict(pairs)


def _get(
    connection: socket.socket, path: str, xfcc: str | None = None, until: bytes | None = None
) -> str:
    """What comes back, up to these bytes: Envoy takes a second to close."""
    more = "" if xfcc is None else f"X-Forwarded-Client-Cert: {xfcc}\r\n"
    with connection:
        connection.settimeout(PATIENCE_S)
        request = f"GET {path} HTTP/1.1\r\nHost: x\r\n{more}Connection: close\r\n\r\n"
        connection.sendall(request.encode("latin-1"))
        answer = b""
        while data := connection.recv(65536):
            answer += data
            if until is not None and until in answer:
                break
    return answer.decode("latin-1")


@pytest.fixture(scope="module")
def root() -> Issuer:
    return issue_root("example.org", new_key(), datetime.now(UTC), 86400)


@pytest.fixture(scope="module")
def envoy(engine, tmp_path_factory, root):
    found = MutualEnvoy(engine("envoy"), tmp_path_factory.mktemp("xfcc"), root)
    yield found
    found.close()


@pytest.mark.parametrize("names", SUBJECTS.values(), ids=SUBJECTS)
def test_our_element_is_envoys(envoy, root, names):
    """And what Envoy writes is read as it was meant, whatever the client sends or is called."""
    der, pem = leaf_of(root, names)
    ours = element(PROXY, der, WEB)
    for sent in (None, "By=x;URI=spiffe://example.org/evil"):
        for mode in envoy.MODES:
            seen = envoy.forwards(mode, pem, sent)
            assert seen == forwarded(mode, [sent] if sent else [], ours)
            found = last_element([seen], PROXY)
            assert (found.id, found.by) == (WEB, str(PROXY))


PROXY_POLICY = """
apiVersion: networking.istio.io/v1
kind: WorkloadEntry
metadata: {name: proxy, namespace: edge}
spec: {address: 10.0.0.1, serviceAccount: proxy, labels: {app: proxy}}
---
apiVersion: meshware.dev/v1alpha1
kind: MeshConfig
metadata: {name: mesh, namespace: istio-system}
spec: {trustDomain: example.org}
"""


def of_log(line: str) -> str:
    """What a header would say in place of a log: nothing for what there is not."""
    return "|".join("" if value == "-" else value for value in line.split("|"))


def test_access_logs_say_of_an_identity_what_envoys_do(envoy, root):
    """Of a caller that has proved who it is, and of oneself."""
    svid = issue_svid(root, WEB, new_key(), datetime.now(UTC))
    world = Inbound(
        PROXY_POLICY,
        workload="edge/proxy",
        bundles={"example.org": root.cert_pem},
        now=datetime.now(UTC),
    )
    shown = {"tls": {"client_cert_chain": [svid.cert_pem], "server_name": "app.example"}}
    event = world.call(extensions=shown)
    assert event.status == 200
    said = world.line(LOGGED, event)
    assert of_log(said) == envoy.logs(svid.cert_pem + svid.key_pem)
    assert said.split("|")[5] == str(WEB)
    assert said.split("|")[8] == str(PROXY)
    assert world.line("%REQUESTED_SERVER_NAME%", event) == "app.example"


@pytest.mark.parametrize("names", SUBJECTS.values(), ids=SUBJECTS)
def test_access_logs_say_of_a_certificate_what_envoys_do(envoy, root, names):
    """Whatever is in it; here it is refused, which is no reason not to say what was shown."""
    _, pem = leaf_of(root, names)
    world = Inbound(
        PROXY_POLICY,
        workload="edge/proxy",
        bundles={"example.org": root.cert_pem},
        now=datetime.now(UTC),
    )
    leaf = pem[: pem.index("-----BEGIN", 10)] if pem.count("-----BEGIN") > 1 else pem
    event = world.call(extensions={"tls": {"client_cert_chain": [leaf]}})
    ours, theirs = of_log(world.line(LOGGED, event)).split("|"), envoy.logs(pem).split("|")
    del ours[5], theirs[5]  # an identity is said when it is proved
    assert ours == theirs
