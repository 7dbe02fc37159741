"""Issuers of end users' tokens, and the policies that believe them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from inbound_world import request
from jwt.algorithms import get_default_algorithms
from tokens import NOW, encoded

from meshware.identity.jose import base64url
from meshware.identity.jwk import _required
from meshware.inbound.passage import Admission, Denial
from meshware.testing import FakeClock, TestMesh

ISSUER, OTHER = "https://issuer.example", "https://other.example"
CLAIMS: Mapping[str, Any] = {"iss": ISSUER, "sub": "alice", "exp": NOW + 600}


@cache
def key(name: str = "ec") -> Any:
    """A private key: `ec`, `rsa`, `ed`, or another EC one by any other name."""
    if name.startswith("rsa"):
        return rsa.generate_private_key(65537, 1024 if name.endswith("weak") else 2048)
    if name.startswith("ed"):
        return Ed25519PrivateKey.generate()
    curves = {"p384": ec.SECP384R1, "p521": ec.SECP521R1, "k1": ec.SECP256K1}
    return ec.generate_private_key(curves.get(name, ec.SECP256R1)())


def jwk(name: str = "ec", **members: Any) -> dict[str, Any]:
    """The public half of a key as JSON; its id is its name unless `kid` says otherwise."""
    found = {**_required(key(name).public_key()), "kid": name, **members}
    return {member: value for member, value in found.items() if value is not None}


def jwks(*keys: Mapping[str, Any] | str) -> str:
    """A key set of keys, or of the keys of these names."""
    return json.dumps({"keys": [jwk(one) if isinstance(one, str) else one for one in keys]})


def token(
    name: str = "ec",
    claims: Mapping[str, Any] | str | bytes | None = None,
    header: Mapping[str, Any] | str | bytes | None = None,
    algorithm: str | None = None,
    **changed: Any,
) -> str:
    """A token that a key signs, right but for what is said; a claim that is None is left out."""
    of_key = {"ec": "ES256", "p384": "ES384", "p521": "ES512"}
    algorithm = (
        algorithm or of_key.get(name) or {"rs": "RS256", "ed": "EdDSA"}.get(name[:2], "ES256")
    )
    if not isinstance(claims, str | bytes):
        found = {**CLAIMS, **(claims or {}), **changed}
        claims = {claim: value for claim, value in found.items() if value is not None}
    if header is None:
        header = {"alg": algorithm, "kid": name}
    parts = f"{_part(header)}.{_part(claims)}"
    signature = get_default_algorithms()[algorithm].sign(parts.encode(), key(name))
    return f"{parts}.{base64url(signature)}"


def _part(part: Mapping[str, Any] | str | bytes) -> str:
    return encoded(dict(part) if isinstance(part, Mapping) else part)


def bearer(text: str) -> tuple[str, str]:
    """The header that a token usually stands in."""
    return ("authorization", f"Bearer {text}")


def rule(**fields: Any) -> dict[str, Any]:
    """A rule of an issuer whose key is `ec`, unless fields say otherwise."""
    found = {"issuer": ISSUER, "jwks": jwks("ec"), **fields}
    return {field: value for field, value in found.items() if value is not None}


def authentication(
    *rules: Mapping[str, Any], name: str = "users", namespace: str = "default", **spec: Any
) -> dict[str, Any]:
    """A RequestAuthentication."""
    return {
        "apiVersion": "security.istio.io/v1",
        "kind": "RequestAuthentication",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"jwtRules": list(rules), **spec},
    }


def user_mesh(*rules: Mapping[str, Any], also: tuple[Mapping[str, Any], ...] = ()) -> TestMesh:
    """A mesh with these rules, whose clock stands still at `NOW`."""
    return TestMesh(
        [authentication(*rules), *also], clock=FakeClock(datetime.fromtimestamp(NOW, UTC))
    )


def answer(
    mesh: TestMesh, *headers: tuple[str, str], target: str = "/", **more: Any
) -> Admission | Denial:
    """What the gate makes of a request with these headers."""
    passage = mesh.gate.admit(request(target, headers=headers, **more))
    assert isinstance(passage, Admission | Denial)
    return passage


def admitted(mesh: TestMesh, *headers: tuple[str, str], **more: Any) -> Admission:
    """The call, which must be let in."""
    passage = answer(mesh, *headers, **more)
    assert isinstance(passage, Admission), passage
    return passage


def refused(mesh: TestMesh, *headers: tuple[str, str], **more: Any) -> tuple[int, str]:
    """The answer to a call, which must be refused."""
    passage = answer(mesh, *headers, **more)
    assert isinstance(passage, Denial), passage
    return passage.status, passage.body


URI = "https://issuer.example/keys"
HEADER = {"alg": "ES256", "kid": "ec"}
GOOD, BOB = token(), token(sub="bob")
PLACES = rule(
    fromHeaders=[{"name": "X-Token", "prefix": "Value "}, {"name": "x-plain"}],
    fromParams=["token", "second"],
    fromCookies=["session"],
)
PLAIN = rule()
OTHERS = rule(issuer=OTHER, jwks=jwks("other"))
THEIRS = token("other", iss=OTHER, sub="carol")
AT_X = {"fromHeaders": [{"name": "x-a"}]}
AT_Y = {"fromHeaders": [{"name": "x-b"}]}
OUTPUTS = rule(
    outputPayloadToHeader="X-Payload",
    outputClaimToHeaders=[
        {"header": f"x-{claim.replace('.', '-')}", "claim": claim}
        for claim in (
            "sub",
            "n",
            "f",
            "b",
            "neg",
            "deep.er",
            "list",
            "deep",
            "gone",
            "e",
            "u",
            "nl",
        )
    ],
)
