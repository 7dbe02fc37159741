"""End users' tokens at the real Envoy, configured as Istio would, beside ours: answer by answer."""

from __future__ import annotations

import socket
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from conformance.static_envoy import PATIENCE_S, StaticEnvoy
from inbound_world import request
from user_world import OTHER, authentication, jwks, rule, token

from meshware.inbound.passage import Admission, Denial
from meshware.testing import TestMesh

pytestmark = pytest.mark.conformance

GOOGLE = "type.googleapis.com/envoy.extensions"
SOON, PAST = int(time.time()) + 3600, int(time.time()) - 3600

OUTPUTS = {
    "outputPayloadToHeader": "x-payload",
    "outputClaimToHeaders": [
        {"header": f"x-{claim.replace('.', '-')}", "claim": claim}
        for claim in ("sub", "n", "f", "b", "neg", "deep.er", "e", "gone", "u")
    ],
}
OTHERS = rule(issuer=OTHER, jwks=jwks("other"))
RULES: dict[str, list[dict[str, Any]]] = {
    "one": [rule(audiences=["us", "https://we.example/"], jwks=jwks("ec", "rsa"), **OUTPUTS)],
    "two": [rule(), OTHERS],
    "apart": [
        rule(fromHeaders=[{"name": "x-a", "prefix": "T "}], fromCookies=["jwt"]),
        {**OTHERS, "fromHeaders": [{"name": "x-b"}], "fromParams": ["token"]},
    ],
    "places": [
        rule(
            fromHeaders=[{"name": "x-b"}, {"name": "x-a"}],
            fromParams=["token"],
            fromCookies=["jwt"],
        )
    ],
    "forwarded": [rule(forwardOriginalToken=True)],
    "audiences": [rule(audiences=["us"]), rule(audiences=["them"])],
    "keys": [rule(), rule(jwks=jwks("other"))],
    "audience": [rule(), {**OTHERS, "audiences": ["us"]}],
}


def made(name: str = "ec", **changed: Any) -> str:
    """A token whose time is the machine's."""
    return token(name, **{"exp": SOON, **changed})


GOOD = made(aud="us")
RICH = made(aud=["us"], n=7, f=1.5, b=False, neg=-3, deep={"er": "x"}, e="", u="é")
THEIRS = made("other", iss=OTHER, sub="erin")
KID = {"alg": "ES256", "kid": "new"}


def bearer(text: str) -> tuple[str, str]:
    return ("authorization", f"Bearer {text}")


# rules, headers, target
SAME: dict[str, tuple[str, Sequence[tuple[str, str]], str]] = {
    "no token": ("one", [], "/"),
    "another scheme": ("one", [("authorization", "Basic YTpi")], "/"),
    "the scheme alone": ("one", [("authorization", "Bearer")], "/"),
    "good": ("one", [bearer(GOOD)], "/a/b"),
    "good, with outputs": ("one", [bearer(RICH), ("x-payload", "forged")], "/"),
    "forged outputs without a token": ("one", [("x-sub", "root")], "/"),
    "RSA": ("one", [bearer(made("rsa", aud="us"))], "/"),
    "PSS": ("one", [bearer(made("rsa", algorithm="PS384", aud="us"))], "/"),
    "two parts": ("one", [bearer("a.b")], "/"),
    "no base64": ("one", [bearer("a$.b.c")], "/"),
    "no JSON": ("one", [bearer(made(header="x"))], "/"),
    "no alg": ("one", [bearer(made(header="{}"))], "/"),
    "alg none": ("one", [bearer(made(header={"alg": "none"}))], "/"),
    "a kid that is a number": ("one", [bearer(made(header={"alg": "ES256", "kid": 1}))], "/"),
    "claims no JSON": ("one", [bearer(made(claims="{"))], "/"),
    "iss a number": ("one", [bearer(made(iss=1))], "/"),
    "sub a number": ("one", [bearer(made(sub=1))], "/"),
    "jti a number": ("one", [bearer(made(jti=1))], "/"),
    "exp a text": ("one", [bearer(made(exp="1"))], "/"),
    "nbf a text": ("one", [bearer(made(nbf="1"))], "/"),
    "iat negative": ("one", [bearer(made(iat=-1))], "/"),
    "aud a number": ("one", [bearer(made(aud=1))], "/"),
    "signature no base64": ("one", [bearer(GOOD.rsplit(".", 1)[0] + ".!")], "/"),
    "another issuer": ("one", [bearer(made(iss="x"))], "/"),
    "no issuer": ("one", [bearer(made(iss=None))], "/"),
    "expired": ("one", [bearer(made(exp=PAST))], "/"),
    "expired within the leeway": ("one", [bearer(made(exp=int(time.time()), aud="us"))], "/"),
    "not yet": ("one", [bearer(made(nbf=SOON))], "/"),
    "another audience": ("one", [bearer(made(aud="them"))], "/a"),
    "no audience": ("one", [bearer(made())], "/"),
    "an unknown kid": ("one", [bearer(made(header=KID, aud="us"))], "/"),
    "another's key": (
        "one",
        [bearer(made("mallory", header={"alg": "ES256", "kid": "ec"}, aud="us"))],
        "/",
    ),
    "expired, badly signed, for others": (
        "one",
        [bearer(made("mallory", header={"alg": "ES256", "kid": "ec"}, aud="them", exp=PAST))],
        "/",
    ),
    "an empty parameter": ("one", [], "/?access_token="),
    "a parameter": ("one", [], f"/?a=b&access_token={GOOD}"),
    "an encoded parameter": ("one", [], f"/?access%5Ftoken={GOOD}"),
    "two good tokens": ("two", [bearer(made())], f"/?access_token={made()}"),
    "two users, by a header and a parameter": (
        "two",
        [bearer(made())],
        f"/?access_token={made(sub='bob')}",
    ),
    "three users, by headers, a parameter and a cookie": (
        "places",
        [("x-b", made(sub="bob")), ("x-a", made()), ("cookie", f"jwt={made(sub='carol')}")],
        f"/?token={made(sub='dave')}",
    ),
    "two users, by a parameter and a cookie": (
        "places",
        [("cookie", f"jwt={made(sub='carol')}")],
        f"/?token={made(sub='dave')}",
    ),
    "a good and an expired one": ("one", [bearer(GOOD)], f"/?access_token={made(exp=PAST)}"),
    "a good and a bad one": ("one", [bearer("x")], f"/?access_token={GOOD}"),
    "a long path": ("one", [bearer("x")], "/" + "a" * 400),
    "the second issuer": ("two", [bearer(THEIRS)], "/"),
    "an issuer that nobody knows": ("two", [bearer(made(iss="x"))], "/"),
    "the second issuer, expired": ("two", [bearer(made("other", iss=OTHER, exp=PAST))], "/"),
    "the second issuer, of another's key": (
        "two",
        [bearer(made("mallory", iss=OTHER, header={"alg": "ES256", "kid": "other"}))],
        "/",
    ),
    "the second issuer for another audience": (
        "audience",
        [bearer(made("other", aud="them", iss=OTHER))],
        "/",
    ),
    "one issuer for two audiences, the first": ("audiences", [bearer(made(aud="us"))], "/"),
    "one issuer for two audiences, the second": ("audiences", [bearer(made(aud="them"))], "/"),
    "one issuer for two audiences, neither": ("audiences", [bearer(made(aud="x"))], "/"),
    "one issuer with two keys, neither": (
        "keys",
        [bearer(made("mallory", header={"alg": "ES256", "kid": "ec"}))],
        "/",
    ),
    "one issuer with two keys, the second": ("keys", [bearer(made("other"))], "/"),
    "one issuer with two keys, and another audience": ("keys", [bearer(made(exp=PAST))], "/"),
    "the first issuer, expired": ("two", [bearer(made(exp=PAST))], "/"),
    "a prefix of its own": ("apart", [("x-a", f"T {made()}")], "/"),
    "another prefix": ("apart", [("x-a", f"S {made()}")], "/"),
    "without a prefix": ("apart", [("x-b", THEIRS)], "/"),
    "an empty header": ("apart", [("x-b", "")], "/"),
    "a parameter of its own": ("apart", [], f"/?token={THEIRS}"),
    "a cookie": ("apart", [("cookie", f"a=b; jwt={made()}")], "/"),
    "a quoted cookie": ("apart", [("cookie", f'jwt="{made()}"')], "/"),
    "defaults do not count": ("apart", [bearer("x")], "/?access_token=x"),
    "the other's token": ("apart", [("x-a", f"T {THEIRS}")], "/"),
    "forwarded": ("forwarded", [bearer(made())], "/"),
}

# Ours is stricter, or says more: what Envoy answers, and what we do.
DIFFERENT: dict[str, tuple[str, Sequence[tuple[str, str]], str, int, int]] = {
    "no exp": ("one", [bearer(made(aud="us", exp=None))], "/", 200, 401),
    "an audience with its scheme": ("one", [bearer(made(aud="we.example"))], "/", 200, 403),
    "a header parameter": (
        "one",
        [bearer(made(aud="us", header={"alg": "ES256", "kid": "ec", "jku": "https://evil"}))],
        "/",
        200,
        401,
    ),
    "the scheme in lower case": ("one", [("authorization", f"bearer {GOOD}")], "/", 200, 401),
    "two blanks": ("one", [("authorization", f"Bearer  {GOOD}")], "/", 200, 401),
    "the scheme further behind": (
        "one",
        [("authorization", f"Basic Bearer {GOOD}")],
        "/",
        200,
        401,
    ),
    "two lines": ("one", [bearer(GOOD), bearer(RICH)], "/", 401, 401),
    "a parameter twice": ("one", [], f"/?access_token={GOOD}&access_token=x", 200, 401),
    # There the one that is good by the second rule is taken away before the first is asked again.
    "two issuers at shared places": (
        "two",
        [bearer(made())],
        f"/?access_token={THEIRS}",
        200,
        401,
    ),
    "a bad one at the other's place": (
        "apart",
        [("x-a", f"T {made()}"), ("x-b", "x")],
        "/",
        200,
        401,
    ),
}


def jwt_authn(rules: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The filter's configuration for rules, as Istio makes it."""
    ordered = sorted(rules, key=lambda one: one["issuer"])
    providers = {}
    for index, one in enumerate(ordered):
        providers[f"origins-{index}"] = {
            "issuer": one["issuer"],
            "audiences": one.get("audiences", []),
            "local_jwks": {"inline_string": one["jwks"]},
            "forward": one.get("forwardOriginalToken", False),
            "forward_payload_header": one.get("outputPayloadToHeader", ""),
            "claim_to_headers": [
                {"header_name": output["header"], "claim_name": output["claim"]}
                for output in one.get("outputClaimToHeaders", ())
            ],
            "from_headers": [
                {"name": header["name"], "value_prefix": header.get("prefix", "")}
                for header in one.get("fromHeaders", ())
            ],
            "from_params": one.get("fromParams", []),
            "from_cookies": one.get("fromCookies", []),
            "payload_in_metadata": "payload",
        }
    each = [{"provider_name": name} for name in providers]
    either = [{"requires_any": {"requirements": [one, {"allow_missing": {}}]}} for one in each]
    needed: dict[str, Any] = either[0]
    if len(either) > 1:
        both = {"requires_all": {"requirements": either}}
        needed = {"requires_any": {"requirements": [*each, both]}}
    return {
        "@type": f"{GOOGLE}.filters.http.jwt_authn.v3.JwtAuthentication",
        "providers": providers,
        "rules": [{"match": {"prefix": "/"}, "requires": needed}],
        "bypass_cors_preflight": True,
    }


_SUBJECT = "envoy.filters.http.jwt_authn:payload:sub"
SHOWN = ("authorization", "x-payload", *(one["header"] for one in OUTPUTS["outputClaimToHeaders"]))


def listener(name: str, rules: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """A port that verifies tokens, and answers with the headers that an app would see."""
    manager = {
        "@type": f"{GOOGLE}.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": name,
        "route_config": {
            "virtual_hosts": [
                {
                    "name": "all",
                    "domains": ["*"],
                    "routes": [{"match": {"prefix": "/"}, "direct_response": {"status": 200}}],
                    "response_headers_to_add": [
                        {"header": {"key": f"seen-{shown}", "value": f"%REQ({shown})%"}}
                        for shown in SHOWN
                    ]
                    + [{"header": {"key": "is", "value": f"%DYNAMIC_METADATA({_SUBJECT})%"}}],
                }
            ]
        },
        "http_filters": [
            {"name": "jwt", "typed_config": jwt_authn(rules)},
            {
                "name": "router",
                "typed_config": {"@type": f"{GOOGLE}.filters.http.router.v3.Router"},
            },
        ],
    }
    return {
        "name": name,
        "address": {"socket_address": {"address": "127.0.0.1", "port_value": 0}},
        "filter_chains": [{"filters": [{"name": "http", "typed_config": manager}]}],
    }


class JwtEnvoy(StaticEnvoy):
    """An Envoy with a port for each set of rules."""

    def __init__(self, program: str, directory: Path) -> None:
        super().__init__(
            program, directory, {"listeners": [listener(*one) for one in RULES.items()]}
        )

    def answer(self, rules: str, headers: Sequence[tuple[str, str]], target: str) -> Any:
        """(status, headers, body) for a request."""
        return ask(self.ports[rules], headers, target)


def ask(
    port: int, headers: Sequence[tuple[str, str]], target: str
) -> tuple[int, dict[str, str], str]:
    """(status, headers, body) of what comes back."""
    lines = [
        f"GET {target} HTTP/1.1",
        "host: app",
        *(f"{name}: {value}" for name, value in headers),
    ]
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S) as connection:
        connection.sendall("\r\n".join([*lines, "", ""]).encode("latin-1"))
        received = b""
        while b"\r\n\r\n" not in received:
            received += connection.recv(65536)
        head, _, body = received.partition(b"\r\n\r\n")
        first, *rest = head.decode("latin-1").split("\r\n")
        found = {name.lower(): value for name, _, value in (one.partition(": ") for one in rest)}
        while len(body) < int(found.get("content-length", 0)):
            body += connection.recv(65536)
        if "chunked" in found.get("transfer-encoding", ""):
            while not body.endswith(b"0\r\n\r\n"):
                body += connection.recv(65536)
    return int(first.split()[1]), found, body.decode("latin-1")


@pytest.fixture(scope="module")
def envoy(engine, tmp_path_factory):
    found = JwtEnvoy(engine("envoy"), tmp_path_factory.mktemp("jwt"))
    yield found
    found.close()


@pytest.fixture(scope="module")
def meshes():
    return {name: TestMesh([authentication(*rules)]) for name, rules in RULES.items()}


def ours(mesh: TestMesh, headers: Sequence[tuple[str, str]], target: str) -> Admission | Denial:
    return mesh.gate.admit(request(target, headers=headers))


@pytest.mark.parametrize(("rules", "headers", "target"), SAME.values(), ids=SAME)
def test_the_answer_is_the_same(envoy, meshes, rules, headers, target):
    """Status, body and challenge of a refusal; of an admission who it is, and what the app sees."""
    status, shown, body = envoy.answer(rules, headers, target)
    passage = ours(meshes[rules], headers, target)
    if isinstance(passage, Denial):
        challenge = dict(passage.headers)["www-authenticate"]
        told = shown["www-authenticate"]
        if "?" in target:  # ours leaves the query out
            told = told.replace(target[:256], target.partition("?")[0])
        assert (passage.status, passage.body, challenge) == (status, body, told)
        return
    assert status == 200, body
    assert passage.call.claims.get("sub") == shown.get("is")
    seen = {name: value for name, value in headers if name not in passage.remove}
    seen |= dict(passage.add)
    assert {name: seen.get(name) for name in SHOWN} == {
        name: shown.get(f"seen-{name}") for name in SHOWN
    }


@pytest.mark.parametrize("name", DIFFERENT)
def test_the_differences_are_those_that_are_listed(envoy, meshes, name):
    """Each is stricter, or says more, and stands in the table of fields."""
    rules, headers, target, theirs, expected = DIFFERENT[name]
    status, _, _ = envoy.answer(rules, headers, target)
    assert status == theirs
    passage = ours(meshes[rules], headers, target)
    assert isinstance(passage, Denial)
    assert passage.status == expected
