"""A second public port for what has no identity: mutual TLS on the first, plaintext on it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from secured_apps import (
    APP,
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

BIN = Path(sys.executable).parent
GUNICORN = ["gunicorn", "--no-control-socket", "--log-level", "warning", "-w", "2"]
KINDS = {
    "sync": ["telling:bare_wsgi"],
    "gthread": ["-k", "gthread", "--threads", "4", "telling:bare_wsgi"],
    "gevent": ["-k", "gevent", "telling:bare_wsgi"],
    "uvicorn worker": ["-k", "uvicorn.workers.UvicornWorker", "telling:bare_asgi"],
    "asgi": ["-k", "asgi", "telling:bare_asgi"],
}


def policy(port: int) -> str:
    """STRICT, but for one port."""
    return policy_text(
        None,
        f"""
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {{name: app}}
spec:
  selector: {{matchLabels: {{app: app}}}}
  mtls: {{mode: STRICT}}
  portLevelMtls:
    {port}: {{mode: DISABLE}}
""",
        f"""
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {{name: app}}
spec:
  selector: {{matchLabels: {{app: app}}}}
  rules:
  - from: [{{source: {{principals: [cluster.local/ns/default/sa/web]}}}}]
  - to: [{{operation: {{paths: [/metrics, /healthz], ports: ["{port}"]}}}}]
""",
    )


def command(*parts: str) -> list[str]:
    """Below `meshware run`."""
    program, *arguments = parts
    return [str(BIN / "meshware"), "run", "--", str(BIN / program), *arguments]


def check(run: RunDir, secure: int, plain: int) -> None:
    """Have both kinds of callers at both ports, several times: a server has several workers."""
    for _ in range(4):
        context = caller(run.authority.issue(WEB), run.authority)
        status, told = ask(secure, context)
        assert (status, told["peer"], told["scheme"]) == (200, WEB, "https")
        assert ask(secure, path="/metrics")[0] == 0
        assert ask(secure, caller(Authority().issue(WEB), run.authority))[0] == 0
        status, told = ask(plain, path="/metrics")
        assert (status, told["peer"], told["scheme"], told["is_in_mesh"]) == (
            200, None, "http", True,
        )  # fmt: skip
        assert ask(plain, path="/orders")[0] == 403
        assert ask(plain, context, "/metrics")[0] == 0
    # What is open at the second port is open to nobody at the first, not even by a name of its own.
    assert ask(secure, caller(run.authority.issue(APP), run.authority), "/metrics")[0] == 403


@pytest.mark.parametrize("kind", KINDS)
def test_gunicorn_serves_both_from_one_process(kind, tmp_path):
    """By `-b` given twice: each connection has the mode of the port where it came in."""
    run, secure, plain = RunDir(tmp_path / "run"), free_port(), free_port()
    run.policy(policy(plain))
    binds = ["-b", f"127.0.0.1:{secure}", "-b", f"127.0.0.1:{plain}"]
    serve = command(*GUNICORN, *binds, *KINDS[kind])
    with running(serve, plain, run.environ(), tmp_path / "log"):
        check(run, secure, plain)


def test_uvicorn_serves_the_second_from_a_process_of_its_own(tmp_path):
    """It has one port: the same app runs twice, with the same identity and the same rules."""
    run, secure, plain = RunDir(tmp_path / "run"), free_port(), free_port()
    run.policy(policy(plain))
    first = command("uvicorn", "--port", str(secure), "telling:bare_asgi")
    second = command("uvicorn", "--port", str(plain), "telling:bare_asgi")
    with (
        running(first, secure, run.environ(), tmp_path / "log"),
        running(second, plain, run.environ(), tmp_path / "second.log"),
    ):
        check(run, secure, plain)


def test_a_change_of_policy_closes_the_second_port(tmp_path):
    """With the next connection, and without a restart."""
    run, secure, plain = RunDir(tmp_path / "run"), free_port(), free_port()
    run.policy(policy(plain))
    binds = ["-b", f"127.0.0.1:{secure}", "-b", f"127.0.0.1:{plain}"]
    serve = command(*GUNICORN[:-2], *binds, *KINDS["gthread"])
    with running(serve, plain, run.environ(), tmp_path / "log"):
        assert ask(plain, path="/metrics")[0] == 200
        run.policy(policy(1))
        until(plain, None, 0)
        assert ask(plain, caller(run.authority.issue(WEB), run.authority))[0] == 200
