"""End users' tokens that must be refused, by what is wrong with them.

Those of `hostile_tokens` that are wrong for anybody, and those that only a rule of an issuer tells
from right ones: keys, audiences, issuers.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Iterator
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hostile_tokens import hostile
from tokens import NOW, encoded
from user_world import CLAIMS, ISSUER, OTHER, jwk, jwks, key, rule, token

AUDIENCE = "https://us.example"
RULES = (
    rule(issuer=ISSUER, jwks=jwks("ec", "rsa", "ed", "p384"), audiences=[AUDIENCE]),
    rule(issuer=OTHER, jwks=jwks("other")),
)
"""Whose tokens are good where these come."""

RIGHT = {**CLAIMS, "aud": AUDIENCE}
_HEADER = {"alg": "ES256", "kid": "ec", "typ": "JWT"}

# What is wrong with these is wrong for workloads alone: other kinds of tokens, names that are no
# SPIFFE IDs, and times that only a short life rules out.
_RIGHT_FOR_USERS = (
    "a private header",
    "typ of a token of another kind",
    "typ in another case",
    "typ empty",
    "exp in a hundred years",
    "iat to come",
    "a life that is too long, by iat",
    "a lone surrogate",  # cannot stand in a header at all
    "sub empty",
    "sub no SPIFFE ID",
    "sub another scheme",
    "sub a trust domain alone",
    "sub another trust domain",
    "sub a partner's",
    "sub with dots",
    "sub with a slash behind",
    "sub in upper case",
    "sub with a query",
    "sub too long",
)


def hostile_user_tokens() -> dict[str, str]:
    """All of them, by what is wrong."""
    found = dict(hostile(key("ec"), _HEADER, RIGHT))
    for name in _RIGHT_FOR_USERS:
        del found[name]
    for name, text in (*_keys(), *_algorithms(), *_audiences(), *_issuers(), *_spellings()):
        assert name not in found, name
        found[name] = text
    return found


def _made(name: str = "ec", **changed: Any) -> str:
    return token(name, RIGHT, **changed)


def _keys() -> Iterator[tuple[str, str]]:
    yield "signed by the other issuer", token("other", RIGHT, {"alg": "ES256", "kid": "ec"})
    yield "signed by the other issuer, which it names", token("other", RIGHT)
    yield "the other issuer's name, by this issuer's key", token("ec", {**RIGHT, "iss": OTHER})
    yield "the id of another of its keys", token("ec", RIGHT, {"alg": "ES256", "kid": "p384"})
    yield "a kid with a blank", token("ec", RIGHT, {"alg": "ES256", "kid": "ec "})
    yield "a kid in another case", token("ec", RIGHT, {"alg": "ES256", "kid": "EC"})
    yield "a kid with a NUL", token("ec", RIGHT, {"alg": "ES256", "kid": "ec\x00"})
    yield "a kid that is an address", token("ec", RIGHT, {"alg": "ES256", "kid": "https://evil/k"})
    yield "a kid that is an object", token("ec", RIGHT, {"alg": "ES256", "kid": {"a": "ec"}})
    yield "a kid that is null", token("ec", RIGHT, {"alg": "ES256", "kid": None})
    own = {"alg": "ES256", "kid": "ec", "jwk": jwk("mallory")}
    yield "a key of its own in its header", token("mallory", RIGHT, own)
    yield (
        "x5t and a chain of its own",
        token("mallory", RIGHT, {"alg": "ES256", "kid": "ec", "x5c": ["MIIB"], "x5t": "x"}),
    )
    yield "a critical kid", token("ec", RIGHT, {"alg": "ES256", "kid": "ec", "crit": ["kid"]})


def _algorithms() -> Iterator[tuple[str, str]]:
    for named, real in (
        ("RS256", "PS256"),
        ("PS256", "RS256"),
        ("RS256", "RS512"),
        ("PS384", "PS256"),
    ):
        header = {"alg": named, "kid": "rsa"}
        yield f"{real} that says {named}", token("rsa", RIGHT, header, real)
    yield "ES256 by the RSA key", token("ec", RIGHT, {"alg": "ES256", "kid": "rsa"})
    yield "EdDSA by the EC key", token("ed", RIGHT, {"alg": "EdDSA", "kid": "ec"})
    yield "EdDSA that says ES256", token("ed", RIGHT, {"alg": "ES256", "kid": "ed"})
    yield "ES384 that says ES256", token("p384", RIGHT, {"alg": "ES256", "kid": "p384"})
    yield "ES256K", token("k1", RIGHT, {"alg": "ES256K", "kid": "ec"}, "ES256K")
    for name in ("rsa", "ec", "ed"):
        public = key(name).public_key()
        for form, data in (
            ("PEM", public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)),
            ("DER", public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)),
            ("JSON", json.dumps(jwk(name)).encode()),
        ):
            for algorithm, digest in (("HS256", hashlib.sha256), ("HS512", hashlib.sha512)):
                parts = f"{encoded({'alg': algorithm, 'kid': name})}.{encoded(RIGHT)}"
                mac = hmac.new(data, parts.encode(), digest).digest()
                yield f"{algorithm} by the {form} of {name}", f"{parts}.{encoded(mac)}"
    parts = f"{encoded({'alg': 'HS256'})}.{encoded(RIGHT)}"
    empty = hmac.new(b"", parts.encode(), hashlib.sha256).digest()
    yield "HS256 by nothing", f"{parts}.{encoded(empty)}"
    for algorithm in ("none", "NoNe", ""):
        yield (
            f"no signature and alg {algorithm!r}",
            f"{encoded({'alg': algorithm})}.{encoded(RIGHT)}.",
        )
    parts = f"{encoded({'alg': 'RS256', 'kid': 'rsa'})}.{encoded(RIGHT)}"
    sha1 = key("rsa").sign(parts.encode(), padding.PKCS1v15(), hashes.SHA1())
    yield "RS256 over SHA-1", f"{parts}.{encoded(sha1)}"
    yield "an RSA signature of zeros", f"{parts}.{encoded(bytes(256))}"
    yield "an RSA signature of ones", f"{parts}.{encoded(bytes(255) + bytes([1]))}"
    yield "an RSA signature of 2 bytes", f"{parts}.{encoded(bytes(2))}"
    yield "an RSA signature of 4 KiB", f"{parts}.{encoded(bytes(4096))}"
    parts = f"{encoded({'alg': 'EdDSA', 'kid': 'ed'})}.{encoded(RIGHT)}"
    yield "an EdDSA signature of zeros", f"{parts}.{encoded(bytes(64))}"
    yield "an EdDSA signature of the neutral point", f"{parts}.{encoded(bytes([1]) + bytes(63))}"
    yield "an EdDSA signature that is short", f"{parts}.{encoded(bytes(63))}"
    parts = f"{encoded({'alg': 'ES256', 'kid': 'ec'})}.{encoded(RIGHT)}"
    der = key("ec").sign(parts.encode(), ec.ECDSA(hashes.SHA256()))
    yield "an EC signature in DER with its length", f"{parts}.{encoded(der[:64])}"
    yield (
        "r of the order, s of one",
        f"{parts}.{encoded(bytes(31) + b'!' + bytes(31) + bytes([1]))}",
    )


def _audiences() -> Iterator[tuple[str, str]]:
    for name, audience in (
        ("of others", "https://them.example"),
        ("with a slash behind", f"{AUDIENCE}/"),
        ("without its scheme", "us.example"),
        ("over http", "http://us.example"),
        ("in capitals", AUDIENCE.upper()),
        ("with a blank", f"{AUDIENCE} "),
        ("among others in one text", f"{AUDIENCE} https://them.example"),
        ("that begins so", f"{AUDIENCE}.evil.example"),
        ("of an empty list", []),
        ("of a list of others", ["a", "b"]),
        ("of a list in a list", [[AUDIENCE]]),
        ("of a list with null", [AUDIENCE, None]),
        ("of an object", {"aud": AUDIENCE}),
        ("that is true", True),
        ("that is null", None),
        ("that is a star", "*"),
        ("of a thousand", [AUDIENCE] * 1000),
    ):
        changed = json.dumps({**RIGHT, "aud": audience})
        yield f"an audience {name}", token("ec", changed)
    without = {name: value for name, value in RIGHT.items() if name != "aud"}
    yield "no audience", token("ec", json.dumps(without))
    twice = json.dumps(RIGHT)[:-1] + f', "aud": "{AUDIENCE}"}}'
    yield "its audience twice", token("ec", twice)


def _issuers() -> Iterator[tuple[str, str]]:
    for name, issuer in (
        ("with a slash behind", f"{ISSUER}/"),
        ("that begins so", f"{ISSUER}.evil.example"),
        ("cut off", ISSUER[:-1]),
        ("over http", ISSUER.replace("https", "http")),
        ("in capitals", ISSUER.upper()),
        ("with a blank", f" {ISSUER}"),
        ("with a NUL", f"{ISSUER}\x00"),
        ("with a soft hyphen", ISSUER.replace("ss", "s\u00ads")),
        ("in fullwidth letters", ISSUER.replace("issuer", "\uff49ssuer")),
        ("of a list", [ISSUER]),
        ("of a list of both", [ISSUER, OTHER]),
        ("of an object", {"iss": ISSUER}),
        ("that is empty", ""),
        ("that is null", None),
        ("that is a number", 7),
    ):
        yield f"an issuer {name}", token("ec", json.dumps({**RIGHT, "iss": issuer}))
    without = {name: value for name, value in RIGHT.items() if name != "iss"}
    yield "no issuer", token("ec", json.dumps(without))
    twice = json.dumps(RIGHT)[:-1] + f', "iss": "{OTHER}"}}'
    yield "two issuers", token("ec", twice)
    escaped = json.dumps(RIGHT)[:-1] + ', "\\u0069ss": "x"}'
    yield "two issuers by an escape", token("ec", escaped)


def _spellings() -> Iterator[tuple[str, str]]:
    head, body, signature = _made().split(".")
    text = json.dumps(RIGHT)
    yield "a comma behind", f"{head}.{body}.{signature},"
    yield "two with a comma", f"{_made()},{_made()}"
    yield "two with a blank", f"{_made()} {_made()}"
    yield "a dot before", f".{head}.{body}.{signature}"
    yield "a dot behind", f"{head}.{body}.{signature}."
    yield "two dots between", f"{head}..{body}.{signature}"
    yield "a thousand dots", "." * 1000
    yield "quotes around", f'"{head}.{body}.{signature}"'
    yield "a tab within", f"{head}.{body}\t.{signature}"
    yield "percent signs", f"{head}%2E{body}%2E{signature}"
    yield "padding between", f"{head}=.{body}=.{signature}"
    yield "a semicolon", f"{head}.{body}.{signature};x"
    yield "exp in other digits", token("ec", text.replace(str(RIGHT["exp"]), "١٧٦٧"))
    yield "exp in hexadecimal", token("ec", text.replace(str(RIGHT["exp"]), "0xffffffff"))
    yield "exp with a plus", token("ec", text.replace(str(RIGHT["exp"]), "+1900000000"))
    yield "exp with zeros before", token("ec", text.replace(str(RIGHT["exp"]), "01900000000"))
    yield "exp Infinity", token("ec", text.replace(str(RIGHT["exp"]), "Infinity"))
    yield "exp NaN", token("ec", text.replace(str(RIGHT["exp"]), "NaN"))
    yield "exp 1e999", token("ec", text.replace(str(RIGHT["exp"]), "1e999"))
    yield "exp an object", token("ec", json.dumps({**RIGHT, "exp": {"a": NOW}}))
    yield "nbf a list", token("ec", json.dumps({**RIGHT, "nbf": [0]}))
    yield "jti a list", token("ec", json.dumps({**RIGHT, "jti": ["a"]}))
    yield "deep claims", token("ec", text[:-1] + ',"x":' + "[" * 17 + "]" * 17 + "}")
    yield (
        "a hundred thousand claims",
        token("ec", text[:-1] + "".join(f',"{number}":1' for number in range(20_000)) + "}"),
    )
