"""VirtualService `retries`: what is tried again, how often, and what the caller gets."""

from __future__ import annotations

from conformance.cases import SERVICE, V1, Call, case, get, post
from conformance.upstreams import CLOSE, RESET, answer

OK = answer()
FAST = "backoff: 10ms"
SLOW = [3.0, *answer()]


def _retry(name, fields, *calls, script, more="", **kinds):
    text = f"- {{{V1}, retries: {{{fields}}}{more}}}"
    return case(f"retry-{name}", text, *calls, script={"a": script}, **kinds)


def _on(word, *script, call=None, **more):
    return _retry(
        f"on-{word}",
        f"attempts: 2, retryOn: '{word}', {FAST}",
        call or get(),
        script=script,
        **more,
    )


def _status(code, *headers):
    return answer(code, b"said", *headers)


def _grpc(status):
    return answer(200, b"", "content-type: application/grpc", f"grpc-status: {status}")


CASES = [
    _on("5xx", _status(500), OK),
    _on("gateway-error", _status(502), _status(504), OK),
    _retry(
        "gateway-error-500",
        f"attempts: 2, retryOn: gateway-error, {FAST}",
        get(),
        script=[_status(500), OK],
    ),
    _on("retriable-4xx", _status(409), OK),
    _retry(
        "retriable-4xx-404",
        f"attempts: 2, retryOn: retriable-4xx, {FAST}",
        get(),
        script=[_status(404), OK],
    ),
    _on("503", _status(503), OK),
    _on("503,418", _status(418), _status(503), OK),
    _retry(
        "status-other", f"attempts: 2, retryOn: '503', {FAST}", get(), script=[_status(500), OK]
    ),
    _on("reset", [RESET], OK),
    _retry("reset-closed", f"attempts: 2, retryOn: reset, {FAST}", get(), script=[[CLOSE], OK]),
    _retry("reset-500", f"attempts: 2, retryOn: reset, {FAST}", get(), script=[_status(500), OK]),
    _retry("5xx-reset", f"attempts: 2, retryOn: 5xx, {FAST}", get(), script=[[RESET], OK]),
    _retry(
        "5xx-garbage",
        f"attempts: 2, retryOn: 5xx, {FAST}",
        get(),
        script=[[b"what?\r\n\r\n", CLOSE], OK],
    ),
    _retry(
        "connect-failure-reset",
        f"attempts: 2, retryOn: connect-failure, {FAST}",
        get(),
        script=[[RESET], OK],
    ),
    _retry(
        "refused-stream",
        f"attempts: 2, retryOn: refused-stream, {FAST}",
        get(),
        script=[[RESET], OK],
    ),
    _retry(
        "reset-before-request",
        f"attempts: 2, retryOn: reset-before-request, {FAST}",
        get(),
        script=[[RESET], OK],
    ),
    _on("cancelled", _grpc(1), OK),
    _on("deadline-exceeded", _grpc(4), OK),
    _on("resource-exhausted", _grpc(8), OK),
    _on("internal", _grpc(13), OK),
    _on("unavailable", _grpc(14), OK),
    _retry(
        "grpc-other", f"attempts: 2, retryOn: unavailable, {FAST}", get(), script=[_grpc(13), OK]
    ),
    _on("envoy-ratelimited", _status(429, "x-envoy-ratelimited: true"), OK),
    _retry(
        "ratelimited",
        f"attempts: 2, retryOn: '5xx,429', {FAST}",
        get(),
        script=[_status(503, "x-envoy-ratelimited: true"), OK],
    ),
    _retry("default-503", f"attempts: 2, {FAST}", get(), script=[_status(503), OK]),
    _retry("default-unavailable", f"attempts: 2, {FAST}", get(), script=[_grpc(14), OK]),
    _retry("default-reset", f"attempts: 2, {FAST}", get(), script=[[RESET], OK]),
    _retry("none-written", f"attempts: 1, retryOn: 5xx, {FAST}", get(), script=[OK]),
    _retry(
        "exhausted",
        f"attempts: 2, retryOn: 5xx, {FAST}",
        get(),
        script=[_status(500), _status(502), _status(503)],
    ),
    _retry(
        "exhausted-reset", f"attempts: 1, retryOn: 5xx, {FAST}", get(), script=[[RESET], [RESET]]
    ),
    _retry(
        "exhausted-mixed",
        f"attempts: 1, retryOn: 5xx, {FAST}",
        get(),
        script=[[RESET], _status(500)],
    ),
    _retry("attempts-0", "attempts: 0", get(), script=[_status(500), OK]),
    _retry(
        "attempts-many",
        f"attempts: 5, retryOn: 5xx, {FAST}",
        get(),
        script=[_status(500)] * 4 + [OK],
    ),
    _retry(
        "per-try",
        f"attempts: 1, retryOn: 5xx, perTryTimeout: 0.8s, {FAST}",
        get(),
        script=[SLOW, OK],
    ),
    _retry(
        "per-try-exhausted",
        f"attempts: 1, retryOn: 5xx, perTryTimeout: 0.8s, {FAST}",
        get(),
        script=[SLOW],
        at_least_s=0.8,
    ),
    _retry(
        "per-try-not-retried",
        f"attempts: 1, perTryTimeout: 0.8s, {FAST}",
        get(),
        script=[SLOW],
        at_least_s=0.8,
    ),
    _retry(
        "per-try-no-retries",
        f"attempts: 1, retryOn: connect-failure, perTryTimeout: 0.8s, {FAST}",
        get(),
        script=[SLOW, OK],
    ),
    _retry(
        "per-try-longer",
        f"attempts: 1, retryOn: 5xx, perTryTimeout: 5s, {FAST}",
        get(),
        script=[SLOW, OK],
        more=", timeout: 0.6s",
    ),
    _retry(
        "total-time-out",
        f"attempts: 5, retryOn: 5xx, perTryTimeout: 1s, {FAST}",
        get(),
        script=[SLOW],
        more=", timeout: 1.6s",
        at_least_s=1.6,
    ),
    _retry(
        "gateway-error-per-try",
        f"attempts: 1, retryOn: gateway-error, perTryTimeout: 0.8s, {FAST}",
        get(),
        script=[SLOW, OK],
    ),
    _retry(
        "reset-per-try",
        f"attempts: 1, retryOn: reset, perTryTimeout: 0.8s, {FAST}",
        get(),
        script=[SLOW, OK],
    ),
    _retry(
        "put",
        f"attempts: 2, retryOn: 5xx, {FAST}",
        Call("/", "PUT", body=b"again"),
        script=[_status(500), OK],
    ),
    _retry(
        "post",
        f"attempts: 2, retryOn: 5xx, {FAST}",
        post(),
        script=[_status(500), OK],
        differs=("repeats-only-what-is-safe",),
    ),
    _retry(
        "patch-reset",
        f"attempts: 2, retryOn: reset, {FAST}",
        Call("/", "PATCH", body=b"x"),
        script=[[RESET], OK],
        differs=("repeats-only-what-is-safe",),
    ),
    _retry(
        "headers",
        f"attempts: 2, retryOn: 5xx, {FAST}",
        get(),
        script=[_status(500), OK],
        more=", headers: {request: {add: {x-a: b}}, response: {set: {x-c: d}}}",
    ),
    _retry(
        "rewrite",
        f"attempts: 2, retryOn: 5xx, {FAST}",
        get("/a"),
        script=[_status(500), OK],
        more=", rewrite: {uri: /b/}",
    ),
    _retry(
        "body-broken",
        f"attempts: 2, retryOn: 5xx, {FAST}",
        get(),
        script=[[b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nabc", 0.1, CLOSE], OK],
    ),
    case(
        "retry-another-endpoint",
        "- {route: [{destination: {host: orders}}], "
        f"retries: {{attempts: 1, retryOn: 5xx, {FAST}}}}}",
        *[get()] * 3,
        script={"*": [_status(503)]},
        unordered=True,
    ),
    case(
        "retry-default-policy-refused",
        None,
        get(),
        service=SERVICE.replace("$a", "$refused").replace("$b", "$refused"),
        differs=("transport-failure-reason",),
    ),
    case("retry-of-the-mesh", f"- {V1}", get(), script={"a": [_status(500), OK]}, world="retrying"),
    case(
        "retry-of-the-mesh-overridden",
        f"- {{{V1}, retries: {{attempts: 0}}}}",
        get(),
        script={"a": [_status(500), OK]},
        world="retrying",
    ),
    case(
        "retry-of-the-mesh-default-route",
        None,
        get(),
        script={"*": [_status(500), _status(500)]},
        world="retrying",
        unordered=True,
    ),
]
