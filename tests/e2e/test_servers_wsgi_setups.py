"""How WSGI servers are set up for mutual TLS, and servers that keep certificates to themselves."""

from __future__ import annotations

import shutil
import socket
import sys
from pathlib import Path

import pytest
from identities import MeshAuthority
from wsgi_tls_servers import COMMANDS, GUNICORN, PROGRAM, world_of

WEB = "spiffe://cluster.local/ns/default/sa/web"
SEAM = """
from meshware.servers.gunicorn import certfile, ssl_context
workers = 2
"""
OWN_TLS = """
from meshware.servers.gunicorn import install
install()
certfile = keyfile = "own.pem"
"""


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.mark.parametrize("worker", ["sync", "gthread", "gevent"])
def test_gunicorns_settings_alone_make_a_port_of_mutual_tls(tmp_path, worker):
    """Nothing of gunicorn is patched: `ssl_context` is a hook that it documents."""
    (tmp_path / "conf.py").write_text(SEAM)
    command = [*GUNICORN, "-k", worker, "-c", "conf.py", "served_tls:wsgi"]
    with world_of(command, tmp_path) as world:
        world.until(lambda: world.ask(world.web()), "serve")
        said = world.ask(world.web())
        assert said is not None
        assert (said["caller"], said["scheme"]) == (WEB, "https")
        assert world.ask(None) is None
        world.run_dir.write_policy("PERMISSIVE")
        before = world.count()
        assert world.ask("plain") is None
        assert world.count() == before


@pytest.mark.parametrize("worker", ["sync", "gthread", "gevent"])
def test_workers_forked_from_a_preloaded_app_have_tls_of_their_own(tmp_path, worker):
    environ = {"SERVED_TLS_BEFORE_FORK": "1"}
    options = ["-k", worker, "-w", "2", "--preload", "-c", "python:meshware.servers.gunicorn"]
    with world_of([*GUNICORN, *options, "served_tls:wsgi"], tmp_path, **environ) as world:
        world.until(world.is_mode("STRICT"), "serve")
        pids = set()

        def is_seen() -> bool:
            hanging = world.silent(1)  # keeps one worker busy, where it serves one at a time
            said = world.ask(world.web())
            assert said is not None
            assert said["caller"] == WEB
            pids.add(said["pid"])
            hanging[0].close()
            return len(pids) == 2

        world.until(is_seen, "serve from both workers")


@pytest.mark.parametrize("kind", list(COMMANDS))
def test_a_workload_without_a_service_account_is_served_as_if_there_was_no_mesh(tmp_path, kind):
    with world_of(kind, tmp_path, account=None) as world:
        world.run_dir.write_policy("PERMISSIVE")
        world.until(lambda: world.ask("plain"), "serve")
        said = world.ask("plain")
        assert said is not None
        assert (said["caller"], said["scheme"]) == (None, "http")
        assert world.ask(world.web()) is None


@pytest.mark.parametrize("kind", ["gunicorn sync", "gunicorn gthread", "gunicorn gevent"])
def test_an_app_with_tls_of_its_own_keeps_it_where_the_mesh_does_not_mind(tmp_path, kind):
    (tmp_path / "conf.py").write_text(OWN_TLS)
    worker = kind.split()[1]
    command = [*GUNICORN, "-k", worker, "-c", "conf.py", "served_tls:wsgi"]
    own = MeshAuthority("public.example")
    (tmp_path / "own.pem").write_text(own.issue("default/public").pem)
    with world_of(command, tmp_path) as world:
        world.authority = own
        world.run_dir.write_policy("DISABLE")
        world.until(lambda: world.ask(None), "serve")
        said = world.ask(None)
        assert said is not None
        assert (said["caller"], said["scheme"]) == (None, "https")
        assert world.ask("plain") is None


FLASK = """
from flask import Flask, request

import meshware.servers.werkzeug

meshware.servers.werkzeug.install()
app = Flask(__name__)


@app.get("/")
def home():
    return {"scheme": request.scheme, "is_shown": "SSL_CLIENT_CERT" in request.environ}
"""


@pytest.mark.parametrize("options", [[], ["--debug"]], ids=["once", "reloading"])
def test_flask_run_serves_as_policy_says(tmp_path, options):
    (tmp_path / "web.py").write_text(FLASK)
    command = ["flask", "--app", "web", "run", "--port", "0", *options]
    support = Path(PROGRAM).parent
    path = f"{tmp_path}:{support}:{support.parents[1]}"
    with world_of(command, tmp_path, PYTHONPATH=path) as world:
        world.run_dir.write_policy("PERMISSIVE")
        world.until(lambda: world.ask("plain"), "serve")
        assert world.ask("plain") == {"scheme": "http", "is_shown": False}
        assert world.ask(world.web()) == {"scheme": "https", "is_shown": True}
        assert world.ask(None) is None


def test_werkzeugs_own_parameter_takes_the_context(tmp_path):
    with world_of([sys.executable, PROGRAM, "seam", "threaded"], tmp_path) as world:
        world.until(lambda: world.ask(world.web()), "serve")
        said = world.ask(world.web())
        assert said is not None
        assert (said["caller"], said["scheme"]) == (WEB, "https")
        before = world.count()
        assert world.ask(None) is None
        assert world.ask("plain") is None
        assert world.count() == before


def test_a_port_may_have_a_mode_of_its_own(tmp_path):
    """Kubelet's probes and Prometheus: a second port, which is public."""
    public = _free_port()
    command = [
        *GUNICORN,
        "-b",
        f"127.0.0.1:{public}",
        *COMMANDS["gunicorn gthread"][len(GUNICORN) :],
    ]
    with world_of(command, tmp_path) as world:
        world.run_dir.write_policy("STRICT", {str(public): "DISABLE"})
        world.until(lambda: world.ask(world.web()), "serve")
        assert world.ask("plain") is None
        world.port = public
        world.until(lambda: world.ask("plain"), "take up the port's mode")
        assert world.ask(world.web()) is None


# --- servers that hand over nothing ---------------------------------------------------------------

HIDING = {
    "granian": ["granian", "--interface", "wsgi", "--host", "127.0.0.1", "--port"],
    "waitress": ["waitress-serve", "--host", "127.0.0.1", "--port"],
}
FORGED = ("SSL-Client-Cert", "HTTPS-CC", "SSL_CLIENT_CERT", "HTTPS_CC", "SSL-TLS-SNI")


@pytest.mark.parametrize("name", list(HIDING))
def test_a_server_that_hides_certificates_gives_no_identity_and_headers_make_none(tmp_path, name):
    port = _free_port()
    command = [*HIDING[name], str(port), "served_tls:wsgi"]
    with world_of(command, tmp_path, port=port) as world:
        world.until(lambda: _listens(port), "listen")
        said = world.ask("plain", dict.fromkeys(FORGED, world.web().cert_pem.replace("\n", " ")))
        assert said is not None
        assert said["caller"] is None
        assert not {"SSL_CLIENT_CERT", "HTTPS_CC"} & set(said["keys"])


def test_granians_own_tls_hides_even_a_certificate_that_it_has_verified(tmp_path):
    port = _free_port()
    files = ["--ssl-certificate", "own.crt", "--ssl-keyfile", "own.key", "--ssl-ca", "ca.crt"]
    command = [*HIDING["granian"], str(port), *files, "--ssl-client-verify", "served_tls:wsgi"]
    authority = MeshAuthority()
    svid = authority.issue("default/app")
    (tmp_path / "own.crt").write_text(svid.cert_pem)
    (tmp_path / "own.key").write_text(svid.pem[: svid.pem.index("-----BEGIN CERTIFICATE")])
    (tmp_path / "ca.crt").write_text(authority.root_pem)
    with world_of(command, tmp_path, port=port) as world:
        world.authority = authority
        world.until(lambda: _listens(port), "listen")
        said = world.ask(world.web(), dict.fromkeys(FORGED, "-----BEGIN CERTIFICATE-----"))
        assert said is not None
        assert (said["caller"], said["scheme"]) == (None, "https")


def test_uwsgi_exports_the_certificate_that_it_has_verified(tmp_path):
    # No engine that continuous integration installs: it is built from source for one Python.
    program = shutil.which("uwsgi")
    if program is None:
        pytest.skip("uwsgi is not installed: pip install uwsgi")
    port = _free_port()
    authority = MeshAuthority()
    svid = authority.issue("default/app")
    (tmp_path / "own.crt").write_text(svid.cert_pem)
    (tmp_path / "own.key").write_text(svid.pem[: svid.pem.index("-----BEGIN CERTIFICATE")])
    (tmp_path / "ca.crt").write_text(authority.root_pem)
    command = [
        program, "--master", "--https", f"127.0.0.1:{port},own.crt,own.key,HIGH,!ca.crt",
        "--https-export-cert", "--module", "served_tls:wsgi", "--need-app",
        "--virtualenv", str(Path(sys.executable).parents[1]), "--enable-threads",
    ]  # fmt: skip
    with world_of(command, tmp_path, port=port) as world:
        world.authority = authority
        world.run_dir.write_identity(svid, authority.bundle_pem)  # it exports the leaf alone
        world.until(lambda: _listens(port), "listen")
        said = world.ask(world.web())
        assert said is not None
        assert (said["caller"], said["scheme"]) == (WEB, "https")
        assert world.ask(None) is None


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True
