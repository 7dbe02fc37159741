"""ASGI servers that are told of the mesh by their own settings, without a line in the app."""

from __future__ import annotations

import http.client
import json
import sys

import pytest
from cryptography import x509
from tls_servers import CALLER, SELF, World, svid_of, tls_serving
from websockets.sync.client import connect

UVICORN = """
import uvicorn
from meshware.servers.uvicorn import ssl_context_factory

uvicorn.run(
    "served_tls_asgi:app", port=0, ssl_context_factory=ssl_context_factory, http={http!r}, ws={ws!r}
)
"""
HYPERCORN = """
from hypercorn.run import run
from meshware.servers.hypercorn import MeshConfig

config = MeshConfig()
config.bind = ["127.0.0.1:0"]
config.application_path = "served_tls_asgi:app"
config.workers = {workers}
run(config)
"""
GUNICORN = """
from meshware.servers.gunicorn_asgi import ssl_context

certfile = "run/identity/default/app/svid.pem"
control_socket_disable = True
"""
OURS = "meshware.servers.uvicorn:"
PROGRAMS = {
    "uvicorn": UVICORN.format(http=f"{OURS}HTTP", ws=f"{OURS}WebSocket"),
    "uvicorn h11 websockets": UVICORN.format(http=f"{OURS}H11", ws=f"{OURS}WebSockets"),
    "uvicorn httptools wsproto": UVICORN.format(http=f"{OURS}HttpTools", ws=f"{OURS}WSProto"),
    "hypercorn in process": HYPERCORN.format(workers=0),
    "hypercorn two workers": HYPERCORN.format(workers=2),
}


@pytest.mark.parametrize("program", PROGRAMS)
def test_the_app_is_told_of_tls_by_asgis_own_extension(program, tmp_path):
    world = World(tmp_path / "run")
    command = [sys.executable, "-c", PROGRAMS[program]]
    with tls_serving(command, tmp_path, world) as server:
        context = world.client_context(svid_of(world.issuer, CALLER))
        said = server.ask(context, name="orders.shop")
        assert (said["peer"], said["sni"]) == (CALLER, "orders.shop")
        extension = said["extension"]
        assert extension["tls_version"] == 0x0304
        assert extension["cipher_suite"] in (0x1301, 0x1302, 0x1303)
        assert extension["server_name"] == "orders.shop"
        assert extension["client_cert_error"] is None
        leaf = x509.load_pem_x509_certificate(extension["client_cert_chain"][0].encode())
        assert CALLER in str(leaf.extensions)
        assert extension["client_cert_name"] == leaf.subject.rfc4514_string()
        own = x509.load_pem_x509_certificate(extension["server_cert"].encode())
        assert SELF in str(own.extensions)
        place = f"127.0.0.1:{server.port}"
        with connect(f"wss://{place}/", ssl=context, server_hostname="orders") as websocket:
            said = json.loads(websocket.recv())
            websocket.send("enough")
        assert (said["peer"], said["sni"], said["scheme"]) == (CALLER, "orders", "wss")
        assert said["extension"]["client_cert_chain"] == extension["client_cert_chain"]
        with pytest.raises((OSError, http.client.HTTPException)):
            server.ask(None, "/plaintext")
        assert "/plaintext" not in server.calls()


def test_gunicorns_asgi_worker_takes_the_context_from_its_hook(tmp_path):
    world = World(tmp_path / "run")
    (tmp_path / "gunicorn.conf.py").write_text(GUNICORN)
    command = ["gunicorn", "-k", "asgi", "-b", "127.0.0.1:0", "served_tls_asgi:app"]
    with tls_serving(command, tmp_path, world) as server:
        context = world.client_context(svid_of(world.issuer, CALLER))
        said = server.ask(context, name="orders.shop")
        assert (said["peer"], said["sni"], said["scheme"]) == (CALLER, "orders.shop", "https")
        with pytest.raises((OSError, http.client.HTTPException)):
            server.ask(None, "/plaintext")
        assert "/plaintext" not in server.calls()
