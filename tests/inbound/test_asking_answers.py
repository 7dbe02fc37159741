"""What the answers of authorizers come to."""

from __future__ import annotations

import pytest
from custom_world import AUTHZ, OK, SERVICE, UAEX, UP, asked, asks, mesh
from inbound_world import mesh_config, policy, request, when
from user_world import ISSUER, bearer, rule, token, user_mesh

from meshware.authz import Allow, Deny
from meshware.call import Flag
from meshware.events import InboundEvent
from meshware.inbound.asking import (
    HttpAnswer,
    NoAnswer,
    TooLarge,
    TooSlow,
    Unknown,
    Unreadable,
)
from meshware.inbound.passage import Admission, Ask, Denial
from meshware.testing import TestMesh


@pytest.mark.parametrize("status", [201, 204, 301, 400, 401, 403, 404, 499])
def test_other_answers_than_200_are_the_callers(status):
    done = asked(mesh()).answered(HttpAnswer(status, (("x-a", "b"),), b"body"))
    assert isinstance(done, Denial)
    assert (done.status, done.flag, done.reason) == (status, UAEX, "ext_authz_denied")
    assert (done.policy, done.rule) == ("default/ask", 0)
    assert done.reply.content == b"body"
    assert ("x-a", "b") in done.reply.headers


ERRORS = [HttpAnswer(500, (), b"x"), HttpAnswer(599, (), b"x"), HttpAnswer(0, (), b""),
          HttpAnswer(101, (), b""), HttpAnswer(100, (), b""), HttpAnswer(600, (), b""),
          NoAnswer("late")]  # fmt: skip


@pytest.mark.parametrize("outcome", ERRORS, ids=str)
def test_an_error_refuses_unless_policy_says_otherwise(outcome):
    done = asked(mesh()).answered(outcome)
    assert isinstance(done, Denial)
    assert (done.status, done.body, done.reply.content) == (403, "", b"")
    assert (done.flag, done.reason) == (UAEX, "ext_authz_error")
    assert asked(mesh(statusOnError="503")).answered(outcome).status == 503
    opened = asked(mesh(failOpen=True, headersToUpstreamOnAllow=["*-a"])).answered(outcome)
    if isinstance(outcome, HttpAnswer) and outcome.status // 100 != 5:
        assert isinstance(opened, Denial)  # an answer, and nobody knows what it says
        return
    assert isinstance(opened, Admission)
    assert opened.flag is None


@pytest.mark.parametrize(
    ("outcome", "status", "body"),
    [
        (TooLarge(), 413, "Payload Too Large"),
        (TooSlow(), 408, "Request Timeout"),
        (Unreadable(), 400, "Bad Request"),
        (Unknown(), 403, "RBAC: access denied"),
    ],
)
def test_what_was_never_asked_is_refused_whatever_policy_says_of_errors(outcome, status, body):
    done = asked(mesh(failOpen=True)).answered(outcome)
    assert isinstance(done, Denial)
    assert (done.status, done.body, done.flag) == (status, body, None)


def test_what_an_authorizer_may_set_and_what_not():
    it = mesh(headersToUpstreamOnAllow=UP)
    passage = asked(
        it,
        request("/", headers=[("x-user", "me"), ("x-auth-old", "1"), ("x-gone", "1"),
                              ("authorization", "theirs")]),
    )  # fmt: skip
    done = passage.answered(
        HttpAnswer(
            200,
            (
                ("x-user", "ann"),
                ("x-auth-a", "1"),
                ("x-auth-a", "2"),
                ("authorization", "ours"),
                ("host", "evil"),
                ("x-request-id", "evil"),
                ("x-envoy-a", "evil"),
                ("content-length", "7"),
                ("x-other", "evil"),
                ("x-envoy-auth-headers-to-remove", "X-Gone,,host, :path ,x-meshware-a"),
            ),
            b"not read",
        )
    )
    assert isinstance(done, Admission)
    added = dict(done.add)
    assert added.pop("x-request-id") not in ("evil", "")
    assert added == {"x-user": "ann", "x-auth-a": "2", "authorization": "ours"}
    assert {"x-user", "x-gone", "authorization"} <= set(done.remove)
    assert not {"host", "x-auth-old", "x-meshware-a", ":path"} & set(done.remove)


def test_later_rules_see_what_the_app_will_see():
    it = mesh(
        asks(),
        policy("ALLOW", when("request.headers[x-user]", "ann")),
        headersToUpstreamOnAllow=["x-user"],
    )
    for sent, answer, is_let_in in (
        ("ann", "bob", False),
        ("bob", "ann", True),
        (None, "ann", True),
        ("ann", None, True),  # as in Envoy: what the authorizer does not send stays
    ):
        headers = [] if sent is None else [("x-user", sent)]
        told = () if answer is None else (("x-user", answer),)
        done = asked(it, request("/", headers=headers)).answered(HttpAnswer(200, told, b""))
        assert isinstance(done, Admission) == is_let_in


def test_headers_for_the_caller_come_behind_those_of_the_response():
    it = mesh(headersToDownstreamOnAllow=["x-a", "content-length"])
    done = asked(it).answered(
        HttpAnswer(200, (("x-a", "1"), ("x-a", "2"), ("content-length", "0"), ("x-b", "3")), b"")
    )
    assert isinstance(done, Admission)
    assert done.response is not None
    assert (done.response.drop, done.response.append) == (
        frozenset(),
        (("x-a", "1"), ("x-a", "2")),
    )


def test_one_that_is_asked_about_several_paths_tells_the_caller_once():
    """Its last answer counts, header by header; another authorizer's come besides."""
    opa = {**AUTHZ, "headersToDownstreamOnAllow": ["x-*"]}
    providers = [{"name": name, "envoyExtAuthzHttp": opa} for name in ("opa", "other")]
    it = mesh(asks(), asks("other", policy_name="then"), providers=providers)
    passage = asked(it, request("/ext//x"))
    answers = [
        (("x-down", "d"), ("x-first", "1")),
        (("x-down", "e"), ("x-down", "f")),
        (("x-down", "d"),),
        (("x-down", "d"),),
    ]
    for headers in answers:
        assert isinstance(passage, Ask)
        passage = passage.answered(HttpAnswer(200, headers, b""))
    assert isinstance(passage, Admission)
    assert passage.response is not None
    assert passage.response.append == (
        ("x-first", "1"), ("x-down", "e"), ("x-down", "f"), ("x-down", "d"),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("settings", "kept"),
    [
        ({}, {"x-why", "x-other", "location", "www-authenticate", "content-type", "set-cookie"}),
        (
            {"headersToDownstreamOnDeny": ["x-w*"]},
            {"x-why", "location", "www-authenticate", "content-type"},
        ),
    ],
)
def test_which_headers_of_a_refusal_reach_the_caller(settings, kept):
    told = [("x-why", "1"), ("x-other", "1"), ("location", "/"), ("www-authenticate", "Basic"),
            ("host", "x"), ("connection", "close"), ("transfer-encoding", "chunked"), ("date", "x"),
            ("server", "x"), ("content-length", "9"), ("keep-alive", "x"), ("set-cookie", "a"),
            ("x-envoy-auth-headers-to-remove", "x")]  # fmt: skip
    done = asked(mesh(**settings)).answered(HttpAnswer(403, tuple(told), b"no"))
    assert {name for name, _ in done.reply.headers} == kept


def test_functions_allow_and_deny():
    it = mesh(asks("fn"), providers=[{"name": "fn", "inProcess": {"statusOnError": "500"}}])
    done = asked(it).answered(
        Allow({"X-User": "ann", "Host": "evil", "X-Forwarded-For": "1.1.1.1"})
    )
    assert isinstance(done, Admission)
    assert {name for name, _ in done.add} == {"x-user", "x-request-id"}
    denied = asked(it).answered(Deny(429, "später", [("retry-after", "3")]))
    assert isinstance(denied, Denial)
    assert denied.reply.content == "später".encode()
    assert denied.reply.headers == (("content-type", "text/plain"), ("retry-after", "3"))
    assert (denied.flag, denied.reason) == (UAEX, "ext_authz_denied")
    assert asked(it).answered(NoAnswer("RuntimeError")).status == 500


@pytest.mark.parametrize(
    "make",
    [
        lambda: Allow({"x a": "1"}),
        lambda: Allow({"x-a": "1\r\nx-b: 2"}),
        lambda: Allow({"x-a": "ü\u1234"}),
        lambda: Allow([("x-a", 1)]),
        lambda: Deny(200),
        lambda: Deny(600),
        lambda: Deny("403"),
        lambda: Deny(True),
        lambda: Deny(403, 5),
        lambda: Deny(403, "", {"a\0": "x"}),
    ],
)
def test_an_answer_that_can_be_none_is_refused_where_it_is_made(make):
    with pytest.raises(ValueError):
        make()


def test_an_exception_while_going_on_refuses():
    it = mesh()
    passage = asked(it)
    done = passage.answered(HttpAnswer("x", (), b""))  # type: ignore[arg-type]
    assert isinstance(done, Denial)
    assert done.status == 403
    assert done.reason == "exception_while_deciding{TypeError}"


def test_a_caller_that_goes_away_is_told_of_once():
    it = mesh()
    passage = asked(it)
    passage.finish(0, Flag.DOWNSTREAM_CLOSED)
    passage.finish(200)
    [event] = it.events
    assert isinstance(event, InboundEvent)
    assert (event.status, event.flags, event.policy) == (0, "DC", None)


@pytest.mark.parametrize(
    ("target", "headers", "grpc_status"),
    [
        ("/", [("content-type", "application/grpc")], "7"),
        ("/", [("content-type", "application/grpc+proto"), ("host", "x")], "13"),
        ("/%00", [("content-type", "application/grpc+json")], "13"),
    ],
)
def test_every_refusal_of_a_grpc_request_is_grpcs(target, headers, grpc_status):
    """Whoever refuses: rules, the check of the request, an authorizer."""
    it = TestMesh([SERVICE, policy("DENY", {})])
    denial = it.gate.admit(request(target, headers=headers))
    assert isinstance(denial, Denial)
    status, told, content = denial.reply
    assert (status, content) == (200, b"")
    assert told[:2] == (("content-type", "application/grpc"), ("grpc-status", grpc_status))
    if grpc_status == "7":
        assert ("grpc-message", "RBAC: access denied") in told
    assert denial.status in (400, 403)  # what was decided stays


@pytest.mark.parametrize(
    "content_type",
    ["application/grpc-web", "application/grpc-web+proto", "application/grpc-web-text",
     "application/grpcx", "application/grpc;a=b", "text/plain"],
)  # fmt: skip
def test_callers_of_other_protocols_are_answered_in_http(content_type):
    it = TestMesh([SERVICE, policy("DENY", {})])
    denial = it.gate.admit(request("/", headers=[("content-type", content_type)]))
    assert isinstance(denial, Denial)
    assert (denial.reply.status, denial.reply.content) == (403, b"RBAC: access denied")


def of_users() -> TestMesh:
    """A mesh that asks, and then wants good tokens; the claim `sub` goes on in a header."""
    brings = {**AUTHZ, "headersToUpstreamOnAllow": ["authorization", "x-sub"]}
    opa = {"name": "opa", "envoyExtAuthzHttp": brings}
    told = [{"header": "x-sub", "claim": "sub"}]
    return user_mesh(
        rule(outputClaimToHeaders=told),
        also=(SERVICE, mesh_config(extensionProviders=[opa]), asks()),
    )


def test_tokens_are_looked_at_behind_the_authorizer_which_may_bring_them():
    """A session's authorizer hands on a token; it is verified, and gone before the app."""
    brought = HttpAnswer(200, (("authorization", f"Bearer {token()}"), ("x-sub", "evil")), b"")
    done = asked(of_users(), request("/", headers=[("cookie", "session=1")])).answered(brought)
    assert isinstance(done, Admission)
    assert done.call.principal == f"{ISSUER}/alice"
    assert dict(done.add)["x-sub"] == "alice"
    assert [value for name, value in done.add if name == "authorization"] == []
    assert "authorization" in done.remove
    bad = HttpAnswer(200, (("authorization", "Bearer a.b.c"),), b"")
    assert asked(of_users()).answered(bad).status == 401


def test_an_authorizer_is_asked_before_a_bad_token_is_refused():
    passage = asked(of_users(), request("/", headers=[bearer("a.b.c")]))
    assert ("authorization", "Bearer a.b.c") in passage.request.headers
    assert passage.answered(HttpAnswer(403, (), b"no")).status == 403
    assert asked(of_users(), request("/", headers=[bearer("a.b.c")])).answered(OK).status == 401
