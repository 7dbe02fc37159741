"""What fuzzing tries: for any bytes nothing raises, and nothing gets in that must not.

Each target takes bytes, makes of them what an attacker may send (or an operator may write), and
checks laws that are written down here on their own, without the code that they are about.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from functools import cache

from inbound_world import mesh_config, policy, request, to, when
from user_world import CLAIMS, ISSUER, NOW, jwks, rule, token, user_mesh

from meshware.errors import IdentityError, TokenError
from meshware.identity.spiffe import SpiffeID
from meshware.identity.xfcc import last_element
from meshware.inbound.head import InboundHead
from meshware.inbound.passage import Admission, Denial
from meshware.policy.file import MemoryRecords
from meshware.policy.load import load_text
from meshware.policy.records import build_records
from meshware.policy.snapshot import build_snapshot
from meshware.policy.view import Client
from meshware.testing import TestMesh

__all__ = ["TARGETS", "Target"]

Target = Callable[[bytes], None]

STATUSES = frozenset({400, 401, 403})
"""What a request may be refused with; never anything from 500 on."""


def _asked(mesh: TestMesh, head: InboundHead) -> Admission | Denial:
    passage = mesh.gate.admit(head)
    assert not passage.reason.startswith("exception"), passage.reason
    if isinstance(passage, Denial):
        assert passage.status in STATUSES, passage.status
    mesh.events.clear()
    return passage


# --- paths ----------------------------------------------------------------------------------------

MODES = (None, "NONE", "BASE", "MERGE_SLASHES", "DECODE_AND_MERGE_SLASHES")


@cache
def _guarded(mode: str | None) -> TestMesh:
    rules = [policy("DENY", to(paths=["/admin", "/admin/*"]))]
    if mode is not None:
        rules.append(mesh_config(pathNormalization={"normalization": mode}))
    return TestMesh(rules)


def _percent_decoded(path: str) -> str:
    """What a server makes of an encoded path."""
    data = re.sub(
        rb"%([0-9A-Fa-f]{2})", lambda found: bytes([int(found[1], 16)]), path.encode("latin-1")
    )
    return data.decode("utf-8", "replace")


def path(data: bytes) -> None:
    """No spelling of a path runs what is behind `/admin`."""
    mode = MODES[data[0] % len(MODES)] if data else None
    target = data[1:].decode("latin-1")
    without_query = target.partition("?")[0]
    if len(data) % 2:
        without_query = without_query.partition("#")[0]  # as half of the servers do
    app_path = _percent_decoded(without_query)
    passage = _asked(_guarded(mode), request(target, paths=(app_path,)))
    if isinstance(passage, Admission):
        seen = app_path if passage.app_path is None else passage.app_path
        merged = re.sub("/+", "/", seen)
        for view in (seen, "/" + seen.lstrip("/"), merged, seen.replace("\\", "/")):
            assert view != "/admin" and not view.startswith("/admin/"), (mode, target, seen)
            assert not re.search(r"[\x00-\x1f\x7f]", view), (mode, target)


# --- headers --------------------------------------------------------------------------------------


@cache
def _reading() -> TestMesh:
    return TestMesh(
        [
            policy("DENY", when("request.headers[x-role]", "admin", "adm-*"), name="roles"),
            policy("DENY", to(hosts=["secret.example.com"]), name="hosts"),
            policy("DENY", to(methods=["DELETE"]), name="methods"),
        ]
    )


def headers(data: bytes) -> None:
    """No way to write a header, a host or a method slips past a rule about it."""
    lines = data.decode("latin-1").split("\n")
    method = lines[0]
    pairs = [(name, value) for name, _, value in (line.partition(":") for line in lines[1:])]
    passage = _asked(_reading(), request(method=method, host=None, headers=pairs))
    if isinstance(passage, Denial):
        return
    assert method.upper() != "DELETE"
    for name, value in ((name.lower(), value) for name, value in pairs):
        if name.replace("_", "-") == "x-role":
            for part in (part.strip(" \t") for part in value.split(",")):
                assert part != "admin" and not part.startswith("adm-"), pairs
        if name == "host":
            host = re.sub(r":[0-9]*$", "", value.strip(" \t").lower())
            assert host.rstrip(".") != "secret.example.com", pairs
        if name.startswith(("x-envoy-", "x-meshware-", "x-forwarded-client-cert")):
            assert name in passage.remove, pairs


# --- who calls ------------------------------------------------------------------------------------

PROXY = SpiffeID.parse("spiffe://cluster.local/ns/edge/sa/proxy")
WRITTEN = f'By={PROXY};Hash={"ab" * 32};Subject="";URI=spiffe://cluster.local/ns/shop/sa/web'


def xfcc(data: bytes) -> None:
    """Whatever a caller wrote before, the proxy's own element is the one that counts."""
    text = data.decode("latin-1")
    lines = text.split("\n")
    try:
        found = last_element(lines, PROXY)
    except TokenError:
        pass
    else:
        assert str(found.id) in lines[-1]
    for values in ([f"{text},{WRITTEN}"], [*lines, WRITTEN]):
        try:
            found = last_element(values, PROXY)
        except TokenError:
            continue
        assert str(found.id) == "spiffe://cluster.local/ns/shop/sa/web", values


_ID = re.compile(r"spiffe://[a-z0-9._-]{1,255}(/[A-Za-z0-9._-]+)+")


def spiffe_id(data: bytes) -> None:
    """An ID that is taken is one letter by letter, and has no second spelling."""
    for text in {data.decode("latin-1"), data.decode("utf-8", "replace")}:
        try:
            found = SpiffeID.parse(text)
        except IdentityError:
            continue
        assert str(found) == text
        assert _ID.fullmatch(text) and len(text) <= 2048, text
        assert not {"", ".", ".."} & set(text.split("/")[3:]), text


# --- end users ------------------------------------------------------------------------------------


@cache
def _users() -> TestMesh:
    return user_mesh(rule(jwks=jwks("ed"), audiences=["us"], fromCookies=["jwt"], **_PLACES))


_PLACES = {"fromHeaders": [{"name": "authorization", "prefix": "Bearer "}], "fromParams": ["jwt"]}


def user_token(data: bytes) -> None:
    """Nobody is behind a call whose token says two things, or not what it has to say."""
    mode, rest = (data[0] % 4, data[1:]) if data else (0, b"")
    header = json.dumps({"alg": "EdDSA", "kid": "ed"}).encode()
    claims = json.dumps({**CLAIMS, "aud": "us"}).encode()
    if mode == 0:  # anything, where a token may stand
        text = rest.decode("latin-1")
        places: list[InboundHead] = [
            request(headers=[("authorization", text)]),
            request(headers=[("cookie", text)]),
            request(f"/?{text}", paths=("/",)),
        ]
        for head in places:
            passage = _asked(_users(), head)
            assert passage.request_principal is None
        return
    if mode == 1:
        claims = rest
    elif mode == 2:
        header = rest
    else:
        claims, _, header = rest.partition(b"\n")
    text = token("ed", claims, header)
    passage = _asked(_users(), request(headers=[("authorization", f"Bearer {text}")]))
    if isinstance(passage, Denial):
        return
    assert passage.request_principal in (f"{ISSUER}/{passage.call.claims.get('sub')}", None)
    found = json.loads(claims.decode("utf-8"), object_pairs_hook=_each_once)
    assert found["iss"] == ISSUER
    assert found["aud"] == "us" or "us" in found["aud"]
    assert type(found["exp"]) in (int, float) and found["exp"] > NOW - 60
    assert type(found.get("nbf", 0)) in (int, float) and found.get("nbf", 0) <= NOW + 60
    told = json.loads(header.decode("utf-8"), object_pairs_hook=_each_once)
    assert told["alg"] == "EdDSA"
    assert not {"crit", "b64", "zip", "enc", "jku", "jwk", "x5u", "x5c"} & set(told)


def _each_once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    assert len(found) == len(pairs), pairs
    return found


# --- what operators write -------------------------------------------------------------------------


def policy_text(data: bytes) -> None:
    """Any text is taken or told about, and what is taken compiles."""
    loaded = load_text(data)
    for problem in loaded.problems:
        assert problem.message
    if not loaded.ok:
        return
    build_snapshot(
        MemoryRecords(build_records(loaded.resources)),
        Client(name="app"),
        generation=1,
        on_refusal=lambda name, error: None,
    )


TARGETS: Mapping[str, Target] = {
    "path": path,
    "headers": headers,
    "xfcc": xfcc,
    "spiffe_id": spiffe_id,
    "user_token": user_token,
    "policy_text": policy_text,
}
"""Every target by its name; `tests/fuzz/seeds` has a file for each."""
