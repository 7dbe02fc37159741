"""TLS to a service: with the caller's own settings, and for the name that the caller wrote."""

from __future__ import annotations

import asyncio
import datetime
import ssl
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import aiohttp
import pytest
import requests
from client_world import World, service
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from meshware.clients.aiohttp import MeshClientMiddleware
from meshware.clients.requests import MeshAdapter
from meshware.clients.urllib3 import MeshPoolManager

Answer = tuple[int, bytes, str]


def certificate(place: Path, name: str) -> Path:
    """A certificate for a name that signs itself, with its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = place / f"{name}.pem"
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        + made.public_bytes(serialization.Encoding.PEM)
    )
    return path


class Handler(BaseHTTPRequestHandler):
    """Says which host it was asked for."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        body = self.headers["host"].encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[World, Path]]:
    """A service `orders` behind TLS, at an address that no certificate names."""
    path = certificate(tmp_path, "orders")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    server = HTTPServer(("127.0.0.1", 0), Handler)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    server.handle_error = lambda *_: None  # type: ignore[method-assign]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    text = service("orders", server.server_port).replace("number: 80,", "number: 443,")
    try:
        yield World(text.replace("protocol: HTTP}", "protocol: HTTPS}")), path
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def over_urllib3(world: World, url: str, trusted: Path) -> Answer:
    with MeshPoolManager(world, ca_certs=str(trusted)) as manager:
        response = manager.request("GET", url)
        return response.status, response.data, response.meshware.flags


def over_requests(world: World, url: str, trusted: Path) -> Answer:
    with requests.Session() as session:
        session.mount("https://", MeshAdapter(world))
        response = session.get(url, verify=str(trusted))
        return response.status_code, response.content, response.meshware.flags


def over_aiohttp(world: World, url: str, trusted: Path) -> Answer:
    async def call() -> Answer:
        middlewares = (MeshClientMiddleware(world),)
        async with (
            aiohttp.ClientSession(middlewares=middlewares) as session,
            session.get(url, ssl=ssl.create_default_context(cafile=str(trusted))) as response,
        ):
            return response.status, await response.read(), response.meshware.flags

    return asyncio.run(call())


every_way = pytest.mark.parametrize("over", [over_requests, over_urllib3, over_aiohttp])


@every_way
def test_the_certificate_is_for_the_name_wherever_it_is_dialled(
    served: tuple[World, Path], over: Callable[..., Answer]
):
    """And trusted as the caller says."""
    world, trusted = served
    assert over(world, "https://orders/", trusted) == (200, b"orders", "-")


@every_way
def test_a_certificate_for_another_name_is_refused(
    served: tuple[World, Path], over: Callable[..., Answer]
):
    """Before a byte of the request is sent: so it is tried again, and answered as Envoy does."""
    world, trusted = served
    status, body, flags = over(world, "https://orders.default/", trusted)
    assert (status, flags) == (503, "UF,URX")
    assert b"transport failure reason: TLS_error: " in body


@every_way
def test_a_certificate_that_nobody_trusts_is_refused(
    served: tuple[World, Path], over: Callable[..., Answer], tmp_path: Path
):
    """Whatever it is for."""
    world, _ = served
    (tmp_path / "other").mkdir()
    status, _, flags = over(world, "https://orders/", certificate(tmp_path / "other", "orders"))
    assert (status, flags) == (503, "UF,URX")
