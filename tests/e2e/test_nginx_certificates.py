"""A real nginx in front of a workload: it verifies callers, and says who they are.

The configuration is the one of docs/how-to/behind-nginx.md, with the places of this test.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from secured_apps import (
    PYTHON,
    TD,
    WEB,
    Authority,
    RunDir,
    ask,
    free_port,
    policy_text,
    running,
    until,
)

from meshware.identity.tls import mesh_client_context
from meshware.runtime.files import replace_file

NGINX = shutil.which("nginx", path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin")
PAGE = Path(__file__).resolve().parents[2] / "docs" / "how-to" / "behind-nginx.md"
PROXY = f"spiffe://{TD}/ns/edge/sa/proxy"
MESH = f"""
apiVersion: meshware.dev/v1alpha1
kind: MeshConfig
metadata: {{name: mesh, namespace: istio-system}}
spec: {{xfccTrustedProxies: ["{PROXY}"]}}
"""

if NGINX is None and not os.environ.get("MESHWARE_REQUIRE_ENGINES"):
    pytest.skip("nginx is not installed", allow_module_level=True)


def configuration(place, port, app_port):
    """What the page says, at other places and ports, in the foreground."""
    [text] = re.findall(r"^```nginx\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    for old, new in (
        ("/run/mesh/identity/edge/proxy", str(place / "edge")),
        ("listen 8443", f"listen 127.0.0.1:{port}"),
        ("127.0.0.1:8000", f"127.0.0.1:{app_port}"),
    ):
        assert old in text
        text = text.replace(old, new)
    user = "user root;" if os.geteuid() == 0 else ""
    temporary = "".join(
        f"  {name}_temp_path {place}/{name};\n"
        for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    return (
        f"{user}daemon off;pid {place}/pid;error_log stderr;events {{}}\n"
        f"http {{\n  access_log off;\n{temporary}{text}}}\n"
    )


@pytest.fixture
def front(tmp_path):
    """nginx before an app under STRICT. Yields its port, the run directory and the authority."""
    run = RunDir(tmp_path / "run")
    run.policy(policy_text("STRICT", MESH))
    edge = tmp_path / "edge"
    edge.mkdir()
    svid = run.authority.issue(PROXY)
    replace_file(edge / "svid.pem", svid.pem.encode(), mode=0o600)
    replace_file(edge / "bundle.pem", run.authority.pem.encode(), mode=0o600)
    app_port, port = free_port(), free_port()
    (tmp_path / "nginx.conf").write_text(configuration(tmp_path, port, app_port))
    app = [PYTHON, "-m", "meshware", "run", "--", PYTHON, "-m", "uvicorn", "--port", str(app_port)]
    nginx = [NGINX, "-p", str(tmp_path), "-c", str(tmp_path / "nginx.conf")]
    with (
        running([*app, "telling:asgi"], app_port, run.environ(), tmp_path / "app.log"),
        running(nginx, port, dict(os.environ), tmp_path / "nginx.log"),
    ):
        yield port, run, edge


def test_the_app_knows_who_called_nginx(front):
    """By the certificate that nginx has verified; a caller's own header counts for nothing."""
    port, run, _ = front
    caller = client(run.authority, run.authority.issue(WEB))
    forged = {"X_Forwarded_Client_Cert": f"URI=spiffe://{TD}/ns/default/sa/root"}
    until(port, caller, 200)
    for headers in ({}, forged):
        status, said = ask(port, caller, **headers)
        assert (status, said["peer"], said["by"]) == (200, WEB, "xfcc")


def test_who_shows_no_certificate_or_a_foreign_one_does_not_pass(front):
    """nginx answers 400 itself."""
    import ssl

    port, run, _ = front
    until(port, client(run.authority, run.authority.issue(WEB)), 200)
    nobody = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    nobody.check_hostname, nobody.verify_mode = False, ssl.CERT_NONE
    assert ask(port, nobody)[0] == 400
    stranger = Authority()
    nobody.load_cert_chain(written(run.path, stranger.issue(WEB)))
    assert ask(port, nobody)[0] == 400


def test_nginx_shows_a_renewed_certificate_without_a_reload(front):
    """It reads the file at each handshake."""
    port, run, edge = front
    caller = client(run.authority, run.authority.issue(WEB))
    until(port, caller, 200)
    first = shown(port)
    svid = run.authority.issue(PROXY)
    replace_file(edge / "svid.pem", svid.pem.encode(), mode=0o600)
    assert shown(port) != first
    assert ask(port, caller)[0] == 200


def client(authority, svid):
    """A workload that expects the proxy."""
    from secured_apps import now

    return mesh_client_context(svid, authority.bundles, frozenset([PROXY]), now)


def written(place, svid):
    """A file with key and chain."""
    path = place / "stranger.pem"
    replace_file(path, svid.pem.encode(), mode=0o600)
    return path


def shown(port):
    """The certificate that nginx shows."""
    done = subprocess.run(
        ["openssl", "s_client", "-connect", f"127.0.0.1:{port}"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    return done.stdout.partition("-----BEGIN")[2].partition("-----END")[0]
