"""Routes that answer by themselves: redirects and direct responses."""

from __future__ import annotations

import json

import pytest
from outbound_world import World

from meshware.call import Reply, RequestHead
from meshware.outbound.redirect import location
from meshware.policy.document.virtual_service import HTTPRedirect
from meshware.policy.route_actions import compile_redirect


def answering(end: dict) -> str:
    """A VirtualService for `orders` whose only route answers."""
    return f"""
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: orders}}
spec:
  hosts: [orders]
  http:
    - {json.dumps(end)}
"""


def head(url: str) -> RequestHead:
    """The head of a request for a URL."""
    scheme, _, rest = url.partition("://")
    authority, slash, target = rest.partition("/")
    host, _, port = authority.partition(":")
    return RequestHead(
        method="GET",
        scheme=scheme,
        host=host,
        port=int(port or (443 if scheme == "https" else 80)),
        authority=authority,
        target=slash + target,
        headers=lambda _name: (),
        replayable=True,
    )


@pytest.mark.parametrize(
    ("url", "redirect", "expected"),
    [
        ("http://a/x?q=1", {"uri": "/new"}, "http://a/new?q=1"),
        ("http://a/x?q=1", {"uri": "/new?p=2"}, "http://a/new?p=2"),
        ("http://a/x", {"authority": "b.com"}, "http://b.com/x"),
        ("http://a/x?q=1", {"authority": "b.com:81"}, "http://b.com:81/x?q=1"),
        ("http://a:8080/x", {"scheme": "https"}, "https://a:8080/x"),
        ("http://a:80/x", {"scheme": "https"}, "https://a/x"),
        ("https://a:443/x", {"scheme": "http"}, "http://a/x"),
        ("http://a:8080/x", {"port": 9090}, "http://a:9090/x"),
        ("http://a:8080/x", {"port": 80}, "http://a:8080/x"),
        ("http://a:8080/x", {"scheme": "https", "port": 443}, "https://a:8080/x"),
        ("http://a:8080/x", {"derive_port": "FROM_REQUEST_PORT"}, "http://a:8080/x"),
        ("http://a/x", {"derive_port": "FROM_REQUEST_PORT", "authority": "b"}, "http://b/x"),
        ("http://a/", {"uri": "/y", "authority": "b", "scheme": "https"}, "https://b/y"),
    ],
)
def test_where_a_redirect_leads(url, redirect, expected):
    """Parts that are not named are the request's; its query stays unless another comes."""
    asked = head(url)
    compiled = compile_redirect(HTTPRedirect(**redirect), asked.port)
    assert location(compiled, asked) == expected


def test_a_redirect_is_an_answer_without_a_body():
    """301 unless policy says another; no endpoint is asked."""
    reply = next(World(answering({"redirect": {"uri": "/new"}})).exchange(target="/old?a=b"))
    assert isinstance(reply, Reply)
    assert (reply.status, reply.body) == (301, b"")
    assert reply.headers == (("location", "http://orders/new?a=b"),)
    assert (reply.info.flags, reply.info.attempts) == ("-", 0)


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
def test_a_redirect_has_the_code_of_policy(code):
    """The five that Envoy knows."""
    policy = answering({"redirect": {"uri": "/new", "redirectCode": code}})
    assert next(World(policy).exchange()).status == code


@pytest.mark.parametrize(
    ("end", "status", "body", "kind"),
    [
        ({"status": 503, "body": {"string": "out to lunch"}}, 503, b"out to lunch", "text/plain"),
        ({"status": 200, "body": {"bytes": "AP/+"}}, 200, b"\x00\xff\xfe", "text/plain"),
        ({"status": 204}, 204, b"", None),
    ],
)
def test_a_direct_response_is_answered_at_once(end, status, body, kind):
    """As text, or as bytes in base64; text/plain where there is a body."""
    reply = next(World(answering({"directResponse": end})).exchange())
    assert isinstance(reply, Reply)
    assert (reply.status, reply.body) == (status, body)
    assert dict(reply.headers).get("content-type") == kind
