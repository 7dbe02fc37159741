"""What end users' tokens and callers' certificates add to an inbound request.

A token that is seen for the first time is verified; a known one is looked up, and its dates are
checked. Tokens are signed outside of what is measured.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding

from benchmarks.inbound import BARE, RULES, raw_app, request_scope
from benchmarks.measure import Timing, Work, against_bare, in_turns
from benchmarks.policies import app_rules, last_open_path
from meshware.asgi import MeshMiddleware
from meshware.identity.jwk import public_jwk, sign
from meshware.identity.svid import PrivateKey
from meshware.testing import TestMesh

__all__ = ["known_token", "run", "shown_in_tls", "users_policies"]

BUDGET_US = 25  # identity, a known token and any number of rules
FIRST_BUDGET_US = 80  # over the same request without a token: read, verify, remember
_PLAIN, _FIRST = "20 rules, no token", "20 rules, first-seen token"
_ISSUER = "https://issuer.example"
_KEYS: dict[str, PrivateKey] = {
    "ES256": ec.generate_private_key(ec.SECP256R1()),
    "RSA-2048": rsa.generate_private_key(65537, 2048),
}
_CALLER = "spiffe://cluster.local/ns/default/sa/web"


def users_policies(rules: int) -> list[dict[str, Any]]:
    """Return `app_rules`, and whose tokens are good."""
    keys = [public_jwk(key, kid=name) for name, key in _KEYS.items()]
    return [
        *app_rules(rules),
        {
            "apiVersion": "security.istio.io/v1",
            "kind": "RequestAuthentication",
            "metadata": {"name": "users"},
            "spec": {"jwtRules": [{"issuer": _ISSUER, "jwks": json.dumps({"keys": keys})}]},
        },
    ]


def _token(name: str, subject: int) -> bytes:
    claims: dict[str, Any] = {
        "iss": _ISSUER,
        "sub": f"user-{subject}",
        "exp": int(time.time()) + 3600,
    }
    claims["groups"] = ["readers", "writers"]
    return f"Bearer {sign(_KEYS[name], {'kid': name}, claims)}".encode()


def known_token() -> bytes:
    """Return a header with a token that these policies believe."""
    return _token("ES256", 0)


def shown_in_tls(mesh: TestMesh) -> dict[str, Any]:
    """Return the extensions of a scope whose caller has shown its certificate."""
    shown = mesh.issue(_CALLER).chain
    chain = [one.public_bytes(Encoding.PEM).decode() for one in shown]
    return {"tls": {"client_cert_chain": chain, "server_name": None}}


class _Calls:
    """Makes requests of one app, each with the token that it is given."""

    def __init__(self, rules: int, *, has_chain: bool = False) -> None:
        mesh = TestMesh(users_policies(rules), port=8000)
        self._app = MeshMiddleware(raw_app, mesh=mesh)
        self._path, self._events = last_open_path(rules), mesh.events
        self._tls: dict[str, Any] = {}
        if has_chain:
            self._tls = shown_in_tls(mesh)
        self._made = 0

    def work(self, tokens: Callable[[int], list[bytes | None]]) -> Work:
        """Return work over as many tokens as it is done times."""

        async def repeat(given: list[bytes | None]) -> float:
            began = time.process_time()
            for token in given:
                scope = request_scope(self._path, None if token is None else token)
                if self._tls:
                    scope["extensions"] = self._tls
                await self._app(scope, _receive, _send)
                self._events.clear()
            return time.process_time() - began

        return lambda count: asyncio.run(repeat(tokens(count)))

    def fresh(self, name: str) -> Callable[[int], list[bytes | None]]:
        """Return what makes tokens that nobody has seen."""

        def make(count: int) -> list[bytes | None]:
            self._made += count
            return [_token(name, self._made - number) for number in range(count)]

        return make


def _known(name: str) -> Callable[[int], list[bytes | None]]:
    token = _token(name, 0)
    return lambda count: [token] * count


def _none(count: int) -> list[bytes | None]:
    return [None] * count


async def _receive() -> dict[str, Any]:
    return {"type": "http.request", "body": b"", "more_body": False}


async def _send(message: Any) -> None:
    pass


def _measure() -> dict[str, Timing]:
    async def bare(count: int) -> float:
        began = time.process_time()
        for _ in range(count):
            await raw_app(request_scope("/open-0/item"), _receive, _send)
        return time.process_time() - began

    variants: dict[str, Work] = {BARE: lambda count: asyncio.run(bare(count))}
    calls = _Calls(20)
    variants[_PLAIN] = calls.work(_none)
    for name in _KEYS:
        variants[f"20 rules, known token, {name}"] = calls.work(_known(name))
    for count in RULES:
        everything = _Calls(count, has_chain=True)
        variants[f"{count:,} rules, known token, certificate"] = everything.work(_known("ES256"))
    for name in _KEYS:
        variants[f"{_FIRST}, {name}"] = calls.work(calls.fresh(name))
    return in_turns(variants)


def run() -> None:
    """Print the rows."""
    timings = _measure()
    known = {name: timing for name, timing in timings.items() if not name.startswith(_FIRST)}
    first = {name: timing for name, timing in timings.items() if name not in known}
    against_bare("Inbound with end users' tokens, ASGI: CPU", known, BARE, BUDGET_US)
    first = {_PLAIN: known[_PLAIN], **first}
    against_bare("What a token adds that was never seen", first, _PLAIN, FIRST_BUDGET_US)
