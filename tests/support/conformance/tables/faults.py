"""Faults on purpose, all or never: shares in between are chance."""

from __future__ import annotations

from conformance.cases import V1, case, get
from conformance.upstreams import answer

ALWAYS = "percentage: {value: 100}"
GRPC = {"content_type": "application/grpc"}


def _fault(name, fields, *calls, more="", **kinds):
    return case(f"fault-{name}", f"- {{{V1}, fault: {fields}{more}}}", *calls, **kinds)


CASES = [
    _fault("abort", f"{{abort: {{httpStatus: 503, {ALWAYS}}}}}", get()),
    _fault("abort-418", f"{{abort: {{httpStatus: 418, {ALWAYS}}}}}", get()),
    _fault("abort-never", "{abort: {httpStatus: 503, percentage: {value: 0}}}", get()),
    _fault("abort-no-share", "{abort: {httpStatus: 503}}", get()),
    _fault("abort-grpc-request", f"{{abort: {{httpStatus: 503, {ALWAYS}}}}}", get(**GRPC)),
    _fault("abort-grpc", f"{{abort: {{grpcStatus: UNAVAILABLE, {ALWAYS}}}}}", get(**GRPC)),
    _fault("abort-grpc-plain", f"{{abort: {{grpcStatus: NOT_FOUND, {ALWAYS}}}}}", get()),
    _fault("delay", f"{{delay: {{fixedDelay: 0.4s, {ALWAYS}}}}}", get(), at_least_s=0.4),
    _fault("delay-never", "{delay: {fixedDelay: 30s, percentage: {value: 0}}}", get()),
    _fault("delay-no-share", "{delay: {fixedDelay: 30s}}", get()),
    _fault("delay-percent", "{delay: {fixedDelay: 0.3s, percent: 100}}", get(), at_least_s=0.3),
    _fault(
        "delay-abort",
        f"{{delay: {{fixedDelay: 0.3s, {ALWAYS}}}, abort: {{httpStatus: 500, {ALWAYS}}}}}",
        get(),
        at_least_s=0.3,
    ),
    _fault(
        "delay-outside-timeout",
        f"{{delay: {{fixedDelay: 0.8s, {ALWAYS}}}}}",
        get(),
        more=", timeout: 0.5s",
        at_least_s=0.8,
    ),
    _fault(
        "abort-not-retried",
        f"{{abort: {{httpStatus: 503, {ALWAYS}}}}}",
        get(),
        more=", retries: {attempts: 3, retryOn: 5xx}",
    ),
    _fault(
        "abort-headers",
        f"{{abort: {{httpStatus: 503, {ALWAYS}}}}}",
        get(),
        more=", headers: {response: {set: {x-a: b}}}",
        differs=("operations-on-failures",),
    ),
    _fault(
        "delay-then-error",
        f"{{delay: {{fixedDelay: 0.2s, {ALWAYS}}}}}",
        get(),
        script={"a": [answer(500)]},
    ),
]
