"""What authorizers are asked, and what their answers come to: the gate's own part, without I/O."""

from __future__ import annotations

from typing import Any

import pytest
from custom_world import AUTHZ, OK, SERVICE, asked, asks, mesh
from inbound_world import mesh_config, policy, request, to

from meshware.authz import Request
from meshware.errors import PolicyError
from meshware.inbound.asking import (
    Check,
    HttpAnswer,
    NoAnswer,
)
from meshware.inbound.passage import Admission, Ask, Denial


@pytest.mark.parametrize(
    ("target", "is_asked"),
    [
        ("/admin", True),
        ("/admin/", False),
        ("/public", False),
        ("/%61dmin", True),
        ("//admin", True),
    ],
)
def test_only_what_a_rule_matches_is_asked_about(target, is_asked):
    it = mesh(asks("opa", to(paths=["/admin"])))
    assert isinstance(it.gate.admit(request(target)), Ask) == is_asked


def test_several_authorizers_are_asked_one_after_the_other_and_all_must_allow():
    """Oldest first; the second is not asked about what the first refuses."""
    providers = [
        {"name": name, "envoyExtAuthzHttp": {**AUTHZ, "headersToUpstreamOnAllow": ["x-*"]}}
        for name in ("one", "two")
    ]
    it = mesh(
        asks("two", policy_name="a-two"), asks("one", policy_name="b-one"), providers=providers
    )
    first = asked(it)
    assert first.authorizer.name == "two"
    second = first.answered(HttpAnswer(200, (("x-a", "1"), ("x-b", "1")), b""))
    assert isinstance(second, Ask)
    assert second.authorizer.name == "one"
    done = second.answered(HttpAnswer(200, (("x-a", "2"),), b""))
    assert isinstance(done, Admission)
    assert dict(done.add)["x-a"] == "2"
    assert dict(done.add)["x-b"] == "1"
    refused = asked(it).answered(HttpAnswer(401, (), b""))
    assert isinstance(refused, Denial)
    assert refused.policy == "default/a-two"


def test_a_path_that_may_mean_several_things_is_asked_about_as_each():
    """`/admin/../public` runs a handler at `/admin` in Flask and Starlette."""
    passage: Any = asked(mesh(), request("/admin/../public?q=1"))
    targets = []
    while isinstance(passage, Ask):
        targets.append(passage.request.target)
        passage = passage.answered(OK)
    assert isinstance(passage, Admission)
    assert targets == ["/public?q=1", "/admin/../public?q=1"]


def test_deny_and_allow_rules_come_behind_the_authorizer():
    it = mesh(asks(), policy("DENY", to(paths=["/no"])), policy("ALLOW", to(paths=["/yes", "/no"])))
    assert asked(it, request("/no")).answered(OK).status == 403
    assert asked(it, request("/other")).answered(OK).status == 403
    assert isinstance(asked(it, request("/yes")).answered(OK), Admission)


def test_a_bad_request_is_refused_without_asking():
    passage = mesh().gate.admit(request("/", headers=[("host", "x")]))
    assert (type(passage), passage.status) == (Denial, 400)


def test_twins_of_what_an_authorizer_reads_and_sets_are_refused():
    it = mesh(includeRequestHeadersInCheck=["x-show"], headersToUpstreamOnAllow=["X-User", "x-a-*"])
    for twin in ("x_show", "x_user"):
        assert it.gate.admit(request("/", headers=[(twin, "1")])).status == 400
    # Of a pattern nobody knows the names before they are set: then the twins go.
    passage = asked(it, request("/", headers=[("x_a_b", "1"), ("x_b", "1")]))
    done = passage.answered(HttpAnswer(200, (("x-a-b", "2"),), b""))
    assert isinstance(done, Admission)
    assert ("x-a-b", "2") in done.add
    assert "x_a_b" in done.remove
    assert "x_b" not in done.remove


def test_a_check_has_what_envoy_sends():
    it = mesh(
        pathPrefix="/check",
        includeRequestHeadersInCheck=["x-one", "x-p-*", "*-end", "content-type", "content-length"],
        includeAdditionalHeadersInCheck={
            "x-one": "fixed", "X-Path": "%REQ(:METHOD)% %REQ(:PATH)%", "x-pc": "100%%",
            "x-none": "%REQ(x-not-there)%",
        },
    )  # fmt: skip
    head = request(
        "/a/b?c=d",
        method="POST",
        host="shop:81",
        headers=[
            ("authorization", "Bearer a"),
            ("authorization", "Bearer b"),
            ("x-one", "theirs"),
            ("x-p-q", "1"),
            ("x-p_q", "2"),
            ("the-end", "3"),
            ("content-type", "text/css"),
            ("content-length", "5"),
            ("x-envoy-end", "4"),
            ("workload-identity-end", "5"),
            ("workload-identity-token", "secret"),
            ("x-request-id", "id"),
            ("cookie", "c"),
        ],
    )
    check = asked(it, head).request
    assert isinstance(check, Check)
    assert (check.method, check.host, check.target) == ("POST", "shop:81", "/check/a/b?c=d")
    assert dict(check.headers) == {
        "authorization": "Bearer a,Bearer b",
        "x-one": "fixed",
        "x-path": "POST /a/b?c=d",
        "x-pc": "100%",
        "x-p-q": "1",
        "the-end": "3",
        "workload-identity-end": "5",
        "content-type": "text/css",
        "x-request-id": "id",
    }
    assert len(check.headers) == len(dict(check.headers))
    assert check.sized(None, is_whole=True)[-1] == ("content-length", "0")
    sized = dict(check.sized(b"abc", is_whole=False))
    assert (sized["content-length"], sized["x-envoy-auth-partial-body"]) == ("3", "true")


def test_a_function_is_asked_with_what_the_mesh_knows():
    it = mesh(asks("fn"), providers=[{"name": "fn", "inProcess": {}}])
    head = request(
        "/a%20b?c=d",
        headers=[("X-User", "secret"), ("X-Envoy-A", "1"), ("x-forwarded-client-cert", "x"),
                 ("a", "1"), ("a", "2")],
    )  # fmt: skip
    found = asked(it, head).request
    assert isinstance(found, Request)
    assert (found.method, found.path, found.query, found.host) == ("GET", "/a%20b", "c=d", "app")
    assert (found.source_ip, found.peer, found.body) == ("192.0.2.1", None, None)
    assert found.headers["x-USER"] == "secret"
    assert (found.headers["a"], found.headers.lines("A")) == ("1, 2", ("1", "2"))
    assert found.headers.get("x-envoy-a") is None
    assert "x-forwarded-client-cert" not in found.headers
    assert set(found.headers) == {"host", "x-user", "a"}
    assert "secret" not in repr(found)


def test_a_provider_that_there_is_not_is_refused_at_load():
    with pytest.raises(PolicyError, match=r"MeshConfig has no authorizer 'opb'.*did you mean opa"):
        mesh(asks("opb"))


def test_other_providers_may_change_without_a_policy():
    """A new MeshConfig counts for rules that were compiled before."""
    it = mesh(statusOnError="503")
    assert asked(it).answered(NoAnswer("x")).status == 503
    opa = {"name": "opa", "envoyExtAuthzHttp": {**AUTHZ, "statusOnError": "429"}}
    it.apply([SERVICE, mesh_config(extensionProviders=[opa]), asks()])
    assert asked(it).answered(NoAnswer("x")).status == 429
