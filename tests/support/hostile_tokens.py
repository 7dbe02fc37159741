"""Tokens that must be refused, made from a right one: of any kind, by what is wrong with them."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Iterator
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from jwt.algorithms import get_default_algorithms
from tokens import NOW, encoded, signed

from meshware.identity.issue import new_key
from meshware.identity.jwk import public_jwk
from meshware.identity.svid import PrivateKey

_B64 = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"


def hostile(
    key: PrivateKey, header: dict[str, Any], claims: dict[str, Any]
) -> Iterator[tuple[str, str]]:
    """Tokens with names. The signature is right wherever that is not what is wrong.

    Args:
        key: that may sign.
        header: of a right token.
        claims: likewise.
    """
    right = signed(key, header, claims)
    yield from _shapes(right)
    yield from _headers(key, header, claims)
    yield from _payloads(key, header, claims)
    yield from _dates(key, header, claims)
    yield from _signatures(key, header, claims)


def _shapes(right: str) -> Iterator[tuple[str, str]]:
    head, body, signature = right.split(".")
    yield "nothing", ""
    yield "one part", head
    yield "two parts", f"{head}.{body}"
    yield "no signature", f"{head}.{body}."
    yield "four parts", f"{right}.{signature}"
    yield "five parts, as an encrypted token", f"{head}.{body}.{signature}.{body}.{signature}"
    yield "empty header", f".{body}.{signature}"
    yield "empty claims", f"{head}..{signature}"
    yield "dots", "....."
    yield "a space before", f" {right}"
    yield "a line end behind", f"{right}\n"
    yield "a NUL within", f"{head}\x00.{body}.{signature}"
    yield "Bearer before", f"Bearer {right}"
    yield "padding", f"{head}.{body}.{signature}=="
    yield "padding in the header", f"{head}==.{body}.{signature}"
    yield "base64 with plus and slash", f"{head}.{body}.{'+/' * 43}"
    yield "letters that are none", f"{head}.{body}.{signature[:-1]}\u0131"
    yield "a lone surrogate", f"{head}.{body}.{signature[:-1]}\ud800"
    yield "a fullwidth dot", f"{head}\uff0e{body}\uff0e{signature}"
    yield "a second spelling of the signature", f"{head}.{body}.{_twin(signature)}"
    yield "a part of one letter", f"{head}.{body}.A"
    yield "JSON in place of compact", json.dumps({"payload": body, "signature": signature})
    yield "16 KiB and one byte", right + "A" * (16 * 1024 + 1 - len(right))
    yield "a megabyte", "A" * 1_000_000 + f".{body}.{signature}"
    yield "a megabyte of dots", "." * 1_000_000


def _twin(part: str) -> str:
    """The same bytes with other bits behind the last of them."""
    last = _B64[_B64.index(part[-1]) ^ 1]
    return part[:-1] + last


def _headers(key: PrivateKey, header: dict, claims: dict) -> Iterator[tuple[str, str]]:
    def made(**changed: Any) -> str:
        found = {**header, **changed}
        return signed(key, {n: v for n, v in found.items() if v is not _GONE}, claims)

    for name in ("none", "None", "NONE", "nOnE", "HS256", "HS384", "HS512", "EdDSA", "ES256K"):
        yield f"alg {name}", made(alg=name)
    yield "alg of another curve", made(alg="ES384")
    yield "alg of another kind of key", made(alg="RS256")
    yield "alg in lower case", made(alg="es256")
    yield "alg with a blank", made(alg="ES256 ")
    yield "alg a list", made(alg=["ES256"])
    yield "alg null", made(alg=None)
    yield "alg missing", made(alg=_GONE)
    yield "crit", made(crit=["exp"])
    yield "crit of nothing", made(crit=[])
    yield "b64 false", made(b64=False, crit=["b64"])
    yield "b64 true", made(b64=True)
    yield "zip", made(zip="DEF")
    yield "enc", made(enc="A256GCM")
    yield "jku", made(jku="http://169.254.169.254/keys")
    yield "x5u", made(x5u="http://attacker.example/cert")
    yield "x5c", made(x5c=["MIIB"])
    yield "jwk in the header", made(jwk=public_jwk(key))
    yield "a private header", made(hello="x")
    yield "kid of nobody", made(kid="nobody")
    yield "kid a path", made(kid="../../../../dev/null")
    yield "kid SQL", made(kid="x' UNION SELECT 'y")
    yield "kid a number", made(kid=7)
    yield "kid a list", made(kid=["wit", "jwt"])
    yield "kid of 4 KiB", made(kid="k" * 4096)
    yield "typ of a token of another kind", made(typ="at+jwt")
    yield "typ in another case", made(typ=str(header.get("typ")).swapcase())
    yield "typ a number", made(typ=1)
    yield "typ empty", made(typ="")
    yield "typ null", made(typ=None)
    text = json.dumps(header)
    yield "alg twice", signed(key, '{"alg":"none",' + text[1:], claims)
    yield "kid twice", signed(key, text[:-1] + ',"kid":"x","kid":"x"}', claims)
    yield "alg twice by an escape", signed(key, text[:-1] + ',"\\u0061lg":"none"}', claims)
    yield "a header that is a list", signed(key, f"[{text}]", claims)
    yield "a header that is a text", signed(key, json.dumps(text), claims)
    yield "a header that is null", signed(key, "null", claims)
    yield "a header in UTF-16", signed(key, text.encode("utf-16"), claims)
    yield "a header with a byte-order mark", signed(key, b"\xef\xbb\xbf" + text.encode(), claims)
    yield "a header of 200 kB", made(x="y" * 200_000)
    yield "a header with comments", signed(key, text[:-1] + "/* */}", claims)


_GONE = object()


def _payloads(key: PrivateKey, header: dict, claims: dict) -> Iterator[tuple[str, str]]:
    text = json.dumps(claims)

    def made(payload: bytes | str) -> str:
        return signed(key, header, payload)

    yield "claims that are a list", made(f"[{text}]")
    yield "claims that are a text", made(json.dumps(text))
    yield "claims that are a number", made("1")
    yield "claims that are no JSON", made("hello")
    yield "claims cut off", made(text[:-1])
    yield "claims twice", made(text + text)
    yield "claims in UTF-16", made(text.encode("utf-16"))
    yield "claims in UTF-16 without a mark", made(text.encode("utf-16-le"))
    yield "claims in UTF-32", made(text.encode("utf-32"))
    yield "claims with a byte-order mark", made(b"\xef\xbb\xbf" + text.encode())
    yield "claims in Latin-1", made(text[:-1].encode() + b',"x":"\xe9"}')
    yield "an overlong NUL", made(text[:-1].encode() + b',"x":"\xc0\x80"}')
    yield "half of a surrogate pair", made(text[:-1] + ',"x":"\\ud800"}')
    yield "the other half", made(text[:-1] + ',"x":"\\udc00"}')
    yield "half of a pair in a name", made(text[:-1] + ',"\\ud800":1}')
    yield "half of a pair, raw", made(text[:-1] + ',"x":"\ud800"}')
    yield "exp twice", made(text[:-1] + f',"exp":{NOW + 60}}}')
    yield "sub twice by an escape", made('{"s\\u0075b":"x","sub":"x",' + text[1:])
    yield "a member twice, deep inside", made(text[:-1] + ',"x":{"y":{"a":1,"a":2}}}')
    yield "NaN", made(text[:-1] + ',"x":NaN}')
    yield "Infinity", made(text[:-1] + ',"x":-Infinity}')
    yield "1e999", made(text[:-1] + ',"x":1e999}')
    yield "an integer of 5,000 digits", made(text[:-1] + ',"x":' + "9" * 5000 + "}")
    yield "5,000 lists", made(text[:-1] + ',"x":' + "[" * 5000 + "]" * 5000 + "}")
    yield "1,000 objects", made(text[:-1] + ',"x":' + '{"a":' * 1000 + "1" + "}" * 1000 + "}")
    yield "lists left open", made(text[:-1] + ',"x":' + "[" * 10_000)
    yield "quotes left open", made(text[:-1] + ',"x":"' + "\\" * 9_999)
    yield "a NUL between members", made(text[:-1] + '\x00,"x":1}')
    yield "a control character in a text", made(text[:-1] + ',"x":"a\nb"}')
    yield "a single quote", made(text.replace('"', "'"))
    yield "a comma too many", made(text[:-1] + ",}")
    for name, value in (
        ("none", None),
        ("a number", 7),
        ("a list", ["spiffe://example.org/x"]),
        ("empty", ""),
        ("no SPIFFE ID", "web"),
        ("another scheme", "https://example.org/x"),
        ("a trust domain alone", "spiffe://example.org"),
        ("another trust domain", "spiffe://elsewhere.org/x"),
        ("a partner's", "spiffe://partner.net/ns/a/sa/b"),
        ("with dots", "spiffe://example.org/a/../b"),
        ("with a slash behind", "spiffe://example.org/a/"),
        ("with a NUL", "spiffe://example.org/a\x00b"),
        ("in upper case", "SPIFFE://EXAMPLE.ORG/A"),
        ("with a query", "spiffe://example.org/a?b"),
        ("too long", "spiffe://example.org/" + "a" * 3000),
    ):
        if "sub" in claims:
            yield f"sub {name}", signed(key, header, {**claims, "sub": value})


def _dates(key: PrivateKey, header: dict, claims: dict) -> Iterator[tuple[str, str]]:
    def made(**changed: Any) -> str:
        return signed(key, header, {**claims, **changed})

    without = {name: value for name, value in claims.items() if name != "exp"}
    yield "no exp", signed(key, header, without)
    for name, value in (
        ("past", NOW - 61),
        ("0", 0),
        ("negative", -1),
        ("a text", str(NOW + 60)),
        ("true", True),
        ("null", None),
        ("a list", [NOW + 60]),
        ("in a hundred years", NOW + 3_153_600_000),
        ("in milliseconds", NOW * 1000),
        ("1e300", 1e300),
        ("an integer of 400 digits", 10**400),
    ):
        yield f"exp {name}", made(exp=value)
    for name, value in (
        ("to come", NOW + 61),
        ("a text", str(NOW)),
        ("true", True),
        ("null", None),
        ("an object", {}),
    ):
        yield f"nbf {name}", made(nbf=value)
        yield f"iat {name}", made(iat=value)
    yield "a life that is too long, by iat", made(iat=NOW - 10 * 86_400)


def _signatures(key: PrivateKey, header: dict, claims: dict) -> Iterator[tuple[str, str]]:
    right = signed(key, header, claims)
    head, body, signature = right.split(".")
    yield "another's key", signed(new_key(), header, claims)
    yield "zeros", f"{head}.{body}.{encoded(bytes(64))}"
    yield "r and s of the order", f"{head}.{body}.{_order()}"
    yield "short", f"{head}.{body}.{signature[:40]}"
    yield "long", f"{head}.{body}.{signature}{'A' * 40}"
    yield "of the claims before", f"{head}.{encoded({**claims, 'sub': 'x'})}.{signature}"
    yield "of the header before", f"{encoded({**header, 'x': 1})}.{body}.{signature}"
    der = key.sign(f"{head}.{body}".encode(), ec.ECDSA(hashes.SHA256()))
    yield "in DER", f"{head}.{body}.{encoded(der)}"
    # The confusion of an HMAC key with a public key's text.
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    parts = f"{encoded({**header, 'alg': 'HS256'})}.{body}"
    mac = hmac.new(public, parts.encode(), hashlib.sha256).digest()
    yield "HMAC by the public key", f"{parts}.{encoded(mac)}"
    own = rsa.generate_private_key(65537, 2048)
    parts = f"{encoded({**header, 'alg': 'RS256'})}.{body}"
    made = get_default_algorithms()["RS256"].sign(parts.encode(), own)
    yield "RSA of nobody", f"{parts}.{encoded(made)}"


def _order() -> str:
    order = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
    return encoded(order.to_bytes(32, "big") * 2)
