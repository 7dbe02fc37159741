"""Authorizers as the real Envoy asks them, beside ours: the questions, and what becomes of answers.

The same authorizer is asked by both about the same requests. Compared are what it was asked, what
the caller got, and what the app saw.
"""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from authorizer_server import Asked, AuthorizerServer, ok
from conformance.static_envoy import PATIENCE_S, StaticEnvoy
from inbound_drive import asgi_call
from inbound_world import mesh_config, policy

from meshware.asgi import MeshMiddleware
from meshware.testing import TestMesh

pytestmark = pytest.mark.conformance

GOOGLE = "type.googleapis.com/envoy.extensions"

# Settings of a provider as Istio writes them.
PROVIDERS: dict[str, dict[str, Any]] = {
    "plain": {},
    "much": {
        "pathPrefix": "/check",
        "includeRequestHeadersInCheck": ["x-show", "x-also-*", "*-end", "cookie"],
        "includeAdditionalHeadersInCheck": {"x-extra": "of %REQ(:path)%", "x-show": "fixed"},
        "headersToUpstreamOnAllow": ["x-user", "x-auth-*", "authorization"],
        "headersToDownstreamOnDeny": ["x-why"],
        "headersToDownstreamOnAllow": ["x-ok-*"],
        "statusOnError": "503",
    },
    "open": {"failOpen": True, "headersToUpstreamOnAllow": ["x-user"]},
    "body": {"includeRequestBodyInCheck": {"maxRequestBytes": 1000}},
    "part": {"includeRequestBodyInCheck": {"maxRequestBytes": 1000, "allowPartialMessage": True}},
}


def matchers(patterns: list[str]) -> dict[str, Any]:
    """Patterns as Istio translates them, `generateHeaders`."""

    def one(pattern: str) -> dict[str, Any]:
        if pattern.startswith("*"):
            return {"suffix": pattern[1:], "ignore_case": True}
        if pattern.endswith("*"):
            return {"prefix": pattern[:-1], "ignore_case": True}
        return {"exact": pattern, "ignore_case": True}

    return {"patterns": [one(pattern) for pattern in patterns]}


def ext_authz(settings: dict[str, Any]) -> dict[str, Any]:
    """The filter that Istio makes of a provider, `generateHTTPConfig`."""
    asked: dict[str, Any] = {}
    shows = settings.get("includeRequestHeadersInCheck")
    added = settings.get("includeAdditionalHeadersInCheck", {})
    if added:
        asked["headers_to_add"] = [{"key": key, "value": value} for key, value in added.items()]
    told = {
        key: matchers(settings[name])
        for key, name in (
            ("allowed_upstream_headers", "headersToUpstreamOnAllow"),
            ("allowed_client_headers", "headersToDownstreamOnDeny"),
            ("allowed_client_headers_on_success", "headersToDownstreamOnAllow"),
        )
        if name in settings
    }
    found: dict[str, Any] = {
        "@type": f"{GOOGLE}.filters.http.ext_authz.v3.ExtAuthz",
        "failure_mode_allow": settings.get("failOpen", False),
        "http_service": {
            "server_uri": {"uri": "http://authz", "cluster": "authz", "timeout": "1s"},
            "path_prefix": settings.get("pathPrefix", ""),
            "authorization_request": asked,
            "authorization_response": told,
        },
    }
    if shows:
        found["allowed_headers"] = matchers(shows)
    if "statusOnError" in settings:
        found["status_on_error"] = {"code": int(settings["statusOnError"])}
    body = settings.get("includeRequestBodyInCheck")
    if body:
        found["with_request_body"] = {
            "max_request_bytes": body["maxRequestBytes"],
            "allow_partial_message": body.get("allowPartialMessage", False),
        }
    return found


def cluster(name: str, port: int) -> dict[str, Any]:
    """A cluster with one endpoint."""
    address = {"socket_address": {"address": "127.0.0.1", "port_value": port}}
    return {
        "name": name,
        "type": "STATIC",
        "load_assignment": {
            "cluster_name": name,
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address}}]}],
        },
    }


def listener(name: str) -> dict[str, Any]:
    """A listener whose calls are asked about."""
    manager = {
        "@type": f"{GOOGLE}.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": name,
        "normalize_path": True,
        "merge_slashes": True,
        "path_with_escaped_slashes_action": "UNESCAPE_AND_FORWARD",
        "route_config": {
            "virtual_hosts": [
                {
                    "name": "all",
                    "domains": ["*"],
                    "routes": [{"match": {"prefix": "/"}, "route": {"cluster": "app"}}],
                }
            ]
        },
        "http_filters": [
            {"name": "ext_authz", "typed_config": ext_authz(PROVIDERS[name])},
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


def tell(asked: Asked) -> bytes:
    """The app: say which headers came, and how long the body was."""
    return ok(200, json.dumps([asked.headers, len(asked.body)]).encode())


class Both:
    """Envoy and the mesh, with one authorizer behind both."""

    def __init__(self, program: str, directory: Path) -> None:
        self.authorizer = AuthorizerServer(lambda asked: ok())
        self.app = AuthorizerServer(tell)
        resources = {
            "listeners": [listener(name) for name in PROVIDERS],
            "clusters": [
                cluster("authz", self.authorizer.port),
                cluster("app", self.app.port),
            ],
        }
        self._envoy = StaticEnvoy(program, directory, resources)
        self._meshes = {name: self._mesh(name) for name in PROVIDERS}

    def _mesh(self, name: str) -> MeshMiddleware:
        provider = {"service": "authz.example.com", "port": 9000, "timeout": "1s"}
        custom = policy("CUSTOM", {}, name="ask")
        custom["spec"]["provider"] = {"name": name}
        service = {
            "apiVersion": "networking.istio.io/v1",
            "kind": "ServiceEntry",
            "metadata": {"name": "authz"},
            "spec": {
                "hosts": ["authz.example.com"],
                "resolution": "STATIC",
                "ports": [{"number": 9000, "name": "http", "protocol": "HTTP"}],
                "endpoints": [
                    {"address": "127.0.0.1", "ports": {"http": self.authorizer.port}},
                ],
            },
        }
        routes = {  # Istio asks once, whatever the default retries
            "apiVersion": "networking.istio.io/v1",
            "kind": "VirtualService",
            "metadata": {"name": "authz"},
            "spec": {
                "hosts": ["authz.example.com"],
                "http": [
                    {
                        "route": [{"destination": {"host": "authz.example.com"}}],
                        "retries": {"attempts": 0},
                    }
                ],
            },
        }
        written = {"name": name, "envoyExtAuthzHttp": {**provider, **PROVIDERS[name]}}
        mesh = _Dialling([mesh_config(extensionProviders=[written]), service, routes, custom])
        return MeshMiddleware(_app, mesh)

    def by_envoy(self, name: str, method: str, target: str, headers: Any, body: bytes) -> Seen:
        """What becomes of a request through Envoy."""
        self.app.asked.clear()
        connection = http.client.HTTPConnection(
            "127.0.0.1", self._envoy.ports[name], timeout=PATIENCE_S
        )
        with closing(connection):
            connection.putrequest(method, target, skip_host=True, skip_accept_encoding=True)
            for key, value in headers:
                connection.putheader(key, value)
            if body:
                connection.putheader("content-length", str(len(body)))
            connection.endheaders(body or None)
            response = connection.getresponse()
            content = response.read()
        saw = None
        if self.app.asked:
            came = self.app.asked[-1]
            saw = (_ours(came.headers), len(came.body))
        return Seen(response.status, _ours(response.getheaders()), content, saw)

    def by_mesh(self, name: str, method: str, target: str, headers: Any, body: bytes) -> Seen:
        """What becomes of a request in the mesh."""
        more = [("content-length", str(len(body)))] if body else []
        _came.clear()
        answer = asgi_call(
            self._meshes[name], target, method=method, headers=[*headers, *more], body=body
        )
        saw = (_ours(_came[0][0]), _came[0][1]) if _came else None
        return Seen(answer.status, _ours(answer.lines), b"".join(answer.chunks), saw)

    def close(self) -> None:
        """End it all."""
        self._envoy.close()
        self.authorizer.close()
        self.app.close()


class Seen:
    """What came of a request."""

    def __init__(self, status: int, headers: Any, body: bytes, app: Any) -> None:
        self.status, self.headers, self.app = status, headers, app
        self.body = b"" if app is not None else body  # what the app says is compared apart

    @property
    def all(self) -> Any:
        """All of it, to be compared."""
        return self.status, self.headers, self.body, self.app


def _ours(headers: Any) -> list[tuple[str, str]]:
    """The headers that tests write, and those of refusals; others each side adds for itself."""
    kept = ("authorization", "cookie", "set-cookie", "location", "www-authenticate", "the-end")
    return sorted(
        (name.lower(), value)
        for name, value in headers
        if (
            name.lower() in kept
            or name.lower().startswith("x-")
            and not name.lower().startswith(("x-envoy-", "x-forwarded-", "x-request-id"))
        )
    )


async def _app(scope: Any, receive: Any, send: Any) -> None:
    length = 0
    while True:
        message = await receive()
        length += len(message.get("body", b""))
        if not message.get("more_body"):
            break
    found = [(name.decode(), value.decode()) for name, value in scope["headers"]]
    _came.append((found, length))
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b""})


_came: list[tuple[list[tuple[str, str]], int]] = []  # to the app of the mesh


class _Dialling(TestMesh):
    opens_connections = True


@pytest.fixture(scope="module")
def both(engine, tmp_path_factory) -> Iterator[Both]:
    with closing(Both(engine("envoy"), tmp_path_factory.mktemp("ext-authz"))) as found:
        yield found


REQUESTS: dict[str, tuple[str, str, list[tuple[str, str]], bytes]] = {
    "plain": ("GET", "/a?b=c", [], b""),
    "post": ("POST", "/a%20b/%7Ec", [("content-type", "text/plain")], b"hello"),
    "head": ("HEAD", "/", [], b""),
    "headers": (
        "PUT",
        "/x?y=%20z",
        [
            ("authorization", "Bearer a"),
            ("X-Show", "theirs"),
            ("X-Also-A", "1"),
            ("x-also-a", "2"),
            ("the-end", "3"),
            ("cookie", "a=b"),
            ("x-user", "me"),
            ("x-gone", "1"),
            ("x-not", "4"),
        ],
        b"",
    ),
    "large": ("POST", "/large", [], b"a" * 1001),
    "exact": ("POST", "/exact", [], b"a" * 1000),
    "grpc": ("POST", "/pkg.Svc/M", [("content-type", "application/grpc")], b"\0\0\0\0\0"),
}
ANSWERS: dict[str, bytes | None] = {
    "allowed": ok(),
    "with headers": ok(
        200,
        b"",
        ("x-user", "ann"),
        ("x-auth-a", "1"),
        ("x-ok-a", "1"),
        ("x-ok-a", "2"),
        ("x-other", "1"),
        ("authorization", "Bearer ours"),
        ("x-envoy-auth-headers-to-remove", "x-gone, host,:path"),
    ),
    "201": ok(201, b"made", ("x-why", "1")),
    "302": ok(302, b"", ("location", "/login"), ("set-cookie", "a=1"), ("set-cookie", "b=2")),
    "401": ok(401, b"who", ("www-authenticate", "Basic"), ("x-why", "1"), ("x-other", "2")),
    "403": ok(403, "nö %".encode()),
    "404": ok(404, b""),
    "500": ok(500, b"broken", ("x-user", "ann")),
    "503": ok(503, b"busy"),
    "cut off": b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\nConnection: close\r\n\r\nabc",
    "words": b"hello\r\n\r\n",
    "nothing": None,
    "chunks": b"HTTP/1.1 403 No\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nno\r\n0\r\n\r\n",
}


@pytest.mark.parametrize("answer", ANSWERS)
@pytest.mark.parametrize("name", PROVIDERS)
def test_the_mesh_asks_and_obeys_as_envoy_does(both, name, answer):
    both.authorizer.answer = lambda asked: ANSWERS[answer]
    for label, (method, target, headers, body) in REQUESTS.items():
        if method == "HEAD" and answer in ("cut off", "chunks", "201", "401", "403", "500", "503"):
            continue  # the script sends a body, which an answer to HEAD does not have
        written = [("host", "shop.example.com"), *headers]
        found = {}
        for side, call in (("envoy", both.by_envoy), ("mesh", both.by_mesh)):
            both.authorizer.asked.clear()
            seen = call(name, method, target, written, body)
            asked = [
                (one.method, one.target, one.header("host"), _ours(one.headers), one.body,
                 one.header("content-length"))
                for one in both.authorizer.asked
            ]  # fmt: skip
            found[side] = (asked, *seen.all)
        assert found["mesh"] == found["envoy"], (label, answer, name)
