"""An issuer rotates its key: the first token of the new one is refused, and soon none is."""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from cryptography.hazmat.primitives.asymmetric import ec
from daemons import running
from key_server import key_server, key_set, says
from key_world import fetching

from meshware.asgi import MeshMiddleware
from meshware.identity.jwk import public_jwk, sign
from meshware.runtime.mesh import Mesh

POLICY = """\
apiVersion: networking.istio.io/v1
kind: WorkloadEntry
metadata: {name: web}
spec: {address: 127.0.0.1, labels: {app: web}}
---
apiVersion: security.istio.io/v1
kind: RequestAuthentication
metadata: {name: users}
spec: {jwtRules: [{issuer: me, jwksUri: "%s"}]}
"""
PATIENCE_S = 75.0  # of which 30 pass between two fetches


class Issuer:
    """Signs tokens, with one key after another."""

    def __init__(self, server) -> None:
        self._server = server
        self._keys: dict[str, ec.EllipticCurvePrivateKey] = {}

    def rotate(self, kid: str) -> None:
        """Have a further key, and publish all."""
        self._keys[kid] = ec.generate_private_key(ec.SECP256R1())
        public = [public_jwk(key, kid=kid) for kid, key in self._keys.items()]
        self._server.say(says(key_set(*public)))

    def token(self, kid: str) -> str:
        """A token of one of the keys."""
        claims = {"iss": "me", "sub": "ada", "exp": int(time.time()) + 600}
        return sign(self._keys[kid], {"kid": kid}, claims)


async def app(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b""})


class Worker:
    """An app behind the middleware, which follows policy as its environment says."""

    def __init__(self, mesh: Mesh) -> None:
        self._app = MeshMiddleware(app, mesh)

    def status(self, token: str) -> int:
        """The status that a call with a token is answered."""
        head = [(b"host", b"web"), (b"authorization", f"Bearer {token}".encode())]
        scope = {
            "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "GET",
            "scheme": "http", "path": "/", "raw_path": b"/", "query_string": b"", "root_path": "",
            "headers": head, "client": ("127.0.0.1", 5000), "server": ("127.0.0.1", 80),
        }  # fmt: skip
        said = []

        async def receive():
            return {"type": "http.request", "body": b"", "more_body": False}

        async def send(message):
            said.append(message)

        asyncio.run(self._app(scope, receive, send))
        return said[0]["status"]

    def wait_for(self, token: str, status: int) -> float:
        """Call until that is the answer, as fast as can be; how many seconds it took."""
        began = time.monotonic()
        while self.status(token) != status:
            assert time.monotonic() - began < PATIENCE_S
            time.sleep(0.001)
        return time.monotonic() - began


@contextmanager
def worker(config):
    """A worker, which is ended."""
    mesh = Mesh.from_env({"MESH_CONFIG": str(config), "MESH_WORKLOAD": "default/web"})
    try:
        yield Worker(mesh)
    finally:
        mesh.stop()


def rotate(config, issuer: Issuer, server) -> None:
    """One rotation, as a worker sees it."""
    with worker(config) as made:
        made.wait_for(issuer.token("a"), 200)
        issuer.rotate("b")
        assert made.status(issuer.token("b")) == 401
        made.wait_for(issuer.token("b"), 200)  # by thousands of calls, each of which is noted
        assert made.status(issuer.token("a")) == 200
        assert server.times_asked() == 2


def test_the_tokens_of_a_new_key_are_good_after_one_more_fetch(tmp_path):
    """With the daemon, which reads of it in a report, and in a process without one, at once."""
    with ThreadPoolExecutor() as pool, key_server(tmp_path) as one, key_server(tmp_path) as other:
        places = {}
        for name, server in (("daemon", one), ("yaml", other)):
            place = places[name] = tmp_path / name
            (place / "mesh").mkdir(parents=True)
            text = POLICY % server.uri() + fetching(server)
            (place / "mesh" / "mesh.yaml").write_text(text, encoding="utf-8")
        issuers = Issuer(one), Issuer(other)
        for issuer in issuers:
            issuer.rotate("a")
        with running(places["daemon"]) as daemon:
            daemon.wait_for(daemon.generation)
            done = [
                pool.submit(rotate, daemon.policy_file, issuers[0], one),
                pool.submit(rotate, places["yaml"] / "mesh", issuers[1], other),
            ]
            for each in done:
                each.result(timeout=2 * PATIENCE_S)
            assert daemon.generation() >= 2
