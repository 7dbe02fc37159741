"""The mesh before one app: the real middleware, handed what a server would make of each request."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any
from urllib.parse import unquote

from identities import MeshAuthority

from conformance.rules.cases import NAMESPACE, WORKLOAD, Answer, Ask
from conformance.rules.envoy_side import issued
from conformance.rules.tokens import made_at
from meshware.asgi import MeshMiddleware
from meshware.policy.file import Records
from meshware.policy.snapshot import build_snapshot
from meshware.testing import FakeClock, TestMesh

LATER_S = 30
"""Behind the time at which tokens are made: about when Envoy is asked."""


class MeshSide:
    """Decides requests of cases.

    Args:
        authorities: by trust domain.
        port: where the app listens.
    """

    def __init__(self, authorities: dict[str, MeshAuthority], port: int) -> None:
        self._authorities = authorities
        self._port = port
        self._chains: dict[str, list[str]] = {}

    def mesh_of(self, records: Records) -> TestMesh:
        """A mesh of a case's policies, compiled anew by whatever reading is in force."""
        bundles = {name: authority.root_pem for name, authority in self._authorities.items()}
        clock = FakeClock(datetime.fromtimestamp(made_at() + LATER_S, UTC))
        mesh = TestMesh(WORKLOAD, workload=f"{NAMESPACE}/app", bundles=bundles, clock=clock)
        mesh.cell.current = build_snapshot(
            records, mesh.client, generation=2, on_refusal=lambda _, error: _raise(error)
        )
        return mesh

    async def ask_all(self, mesh: TestMesh, asks: Sequence[Ask], address: str) -> list[Answer]:
        """Ask what a case asks; `address` is where its requests arrive."""
        found: list[Answer] = []
        seen: list[tuple[str, tuple[tuple[str, str], ...]]] = []

        async def app(scope: Any, receive: Any, send: Any) -> None:
            headers = tuple((n.decode("latin-1"), v.decode("latin-1")) for n, v in scope["headers"])
            seen.append((scope["raw_path"].decode("latin-1"), headers))
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b""})

        middleware = MeshMiddleware(app, mesh)
        for ask in asks:
            seen.clear()
            sent: list[Any] = []

            async def send(message: Any, sent: list[Any] = sent) -> None:
                sent.append(message)

            await middleware(self._scope(ask, address), _no_body, send)
            start, body = sent
            headers = tuple((n.decode(), v.decode()) for n, v in start["headers"])
            path, told = seen[0] if seen else (None, ())
            found.append(Answer(start["status"], body["body"].decode(), headers, path, told))
        return found

    def _scope(self, ask: Ask, address: str) -> dict[str, Any]:
        path, _, query = ask.target.partition("?")
        scope: dict[str, Any] = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": ask.method,
            "scheme": "http" if ask.source.principal is None else "https",
            "path": unquote(path),
            "raw_path": path.encode("latin-1"),
            "query_string": query.encode("latin-1"),
            "root_path": "",
            "headers": [
                (name.lower().encode("latin-1"), value.encode("latin-1"))
                for name, value in ask.headers
            ],
            "client": (ask.source.ip, 50000),
            "server": (address, self._port),
            "extensions": {},
        }
        if ask.source.principal is not None:
            scope["extensions"]["tls"] = {
                "client_cert_chain": self._chain(ask.source.principal),
                "server_name": ask.source.sni,
            }
        return scope

    def _chain(self, principal: str) -> list[str]:
        found = self._chains.get(principal)
        if found is None:
            mark = "-----END CERTIFICATE-----\n"
            pem = issued(self._authorities, principal).cert_pem
            found = [part + mark for part in pem.split(mark) if part.strip()]
            self._chains[principal] = found
        return found


def _raise(error: Exception) -> None:
    raise error


async def _no_body() -> dict[str, Any]:
    return {"type": "http.request", "body": b"", "more_body": False}
