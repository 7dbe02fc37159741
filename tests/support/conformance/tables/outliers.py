"""DestinationRule `outlierDetection`: when an endpoint is taken out, and what callers get."""

from __future__ import annotations

from conformance.cases import SERVICE, V1, case, get
from conformance.upstreams import RESET, answer

BAD = {"a": [answer(503)]}
OFTEN = [get()] * 6
UNAVAILABLE = answer(200, b"", "content-type: application/grpc", "grpc-status: 14")
ONCE = f"- {{{V1}, retries: {{attempts: 0}}}}"


def _ejected(name, fields, *calls, script=None, http=ONCE, base="300s", **more):
    rule = f"trafficPolicy: {{outlierDetection: {{baseEjectionTime: {base}, {fields}}}}}"
    return case(f"outlier-{name}", http, *(calls or OFTEN), rule=rule, script=script or BAD, **more)


ALL = "maxEjectionPercent: 100"

CASES = [
    _ejected("default", ALL),
    _ejected("three", f"consecutive5xxErrors: 3, {ALL}"),
    _ejected("one", f"consecutive5xxErrors: 1, {ALL}"),
    _ejected("off", f"consecutive5xxErrors: 0, {ALL}"),
    _ejected("max-ten-percent", "consecutive5xxErrors: 1"),
    _ejected("gateway", f"consecutive5xxErrors: 0, consecutiveGatewayErrors: 2, {ALL}"),
    _ejected(
        "gateway-500",
        f"consecutive5xxErrors: 0, consecutiveGatewayErrors: 2, {ALL}",
        script={"a": [answer(500)]},
    ),
    _ejected("gateway-first", f"consecutive5xxErrors: 4, consecutiveGatewayErrors: 2, {ALL}"),
    _ejected("gateway-off", f"consecutive5xxErrors: 4, consecutiveGatewayErrors: 0, {ALL}"),
    _ejected(
        "success-between",
        f"consecutive5xxErrors: 3, {ALL}",
        *[get()] * 8,
        script={"a": [answer(500), answer(500), answer(), answer(500), answer(500), answer(500)]},
    ),
    _ejected("404", f"consecutive5xxErrors: 2, {ALL}", script={"a": [answer(404)]}),
    _ejected("reset", f"consecutive5xxErrors: 2, {ALL}", script={"a": [[RESET]]}),
    _ejected(
        "refused",
        f"consecutive5xxErrors: 2, {ALL}",
        service=SERVICE.replace("$a", "$refused"),
        differs=("transport-failure-reason",),
    ),
    _ejected(
        "gateway-reset",
        f"consecutive5xxErrors: 0, consecutiveGatewayErrors: 2, {ALL}",
        script={"a": [[RESET]]},
    ),
    _ejected(
        "split-reset",
        f"splitExternalLocalOriginErrors: true, consecutiveLocalOriginFailures: 2, {ALL}",
        script={"a": [[RESET]]},
    ),
    _ejected(
        "split-refused",
        f"splitExternalLocalOriginErrors: true, consecutiveLocalOriginFailures: 2, {ALL}",
        service=SERVICE.replace("$a", "$refused"),
        differs=("transport-failure-reason",),
    ),
    _ejected(
        "split-503",
        f"splitExternalLocalOriginErrors: true, consecutive5xxErrors: 2, consecutiveLocalOriginFailures: 2, {ALL}",
    ),
    _ejected(
        "grpc",
        f"consecutive5xxErrors: 2, {ALL}",
        *[get(content_type="application/grpc")] * 4,
        script={"a": [UNAVAILABLE]},
    ),
    _ejected("grpc-unasked", f"consecutive5xxErrors: 2, {ALL}", script={"a": [UNAVAILABLE]}),
    _ejected(
        "time-out",
        f"consecutive5xxErrors: 2, {ALL}",
        *[get()] * 4,
        http=f"- {{{V1}, timeout: 0.4s, retries: {{attempts: 0}}}}",
        script={"a": [[1.0, *answer()]]},
    ),
    _ejected("min-health", f"consecutive5xxErrors: 1, minHealthPercent: 50, {ALL}"),
    _ejected(
        "of-subset",
        f"consecutive5xxErrors: 1, {ALL}",
        get("/one"),
        get("/one"),
        get("/two"),
        get("/two"),
        get("/two"),
        get("/two"),
        http=f"- {{match: [{{uri: {{prefix: /one}}}}], {V1}, retries: {{attempts: 0}}}}\n- {{route: [{{destination: {{host: orders, subset: v2}}}}]}}",
    ),
    _ejected(
        "back-again",
        f"consecutive5xxErrors: 1, interval: 1s, {ALL}",
        get(),
        get(),
        base="1s",
        pause_s=4.0,
    ),
]
