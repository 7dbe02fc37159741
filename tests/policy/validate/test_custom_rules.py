"""CUSTOM policies and the authorizers that they ask: what is refused, with its field and remedy."""

from __future__ import annotations

from typing import Any

import pytest
from policy_check import brief, problems, resource, service

from meshware.policy.parse import parse_text
from meshware.policy.validate import check

HTTP = {"service": "authz.example.com", "port": 9000}
SERVICE = service("authz.example.com", ports=(9000,))


def config(*providers: dict[str, Any]) -> str:
    """A MeshConfig with these providers."""
    return resource(
        "MeshConfig",
        {"extensionProviders": list(providers)},
        "mesh",
        "istio-system",
        "meshware.dev/v1alpha1",
    )


def opa(**settings: Any) -> str:
    """A MeshConfig with one authorizer over HTTP."""
    return config({"name": "opa", "envoyExtAuthzHttp": {**HTTP, **settings}})


def custom(
    *rules: Any, provider: Any = "opa", action: str = "CUSTOM", namespace: str = "default",
    **metadata: Any,
) -> str:  # fmt: skip
    """A CUSTOM policy."""
    spec: dict[str, Any] = {"action": action, "rules": list(rules or ({},))}
    if provider is not None:
        spec["provider"] = {"name": provider} if isinstance(provider, str) else provider
    return resource(
        "AuthorizationPolicy", spec, "ask", namespace, "security.istio.io/v1", **metadata
    )


def fields(*texts: str) -> list[str | None]:
    """The fields of the errors."""
    resources, unreadable = parse_text("".join(texts), "mesh.yaml")
    found = [*unreadable, *check(resources)]
    return [problem.field for problem in found if problem.severity == "error"]


def test_what_is_right_has_no_problem():
    everything = opa(
        timeout="1s",
        pathPrefix="/check",
        failOpen=True,
        statusOnError="503",
        includeRequestHeadersInCheck=["cookie", "x-*", "*-y"],
        includeAdditionalHeadersInCheck={"x-a": "%REQ(:path)% 100%%"},
        includeRequestBodyInCheck={"maxRequestBytes": 10, "allowPartialMessage": True},
        headersToUpstreamOnAllow=["x-user"],
        headersToDownstreamOnDeny=["x-*"],
        headersToDownstreamOnAllow=["set-cookie"],
    )
    rules = {
        "from": [{"source": {"ipBlocks": ["10.0.0.0/8"]}}],
        "to": [{"operation": {"paths": ["/admin/*"], "methods": ["GET"]}}],
        "when": [{"key": "request.headers[x-a]", "values": ["b"]}],
    }
    assert brief(problems(everything, SERVICE, custom(rules))) == []
    function = config({"name": "opa", "inProcess": {"timeout": "10ms", "failOpen": False}})
    assert brief(problems(function, custom())) == []


@pytest.mark.parametrize(
    ("setting", "field"),
    [
        ({"service": "authz"}, "service"),
        ({"service": "a/b/authz.example.com"}, "service"),
        ({"service": "*.example.com"}, "service"),
        ({"service": "other.example.com"}, "service"),
        ({"service": "elsewhere/authz.example.com"}, "service"),
        ({"port": 0}, "port"),
        ({"port": 9001}, "port"),
        ({"timeout": "0s"}, "timeout"),
        ({"timeout": "5"}, "timeout"),
        ({"pathPrefix": "check"}, "pathPrefix"),
        ({"pathPrefix": "/a b"}, "pathPrefix"),
        ({"statusOnError": "200"}, "statusOnError"),
        ({"statusOnError": "x"}, "statusOnError"),
        ({"statusOnError": "600"}, "statusOnError"),
        ({"includeRequestHeadersInCheck": ["*"]}, "includeRequestHeadersInCheck[0]"),
        ({"includeRequestHeadersInCheck": ["x", "a*b"]}, "includeRequestHeadersInCheck[1]"),
        ({"headersToUpstreamOnAllow": [""]}, "headersToUpstreamOnAllow[0]"),
        ({"headersToDownstreamOnDeny": ["x y"]}, "headersToDownstreamOnDeny[0]"),
        ({"headersToDownstreamOnAllow": ["*x*"]}, "headersToDownstreamOnAllow[0]"),
        ({"includeAdditionalHeadersInCheck": {"Host": "x"}},
         "includeAdditionalHeadersInCheck[Host]"),
        ({"includeAdditionalHeadersInCheck": {"x y": "x"}}, "includeAdditionalHeadersInCheck[x y]"),
        ({"includeAdditionalHeadersInCheck": {"x": "a\nb"}}, "includeAdditionalHeadersInCheck[x]"),
        ({"includeAdditionalHeadersInCheck": {"x": "%START_TIME%"}},
         "includeAdditionalHeadersInCheck[x]"),
        ({"includeRequestBodyInCheck": {}}, "includeRequestBodyInCheck.maxRequestBytes"),
        ({"includeRequestBodyInCheck": {"maxRequestBytes": 0}},
         "includeRequestBodyInCheck.maxRequestBytes"),
        ({"includeRequestBodyInCheck": {"maxRequestBytes": 2**31}},
         "includeRequestBodyInCheck.maxRequestBytes"),
        ({"includeRequestBodyInCheck": {"maxRequestBytes": 1, "packAsBytes": True}},
         "includeRequestBodyInCheck.packAsBytes"),
    ],
)  # fmt: skip
def test_what_an_authorizer_cannot_be(setting, field):
    where = f"spec.extensionProviders[0].envoyExtAuthzHttp.{field}"
    assert fields(opa(**setting), SERVICE) == [where]


@pytest.mark.parametrize(
    ("providers", "field"),
    [
        ([{"name": "opa"}], "spec.extensionProviders[0]"),
        ([{"name": "opa", "inProcess": {}, "envoyExtAuthzHttp": HTTP}],
         "spec.extensionProviders[0]"),
        ([{"name": "", "inProcess": {}}], "spec.extensionProviders[0].name"),
        ([{"name": "a", "inProcess": {}}, {"name": "a", "inProcess": {}}],
         "spec.extensionProviders[1].name"),
        ([{"name": "a", "inProcess": {"timeout": "0s"}}],
         "spec.extensionProviders[0].inProcess.timeout"),
        ([{"name": "a", "inProcess": {"statusOnError": "99"}}],
         "spec.extensionProviders[0].inProcess.statusOnError"),
        ([{"name": "a", "envoyExtAuthzGrpc": {"service": "x", "port": 1}}],
         "spec.extensionProviders[0].envoyExtAuthzGrpc"),
    ],
)  # fmt: skip
def test_what_a_provider_cannot_be(providers, field):
    assert field in fields(config(*providers), SERVICE)


@pytest.mark.parametrize(
    ("policy", "field"),
    [
        (custom(provider=None), "spec.provider.name"),
        (custom(provider={}), "spec.provider.name"),
        (custom(action="DENY"), "spec.provider"),
        (custom(provider="opb"), "spec.provider.name"),
        (custom({"from": [{"source": {"principals": ["*"]}}]}),
         "spec.rules[0].from[0].source.principals"),
        (custom({"from": [{"source": {"notNamespaces": ["x"]}}]}),
         "spec.rules[0].from[0].source.notNamespaces"),
        (custom({"from": [{"source": {"serviceAccounts": ["x"]}}]}),
         "spec.rules[0].from[0].source.serviceAccounts"),
        (custom({"from": [{"source": {"trustDomains": ["x"]}}]}),
         "spec.rules[0].from[0].source.trustDomains"),
        (custom({"from": [{"source": {"requestPrincipals": ["x"]}}]}),
         "spec.rules[0].from[0].source.requestPrincipals"),
        (custom({"when": [{"key": "source.principal", "values": ["x"]}]}),
         "spec.rules[0].when[0].key"),
        (custom({"when": [{"key": "source.namespace", "values": ["x"]}]}),
         "spec.rules[0].when[0].key"),
        (custom({"when": [{"key": "request.auth.claims[a]", "values": ["x"]}]}),
         "spec.rules[0].when[0].key"),
        (custom(annotations={"istio.io/dry-run": "true"}),
         "metadata.annotations[istio.io/dry-run]"),
    ],
)  # fmt: skip
def test_what_a_custom_policy_cannot_say(policy, field):
    found = fields(opa(), SERVICE, policy)
    assert list(found) == [field]  # and told once


def test_a_policy_of_no_meshconfig_is_told_what_to_add():
    [problem] = problems(custom())
    assert problem.code == "IST0101"
    assert "MeshConfig has no authorizer 'opa' among its extensionProviders (it has none)" in (
        problem.message
    )


def test_a_service_of_another_namespace_counts_where_it_is_exported():
    far = service("authz.example.com", "infra", ports=(9000,), exportTo=["."])
    assert fields(opa(), far, custom()) == ["spec.provider.name"]
    seen = service("authz.example.com", "infra", ports=(9000,), exportTo=["*"])
    assert fields(opa(service="infra/authz.example.com"), seen, custom()) == []
    short = service("authz", "infra", ports=(9000,), exportTo=["*"])
    assert fields(opa(service="infra/authz"), short, custom()) == []
    assert fields(opa(service="authz.infra.svc.cluster.local"), short, custom()) == []


def test_an_authorizer_that_speaks_grpc_is_told_what_to_use():
    grpc = {"name": "opa", "envoyExtAuthzGrpc": {"service": "x", "port": 1, "failOpen": True}}
    _, [problem] = parse_text(config(grpc), "mesh.yaml")
    assert problem.message.startswith("envoyExtAuthzGrpc is not supported yet")
    assert "write envoyExtAuthzHttp" in problem.message


@pytest.mark.parametrize("most", [0, 2**24 + 1, 2**40, -(2**70)])
def test_how_much_of_a_body_is_said_with_its_limits(most):
    body = {"maxRequestBytes": most}
    _, [problem] = parse_text(opa(includeRequestBodyInCheck=body) + SERVICE, "mesh.yaml")
    assert problem.message.endswith("; write a number from 1 to 16777216")
