"""What browsers are told about origins, and by whose policy."""

from __future__ import annotations

from typing import Any

import pytest
from inbound_drive import Answer, asgi_call, wsgi_call
from inbound_world import policy, request, to

from meshware.asgi import MeshMiddleware as AsgiMiddleware
from meshware.inbound.passage import Admission, Answered, Denial
from meshware.testing import TestMesh
from meshware.wsgi import MeshMiddleware as WsgiMiddleware

PAGE = "https://shop.example.com"


def service(host: str = "app", namespace: str = "default", **spec: Any) -> dict:
    """A service behind which the workload is, on port 80 for its own 8080."""
    return {
        "apiVersion": "networking.istio.io/v1",
        "kind": "ServiceEntry",
        "metadata": {"name": host, "namespace": namespace},
        "spec": {
            "hosts": [host],
            "location": "MESH_INTERNAL",
            "resolution": "STATIC",
            "ports": [{"number": 80, "name": "http", "protocol": "HTTP", "targetPort": 8080}],
            "workloadSelector": {"labels": {"app": "app"}},
            **spec,
        },
    }


def routes(*http: dict, host: str = "app", namespace: str = "default", **spec: Any) -> dict:
    """A VirtualService for it."""
    return {
        "apiVersion": "networking.istio.io/v1",
        "kind": "VirtualService",
        "metadata": {"name": f"of-{host}", "namespace": namespace},
        "spec": {"hosts": [host], "http": list(http), **spec},
    }


def cors(host: str = "app", match: list[dict] | None = None, **fields: Any) -> dict:
    """A rule with a corsPolicy."""
    rule: dict = {"route": [{"destination": {"host": host}}]}
    if match is not None:
        rule["match"] = match
    return {**rule, "corsPolicy": {"allowOrigins": [{"exact": PAGE}], **fields}}


def asked(origin: str = PAGE, method: str = "OPTIONS", target: str = "/", **more: Any):
    """A preflight for a PUT with two headers, or another request of a page."""
    headers = [("origin", origin)]
    if method == "OPTIONS":
        headers += [
            ("access-control-request-method", "PUT"),
            ("access-control-request-headers", "x-one, x-two"),
        ]
    return request(target, method=method, headers=headers, **more)


def answer(mesh: TestMesh, head) -> dict[str, str] | str:
    """The headers of a preflight's answer, or `app` where the app is called."""
    passage = mesh.gate.admit(head)
    if isinstance(passage, Admission):
        return "app"
    assert isinstance(passage, Answered)
    assert (passage.status, passage.body, passage.reason) == (200, "", "cors_preflight")
    return dict(passage.headers)


ALLOWED = {"access-control-allow-origin": PAGE, "vary": "origin"}


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({}, {}),
        ({"allowCredentials": True}, {"access-control-allow-credentials": "true"}),
        ({"allowMethods": ["GET", "PUT"]}, {"access-control-allow-methods": "GET,PUT"}),
        ({"allowMethods": ["*"]}, {"access-control-allow-methods": "PUT"}),
        ({"allowHeaders": ["x-one", "x-2"]}, {"access-control-allow-headers": "x-one,x-2"}),
        ({"allowHeaders": ["*"]}, {"access-control-allow-headers": "x-one, x-two"}),
        ({"maxAge": "90s"}, {"access-control-max-age": "90"}),
        ({"exposeHeaders": ["x-three"]}, {}),
    ],
)
def test_a_preflight_is_answered_with_what_policy_allows(fields, said):
    """As Envoy's filter answers it: 200, and no body."""
    mesh = TestMesh([service(), routes(cors(**fields))])
    assert answer(mesh, asked()) == {**ALLOWED, **said}


@pytest.mark.parametrize(
    ("origins", "origin", "is_allowed"),
    [
        ([{"exact": PAGE}], PAGE, True),
        ([{"exact": PAGE}], PAGE.upper(), False),
        ([{"exact": PAGE}], PAGE + ".evil.test", False),
        ([{"exact": "*"}], "https://anybody.test", True),
        ([{"prefix": "https://shop."}], PAGE, True),
        ([{"regex": r"https://[a-z]+\.example\.com"}], PAGE, True),
        ([{"regex": r"https://[a-z]+\.example\.com"}], PAGE + ".evil.test", False),
        ([{"exact": "https://a.test"}, {"exact": PAGE}], PAGE, True),
    ],
)
def test_an_origin_is_allowed_or_not(origins, origin, is_allowed):
    """One that is not is the app's to answer, and the browser keeps the answer back."""
    mesh = TestMesh([service(), routes(cors(allowOrigins=origins))])
    expected = {**ALLOWED, "access-control-allow-origin": origin} if is_allowed else "app"
    assert answer(mesh, asked(origin)) == expected


def test_the_older_word_for_origins_still_counts():
    """`allowOrigin` names them exactly."""
    rule = cors()
    rule["corsPolicy"] = {"allowOrigin": [PAGE]}
    assert answer(TestMesh([service(), routes(rule)]), asked()) == ALLOWED


def test_preflights_of_others_may_end_here():
    """Without a word about origins."""
    mesh = TestMesh([service(), routes(cors(unmatchedPreflights="IGNORE"))])
    assert answer(mesh, asked("https://other.test")) == {}
    assert answer(mesh, asked("https://other.test", "GET")) == "app"


@pytest.mark.parametrize(
    "head",
    [
        request(method="OPTIONS"),
        request(method="OPTIONS", headers=[("origin", PAGE)]),
        request(method="OPTIONS", headers=[("access-control-request-method", "PUT")]),
        asked(method="GET"),
        asked(host="other"),
        asked(host="other.default.svc.cluster.local"),
    ],
)
def test_what_is_no_preflight_to_the_service_goes_on(head):
    """Whatever it looks like."""
    assert answer(TestMesh([service(), routes(cors())]), head) == "app"


@pytest.mark.parametrize(
    "host",
    ["app", "app:8080", "APP", "app.default", "app.default.svc", "app.default.svc.cluster.local."],
)
def test_the_service_is_known_by_all_its_names(host):
    """Callers dial it by any."""
    assert answer(TestMesh([service(), routes(cors())]), asked(host=host)) == ALLOWED


def test_authorization_comes_first():
    """A preflight that it refuses is refused."""
    deny = policy("DENY", to(methods=["OPTIONS"]))
    passage = TestMesh([service(), routes(cors()), deny]).gate.admit(asked())
    assert isinstance(passage, Denial) and not isinstance(passage, Answered)
    assert passage.status == 403


def test_the_first_route_that_matches_counts():
    """One without a policy says nothing, though the next would."""
    quiet = {"match": [{"uri": {"prefix": "/quiet"}}], "route": cors()["route"]}
    mesh = TestMesh([service(), routes(quiet, cors())])
    assert answer(mesh, asked(target="/quiet")) == "app"
    assert answer(mesh, asked(target="/loud/../quiet?x")) == "app"
    assert answer(mesh, asked(target="/loud")) == ALLOWED


@pytest.mark.parametrize(
    ("match", "port", "expected"),
    [
        ([{"port": 80}], 8080, ALLOWED),
        ([{"port": 80}], 9090, "app"),
        ([{"port": 80}], None, "app"),
        ([{"sourceNamespace": "default"}], 8080, "app"),
        ([{"sourceLabels": {"app": "web"}}], 8080, "app"),
        ([{"gateways": ["shop/web"]}], 8080, "app"),
        ([{"gateways": ["shop/web", "mesh"]}], 8080, ALLOWED),
    ],
)
def test_conditions_on_the_caller_are_those_of_a_browser(match, port, expected):
    """It is no workload; and the service's port is the one that the workload answers for it."""
    mesh = TestMesh(
        [
            service(),
            routes(cors(match=match)),
            {
                "apiVersion": "networking.istio.io/v1",
                "kind": "WorkloadEntry",
                "metadata": {"name": "web"},
                "spec": {"address": "10.0.0.1", "labels": {"app": "web"}},
            },
        ]
    )
    assert answer(mesh, asked(port=port)) == expected


@pytest.mark.parametrize(
    ("namespace", "is_heard"), [("default", True), ("istio-system", True), ("other", False)]
)
def test_only_the_owner_and_the_mesh_speak_for_a_service(namespace, is_heard):
    """Anybody may route their own calls to it; who may call from a browser is its own affair."""
    full = "app.default.svc.cluster.local"
    rule = routes(cors(full), host=full, namespace=namespace, exportTo=["*"])
    assert answer(TestMesh([service(), rule]), asked()) == (ALLOWED if is_heard else "app")


def test_delegated_rules_count_too():
    """With the policy of the delegate, or of the root."""
    root = routes({"match": [{"uri": {"prefix": "/a"}}], "delegate": {"name": "of-part"}})
    part = routes(cors(), host="part")
    del part["spec"]["hosts"]
    mesh = TestMesh([service(), root, part])
    assert answer(mesh, asked(target="/a/b")) == ALLOWED
    assert answer(mesh, asked(target="/b")) == "app"


def test_a_swap_changes_what_is_said():
    """And nothing is left of what was said before."""
    mesh = TestMesh([service(), routes(cors())])
    assert answer(mesh, asked()) == ALLOWED
    mesh.apply([service(), routes(cors(maxAge="1s"))])
    assert answer(mesh, asked()) == {**ALLOWED, "access-control-max-age": "1"}
    mesh.apply([service()])
    assert answer(mesh, asked()) == "app"


# --- responses ------------------------------------------------------------------------------------

APPS_OWN = [("access-control-allow-origin", "*"), ("Vary", "accept"), ("x-app", "1")]


def wsgi_app(environ, start_response):
    """Answer with CORS headers of its own."""
    start_response("200 OK", list(APPS_OWN))
    return [b"ok"]


async def asgi_app(scope, receive, send):
    """Answer with CORS headers of its own."""
    headers = [(name.encode(), value.encode()) for name, value in APPS_OWN]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"ok"})


def seen(kind: str, mesh: TestMesh, method: str, **headers: str) -> Answer:
    """What a browser gets."""
    pairs = [("host", "app"), *((name.replace("_", "-"), v) for name, v in headers.items())]
    if kind == "asgi":
        return asgi_call(AsgiMiddleware(asgi_app, mesh), "/", method=method, headers=pairs)
    return wsgi_call(WsgiMiddleware(wsgi_app, mesh), "/", method=method, headers=pairs)


@pytest.mark.parametrize("kind", ["asgi", "wsgi"])
def test_responses_say_what_policy_says_in_place_of_the_app(kind):
    """Once: browsers refuse a header that comes twice."""
    mesh = TestMesh([service(), routes(cors(allowCredentials=True, exposeHeaders=["x-app"]))])
    got = seen(kind, mesh, "GET", origin=PAGE)
    assert (got.status, got.text) == (200, "ok")
    assert sorted(got.lines) == [
        ("access-control-allow-credentials", "true"),
        ("access-control-allow-origin", PAGE),
        ("access-control-expose-headers", "x-app"),
        ("vary", "accept"),
        ("vary", "origin"),
        ("x-app", "1"),
    ]


@pytest.mark.parametrize("kind", ["asgi", "wsgi"])
@pytest.mark.parametrize("origin", ["https://other.test", ""])
def test_responses_to_others_are_the_apps_own(kind, origin):
    """Nothing is added, and nothing taken away."""
    mesh = TestMesh([service(), routes(cors())])
    got = seen(kind, mesh, "GET", **({"origin": origin} if origin else {}))
    assert got.lines == [(name.lower(), value) for name, value in APPS_OWN]


@pytest.mark.parametrize("kind", ["asgi", "wsgi"])
def test_a_preflight_never_comes_to_the_app(kind):
    """It is 200 with an empty body."""
    mesh = TestMesh([service(), routes(cors(allowMethods=["PUT"]))])
    got = seen(kind, mesh, "OPTIONS", origin=PAGE, access_control_request_method="PUT")
    assert (got.status, got.text) == (200, "")
    found = got.headers
    assert found["access-control-allow-origin"] == PAGE
    assert found["access-control-allow-methods"] == "PUT"
    assert "x-app" not in found
    [event] = mesh.events
    assert (event.status, event.reason, event.policy) == (200, "cors_preflight", None)
