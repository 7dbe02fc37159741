"""What a route does besides leading somewhere: faults, redirects and answers of its own.

Compiled from VirtualService once; `outbound.exchange` reads it at call time.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass

from meshware.policy.document.virtual_service import (
    FaultAbort,
    FaultDelay,
    HTTPDirectResponse,
    HTTPFaultInjection,
    HTTPRedirect,
    Percent,
)

__all__ = [
    "GRPC_CODES",
    "REDIRECT_CODES",
    "Abort",
    "Delay",
    "DirectResponse",
    "Fault",
    "Redirect",
    "compile_direct_response",
    "compile_fault",
    "compile_redirect",
    "direct_body",
    "per_million",
]

# Source: gRPC, "Status codes and their use in gRPC"; Istio names them in capitals.
GRPC_CODES = {
    name: code
    for code, name in enumerate(
        (
            "OK",
            "CANCELLED",
            "UNKNOWN",
            "INVALID_ARGUMENT",
            "DEADLINE_EXCEEDED",
            "NOT_FOUND",
            "ALREADY_EXISTS",
            "PERMISSION_DENIED",
            "RESOURCE_EXHAUSTED",
            "FAILED_PRECONDITION",
            "ABORTED",
            "OUT_OF_RANGE",
            "UNIMPLEMENTED",
            "INTERNAL",
            "UNAVAILABLE",
            "DATA_LOSS",
            "UNAUTHENTICATED",
        )
    )
}

REDIRECT_CODES = (301, 302, 303, 307, 308)  # what Envoy has an action for
_MILLION = 1_000_000


@dataclass(frozen=True, slots=True)
class Delay:
    """Wait before a share of calls. Source: Istio HTTPFaultInjection.Delay."""

    seconds: float
    per_million: int


@dataclass(frozen=True, slots=True)
class Abort:
    """Refuse a share of calls. Source: Istio HTTPFaultInjection.Abort."""

    status: int  # of HTTP; 200 beside a gRPC status
    grpc_status: int | None
    per_million: int


@dataclass(frozen=True, slots=True)
class Fault:
    """Faults on purpose: the delay comes first, and each is drawn for itself."""

    delay: Delay | None
    abort: Abort | None


@dataclass(frozen=True, slots=True)
class Redirect:
    """Answer with a `Location`. Source: Istio HTTPRedirect; Envoy RedirectAction."""

    code: int
    scheme: str | None  # None: the request's
    authority: str | None  # None: the request's Host
    port: int | None  # None: none is added
    path: str | None  # with a query of its own or without; None: the request's path


@dataclass(frozen=True, slots=True)
class DirectResponse:
    """Answer without an upstream. Source: Istio HTTPDirectResponse."""

    status: int
    body: bytes


def per_million(percentage: Percent | None) -> int:
    """Return a share as Envoy counts it: in millionths, truncated; none without a percentage."""
    if percentage is None or percentage.value is None:
        return 0
    return int(percentage.value * (_MILLION // 100))


def compile_fault(fault: HTTPFaultInjection | None) -> Fault | None:
    """Return the faults of a route; None when there is none that ever happens."""
    if fault is None:
        return None
    delay, abort = _delay(fault.delay), _abort(fault.abort)
    return Fault(delay, abort) if delay is not None or abort is not None else None


def _delay(delay: FaultDelay | None) -> Delay | None:
    if delay is None or not delay.fixed_delay:
        return None
    share = per_million(delay.percentage)
    if delay.percentage is None and delay.percent is not None:
        share = delay.percent * (_MILLION // 100)  # the deprecated field, in whole percents
    return Delay(delay.fixed_delay, share) if share else None


def _abort(abort: FaultAbort | None) -> Abort | None:
    share = per_million(abort.percentage) if abort is not None else 0
    if abort is None or not share:
        return None
    if abort.grpc_status is not None:
        return Abort(200, GRPC_CODES[abort.grpc_status], share)
    return Abort(abort.http_status or 200, None, share)


def compile_redirect(redirect: HTTPRedirect | None, port: int) -> Redirect | None:
    """Return the redirect of a route.

    Args:
        redirect: as written.
        port: the one that was dialled, which `FROM_REQUEST_PORT` means.
    """
    if redirect is None:
        return None
    wanted = redirect.port
    if redirect.derive_port == "FROM_REQUEST_PORT":
        wanted = port
    if (redirect.scheme or "http", wanted) in (("http", 80), ("https", 443)):
        wanted = None
    return Redirect(
        code=redirect.redirect_code or 301,
        scheme=redirect.scheme or None,
        authority=redirect.authority or None,
        port=wanted,
        path=redirect.uri or None,
    )


def compile_direct_response(response: HTTPDirectResponse | None) -> DirectResponse | None:
    """Return the answer that a route gives by itself."""
    if response is None:
        return None
    is_bodiless = response.status in (204, 304)  # RFC 9110, 6.4.1
    return DirectResponse(response.status, b"" if is_bodiless else direct_body(response))


def direct_body(response: HTTPDirectResponse) -> bytes:
    """Return the body of a direct response.

    Raises:
        ValueError: `bytes` is not base64.
    """
    body = response.body
    if body is None:
        return b""
    if body.bytes is not None:
        try:
            return base64.b64decode(body.bytes, validate=True)
        except binascii.Error as error:
            raise ValueError(str(error)) from None
    return (body.string or "").encode()
