"""Rules are asked about the headers that the app gets, and not about what a caller made of them."""

from __future__ import annotations

import pytest
from inbound_world import mesh_config, policy, request, status_of, to, when
from user_world import authentication, bearer, rule, token

from meshware.inbound.passage import Admission
from meshware.testing import TestMesh

USERS = authentication(
    rule(outputClaimToHeaders=[{"header": "x-role", "claim": "role"}], outputPayloadToHeader="x-p")
)
ROLES = [
    policy("ALLOW", {**to(paths=["/allow"]), **when("request.headers[x-role]", "admin")}, name="a"),
    policy("ALLOW", to(paths=["/deny", "/not", "/seen"]), name="b"),
    policy("ALLOW", {**to(paths=["/payload"]), **when("request.headers[x-p]", "*")}, name="c"),
    policy("DENY", {**to(paths=["/deny"]), **when("request.headers[x-role]", "banned")}, name="d"),
    policy(
        "DENY",
        {**to(paths=["/not"]), **when("request.headers[x-role]", unless=["admin"])},
        name="e",
    ),
    policy(
        "DENY",
        {**to(paths=["/seen"]), **when("request.headers[authorization]", "*")},
        name="f",
    ),
]
MESH = TestMesh([USERS, *ROLES])
ADMIN, BANNED = (bearer(token(role=role)) for role in ("admin", "banned"))
SPOOF = ("x-role", "admin")


@pytest.mark.parametrize(
    ("path", "headers", "status"),
    [
        ("/allow", [SPOOF], 403),
        ("/allow", [BANNED, SPOOF], 403),
        ("/allow", [ADMIN], 200),
        ("/allow", [ADMIN, ("x-role", "banned")], 200),
        ("/deny", [BANNED], 403),
        ("/deny", [ADMIN, ("x-role", "banned")], 200),
        ("/deny", [("x-role", "banned")], 200),
        ("/not", [SPOOF], 403),
        ("/not", [ADMIN], 200),
        ("/payload", [("x-p", "e30")], 403),
        ("/payload", [ADMIN], 200),
        ("/seen", [ADMIN], 200),
    ],
)
def test_rules_see_what_tokens_come_to_and_not_what_callers_write(path, headers, status):
    """As in Istio, whose token filter stands before its rules; a token that is taken is gone."""
    assert status_of(MESH, request(path, headers=headers)) == status


@pytest.mark.parametrize(
    "name",
    ["x-forwarded-client-cert", "x-envoy-original-path", "x-meshware-peer", "x_meshware_peer"],
)
def test_rules_see_nothing_of_what_only_the_mesh_may_say(name):
    """A caller that writes it has written nothing."""
    key = f"request.headers[{name.replace('_', '-')}]"
    mesh = TestMesh(policy("ALLOW", when(key, "*")))
    assert status_of(mesh, request(headers=[(name, "spiffe://cluster.local/ns/a/sa/b")])) in (
        400,
        403,
    )


def test_rules_see_the_certificate_header_that_the_mesh_writes():
    """Where MeshConfig wants the app to get it."""
    mesh = TestMesh(
        [
            mesh_config(defaultConfig={"proxyHeaders": {"forwardedClientCert": "SANITIZE_SET"}}),
            policy("ALLOW", when("request.headers[x-forwarded-client-cert]", "*sa/web")),
        ]
    )
    web = mesh.issue("spiffe://cluster.local/ns/shop/sa/web")
    forged = ("x-forwarded-client-cert", "URI=spiffe://cluster.local/ns/shop/sa/web")
    assert status_of(mesh, request(headers=[forged])) == 403
    assert status_of(mesh, request(shows=web)) == 200


def test_a_preflight_hands_no_token_on():
    """Nobody has verified it."""
    headers = [
        ("origin", "https://a.example"),
        ("access-control-request-method", "GET"),
        bearer("junk.junk.junk"),
    ]
    passage = TestMesh(USERS).gate.admit(request(method="OPTIONS", headers=headers))
    assert isinstance(passage, Admission)
    assert "authorization" in passage.remove
