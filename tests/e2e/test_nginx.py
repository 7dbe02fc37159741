"""nginx before an app: what it can tell of callers, and what it cannot."""

from __future__ import annotations

import os
import re
import ssl
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from certificates import Authority as Outside
from certificates import Issued
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from secured_apps import (
    APP,
    SUPPORT,
    WEB,
    Authority,
    RunDir,
    ask,
    caller,
    free_port,
    policy_text,
    running,
    until,
)
from token_callers import TOKENS, WORKLOADS, apply, served, web_session

from meshware.runtime.files import replace_file

BIN = Path(sys.executable).parent
NGINX = "spiffe://cluster.local/ns/edge/sa/nginx"
PARTNER = "spiffe://cluster.local/ns/partners/sa/acme"
TRUSTED = f"""
apiVersion: meshware.dev/v1alpha1
kind: MeshConfig
metadata: {{name: mesh, namespace: istio-system}}
spec: {{xfccTrustedProxies: ["{NGINX}"]}}
"""


@pytest.fixture
def nginx(engine, tmp_path):
    """Run nginx: `with nginx(port, http, stream) as reload`."""
    binary = str(engine("nginx"))

    @contextmanager
    def opened(port: int, http: str, stream: str = ""):
        prefix = tmp_path / "prefix"
        prefix.mkdir()
        temporary = "".join(
            f"{name}_temp_path {prefix}/{name};\n"
            for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        head = _module(binary) if stream else ""
        head += "user root;\n" if os.geteuid() == 0 else ""  # so that workers read keys, too
        (prefix / "nginx.conf").write_text(
            f"{head}daemon off;\npid {prefix}/pid;\nworker_processes 1;\n"
            "events { worker_connections 64; }\n"
            f"http {{\naccess_log off;\n{temporary}{http}\n}}\n"
            + (f"stream {{\n{stream}\n}}\n" if stream else "")
        )
        command = [
            binary, "-p", f"{prefix}/", "-c", f"{prefix}/nginx.conf", "-e", f"{prefix}/errors",
        ]  # fmt: skip

        def reload() -> None:
            subprocess.run([*command, "-s", "reload"], check=True, capture_output=True, timeout=20)

        with running(command, port, {"PATH": "/usr/bin:/bin"}, tmp_path / "nginx.log"):
            yield reload

    return opened


def _module(binary: str) -> str:
    """Return what loads the stream module, where it is a file of its own."""
    built = subprocess.run([binary, "-V"], capture_output=True, text=True, check=True).stderr
    if "--with-stream=dynamic" not in built:
        return ""
    where = re.search(r"--modules-path=(\S+)", built)
    module = Path(where[1] if where else "/usr/lib/nginx/modules") / "ngx_stream_module.so"
    if not module.exists():
        pytest.skip("nginx has no stream module")
    return f"load_module {module};\n"


@pytest.fixture
def app(tmp_path):
    """An app under STRICT, and beside it the identity of nginx: `with app(policies)`."""

    @contextmanager
    def opened(*more: str):
        run, port = RunDir(tmp_path / "run"), free_port()
        run.policy(policy_text("STRICT", *more))
        (tmp_path / "nginx").mkdir()
        show(tmp_path, run.authority)
        program = [str(BIN / "uvicorn"), "--port", str(port), "telling:bare_asgi"]
        command = [str(BIN / "meshware"), "run", "--", *program]
        with running(command, port, run.environ(), tmp_path / "app.log"):
            yield run, port

    return opened


def show(place: Path, authority: Authority) -> None:
    """Write nginx's certificate, as `meshware sync` and `meshware cert issue` do."""
    svid, roots = place / "nginx/svid.pem", place / "nginx/bundle.pem"
    replace_file(svid, authority.issue(NGINX).pem.encode(), mode=0o600)
    replace_file(roots, authority.pem.encode(), mode=0o600)


def server(front: int, app: int, svid: str, more: str = "", tls: str = "") -> str:
    """A server of nginx that calls the app in nginx's own name."""
    return f"""
    server {{
        listen 127.0.0.1:{front}{" ssl" if tls else ""};
        {tls}
        location / {{
            proxy_pass https://127.0.0.1:{app};
            proxy_http_version 1.1;
            proxy_ssl_protocols TLSv1.3;
            proxy_ssl_certificate {svid};
            proxy_ssl_certificate_key {svid};
            {more}
        }}
    }}
    """


def test_nginx_calls_in_its_own_name(app, nginx, tmp_path):
    """Whoever called it, and whatever that one wrote about a certificate."""
    front = free_port()
    with app() as (_, port), nginx(front, server(front, port, f"{tmp_path}/nginx/svid.pem")):
        status, told = ask(front, x_forwarded_client_cert=f"URI={WEB}")
        assert (status, told["peer"], told["by"], told["xfcc"]) == (200, NGINX, "mtls", None)


def test_a_renewed_certificate_is_read_at_a_reload(app, nginx, tmp_path):
    """Or by each connection, where a variable names the file."""
    front, lazy, svid = free_port(), free_port(), f"{tmp_path}/nginx/svid.pem"
    with app() as (run, port):
        http = (
            f'map "" $svid {{ default {svid}; }}'
            + server(front, port, svid)
            + server(lazy, port, "$svid")
        )
        with nginx(front, http) as reload:
            assert (ask(front)[0], ask(lazy)[0]) == (200, 200)
            other = Authority()
            run.show(other)
            until(front, None, 502)
            assert ask(lazy)[0] == 502
            show(tmp_path, other)
            assert (ask(front)[0], ask(lazy)[0]) == (502, 200)
            reload()
            until(front, None, 200)


def test_nginx_says_who_a_partner_is(app, nginx, tmp_path):
    """By a table of its own: the subject that its own authority verified, and an ID for it."""
    front, partners = free_port(), Outside("partners")
    (tmp_path / "partners.crt").write_bytes(partners.cert_pem)
    paths = partners.issue("front.example").write(tmp_path, "front")
    known, stranger = partners.issue("acme.example"), Outside("partners").issue("acme.example")
    table = f"""
    map $ssl_client_verify:$ssl_client_s_dn $mesh_caller {{
        default "";
        "SUCCESS:CN=a leaf" "URI={PARTNER}";
    }}
    """
    tells = "proxy_set_header X-Forwarded-Client-Cert $mesh_caller;"
    tls = f"""
    ssl_certificate {paths[0]};
    ssl_certificate_key {paths[1]};
    ssl_client_certificate {tmp_path}/partners.crt;
    ssl_verify_client optional;
    """
    svid = f"{tmp_path}/nginx/svid.pem"
    with (
        app(TRUSTED) as (_, port),
        nginx(front, table + server(front, port, svid, tells, tls)),
    ):
        lie = {"x_forwarded_client_cert": f"URI={WEB}"}
        status, told = ask(front, outsider(known, tmp_path), **lie)
        assert (status, told["peer"], told["by"]) == (200, PARTNER, "xfcc")
        assert ask(front, outsider(stranger, tmp_path), **lie)[0] == 400  # nginx's own answer
        status, told = ask(front, outsider(None, tmp_path), **lie)
        assert (status, told["peer"], told["by"]) == (200, NGINX, "mtls")


def outsider(shows: Issued | None, place: Path) -> ssl.SSLContext:
    """Return the TLS of a caller outside of the mesh."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    if shows is not None:
        context.load_cert_chain(*shows.write(place, "outsider"))
    return context


def test_passed_through_the_caller_is_known_to_the_app(app, nginx):
    """nginx sees none of it."""
    front = free_port()
    with app() as (run, port):
        stream = f"server {{ listen 127.0.0.1:{front}; proxy_pass 127.0.0.1:{port}; }}"
        with nginx(front, "", stream):
            status, told = ask(front, caller(run.authority.issue(WEB), run.authority))
            assert (status, told["peer"], told["by"]) == (200, WEB, "mtls")
            assert ask(front)[0] == 0


def test_nginx_checks_names_of_hosts_alone(app, nginx, tmp_path):
    """An SVID of the daemon has none; one that has a DNS name beside the URI is as good here."""
    front = free_port()
    checks = f"""
    proxy_ssl_trusted_certificate {tmp_path}/nginx/bundle.pem;
    proxy_ssl_verify on;
    proxy_ssl_verify_depth 2;
    proxy_ssl_name app.default.svc;
    """
    svid = f"{tmp_path}/nginx/svid.pem"
    with app() as (run, port), nginx(front, server(front, port, svid, checks)):
        assert ask(front)[0] == 502
        assert "does not match" in (tmp_path / "prefix/errors").read_text()
        replace_file(run.identity / "svid.pem", named(run.authority).encode(), mode=0o600)
        until(front, None, 200)
        context = caller(run.authority.issue(WEB), run.authority)
        assert ask(port, context)[1]["peer"] == WEB


def named(authority: Authority) -> str:
    """Return the app's key and chain, with a DNS name beside its ID."""
    svid = authority.issue(APP)
    builder = (
        x509.CertificateBuilder()
        .subject_name(svid.leaf.subject)
        .issuer_name(svid.leaf.issuer)
        .public_key(svid.leaf.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(svid.leaf.not_valid_before_utc)
        .not_valid_after(svid.leaf.not_valid_after_utc)
    )
    for each in svid.leaf.extensions:
        value = each.value
        if isinstance(value, x509.SubjectAlternativeName):
            value = x509.SubjectAlternativeName([*value, x509.DNSName("app.default.svc")])
        builder = builder.add_extension(value, each.critical)
    leaf = builder.sign(authority.issuer.key, hashes.SHA256())
    return replace(svid, chain=(leaf, *svid.chain[1:])).pem


PROXY = """
apiVersion: networking.istio.io/v1
kind: WorkloadGroup
metadata: {name: nginx, namespace: edge}
spec: {metadata: {labels: {app: nginx}}, template: {serviceAccount: nginx}}
"""


@pytest.mark.parametrize("is_trusted", [True, False])
def test_tokens_pass_a_proxy_that_policy_names(nginx, tmp_path, is_trusted):
    """The caller is who the token says; where nginx is nobody's proxy, the two contradict."""
    front, port = free_port(), free_port()
    more = (TRUSTED,) if is_trusted else ()
    run = apply(tmp_path, WORKLOADS, PROXY, TOKENS, served(front), *more)
    environ = {
        "MESH_CONFIG": str(run / "policy.mesh"),
        "PATH": "/usr/bin:/bin",
        "PYTHONPATH": os.pathsep.join((str(SUPPORT), os.environ.get("PYTHONPATH", ""))),
        "MESH_WORKLOAD": "default/app",
    }
    command = [
        str(BIN / "meshware"), "run", "--", str(BIN / "uvicorn"), "--port", str(port),
        "telling:bare_asgi",
    ]  # fmt: skip
    with (
        running(command, port, environ, tmp_path / "app.log"),
        nginx(front, server(front, port, f"{run}/identity/edge/nginx/svid.pem")),
        web_session(run) as session,
    ):
        response = session.get("http://app/orders?x=1")
        if is_trusted:
            told = response.json()
            assert (response.status_code, told["peer"], told["by"]) == (200, WEB, "token")
        else:
            assert response.status_code == 403
        assert ask(front)[1]["peer"] == NGINX
