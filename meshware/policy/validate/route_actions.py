"""Check what a route does besides leading somewhere: faults, redirects, direct responses.

Source: Istio, `validateHTTPRoute` and its fellows. Stricter: a redirect code for which Envoy has no
action leaves a route that does nothing, and is refused.
"""

from __future__ import annotations

import re

from meshware.policy.codes import SUSPICIOUS
from meshware.policy.document.virtual_service import (
    FaultAbort,
    FaultDelay,
    HTTPDirectResponse,
    HTTPFaultInjection,
    HTTPRedirect,
    HTTPRoute,
)
from meshware.policy.parse import Resource
from meshware.policy.route_actions import GRPC_CODES, REDIRECT_CODES, direct_body
from meshware.policy.validate.common import Report
from meshware.policy.validate.edits import is_authority
from meshware.policy.validate.fields import SHORTEST_S
from meshware.policy.yaml12 import brief

__all__ = ["check_actions", "leads_somewhere"]

_ENDS = ("route", "redirect", "direct_response", "delegate")
_NAMES = {
    "route": "route",
    "redirect": "redirect",
    "direct_response": "directResponse",
    "delegate": "delegate",
}
_ONLY_WITH_ROUTE = {
    "rewrite": "rewrite",
    "fault": "fault",
    "timeout": "timeout",
    "retries": "retries",
    "mirror": "mirror",
    "mirrors": "mirrors",
}
_LARGE_BYTES, _LARGEST_BYTES = 100 * 1024, 1024 * 1024  # Istio's

# RFC 3986: what stands in a path with its query.
_PATH = re.compile(r"/[A-Za-z0-9._~!$&'()*+,;=:@%/?-]*")


def leads_somewhere(route: HTTPRoute) -> bool:
    """Say whether a route has destinations, and no answer of its own."""
    return route.redirect is None and route.direct_response is None and route.delegate is None


def check_actions(resource: Resource, path: str, route: HTTPRoute, report: Report) -> None:
    """Report what is wrong with the ends of a route, and with its faults."""
    ends = [end for end in _ENDS if getattr(route, end) is not None]
    if len(ends) > 1:
        names = " and ".join(_NAMES[end] for end in ends)
        report.error(resource, path, f"{names} stand in one route; keep one of them")
    if route.delegate is not None:
        if not route.delegate.name:
            report.error(
                resource, f"{path}.delegate", "delegate has no name; add that of a VirtualService"
            )
    elif not leads_somewhere(route):
        end = _NAMES[ends[-1]]
        for field, name in _ONLY_WITH_ROUTE.items():
            if getattr(route, field) is None:
                continue
            message = f"{name} does nothing beside {end}, which answers at once; remove it"
            if field in ("rewrite", "fault"):
                report.error(resource, f"{path}.{name}", message)
            else:
                report.warning(resource, f"{path}.{name}", message, SUSPICIOUS)
    if route.redirect is not None:
        _check_redirect(resource, f"{path}.redirect", route.redirect, report)
    if route.direct_response is not None:
        _check_direct(resource, f"{path}.directResponse", route.direct_response, report)
    if route.fault is not None:
        _check_fault(resource, f"{path}.fault", route.fault, report)


def _check_redirect(resource: Resource, path: str, redirect: HTTPRedirect, report: Report) -> None:
    if redirect.port is not None and redirect.derive_port is not None:
        report.error(
            resource, f"{path}.derivePort", "port and derivePort are both set; keep one of them"
        )
    parts = (redirect.uri, redirect.authority, redirect.scheme, redirect.port)
    if not any(parts) and redirect.derive_port is None:
        report.error(resource, path, "redirect leads nowhere; write uri, authority, scheme or port")
    if redirect.redirect_code is not None and redirect.redirect_code not in REDIRECT_CODES:
        codes = ", ".join(map(str, REDIRECT_CODES))
        report.error(
            resource,
            f"{path}.redirectCode",
            f"redirectCode is {redirect.redirect_code}; write one of {codes}",
        )
    if redirect.scheme and redirect.scheme not in ("http", "https"):
        report.error(
            resource, f"{path}.scheme", f"scheme is {brief(redirect.scheme)!r}; write http or https"
        )
    if redirect.authority and not is_authority(redirect.authority):
        report.error(
            resource,
            f"{path}.authority",
            f"authority is {brief(redirect.authority)!r}; write a host, with a port if need be",
        )
    if redirect.uri and "%PREFIX()%" in redirect.uri:
        report.error(resource, f"{path}.uri", "%PREFIX()% is for gateways; write the whole path")
    elif redirect.uri and not _PATH.fullmatch(redirect.uri):
        report.error(
            resource,
            f"{path}.uri",
            f"uri is {brief(redirect.uri)!r}; write a path that begins with a slash, "
            "percent-encoded",
        )


def _check_direct(
    resource: Resource, path: str, response: HTTPDirectResponse, report: Report
) -> None:
    if not 200 <= response.status <= 599:
        report.error(
            resource,
            f"{path}.status",
            f"status is {response.status}; write a status from 200 to 599",
        )
    body = response.body
    if body is None:
        return
    if body.string is not None and body.bytes is not None:
        report.error(resource, f"{path}.body", "string and bytes are both set; keep one of them")
        return
    try:
        size = len(direct_body(response))
    except ValueError:
        report.error(resource, f"{path}.body.bytes", "bytes is not base64; encode it so")
        return
    if size > _LARGEST_BYTES:
        report.error(resource, f"{path}.body", "the body has more than 1 MiB; shorten it")
    elif size > _LARGE_BYTES:
        report.warning(
            resource,
            f"{path}.body",
            "the body has more than 100 KiB, which every process keeps in memory; shorten it",
            SUSPICIOUS,
        )


# --- faults -----------------------------------------------------------------------------------


def _check_fault(resource: Resource, path: str, fault: HTTPFaultInjection, report: Report) -> None:
    if fault.delay is None and fault.abort is None:
        report.error(resource, path, "fault is empty; write delay, abort or both")
    if fault.delay is not None:
        _check_delay(resource, f"{path}.delay", fault.delay, report)
    if fault.abort is not None:
        _check_abort(resource, f"{path}.abort", fault.abort, report)


def _check_delay(resource: Resource, path: str, delay: FaultDelay, report: Report) -> None:
    if delay.fixed_delay is None:
        report.error(resource, path, "delay has no fixedDelay; add it")
    elif delay.fixed_delay < SHORTEST_S:
        report.error(resource, f"{path}.fixedDelay", "fixedDelay is too short; write at least 1ms")
    if delay.percent is not None and not 0 <= delay.percent <= 100:
        report.error(
            resource, f"{path}.percent", f"percent is {delay.percent}; write a number from 0 to 100"
        )
    if delay.percent is not None and delay.percentage is not None:
        report.warning(
            resource,
            f"{path}.percent",
            "percent is not looked at beside percentage; remove it",
            SUSPICIOUS,
        )
    if delay.percent is None and (delay.percentage is None or delay.percentage.value is None):
        _never(resource, path, "delay", report)


def _check_abort(resource: Resource, path: str, abort: FaultAbort, report: Report) -> None:
    if (abort.http_status is None) == (abort.grpc_status is None):
        report.error(resource, path, "abort needs httpStatus or grpcStatus, and not both")
    if abort.http_status is not None and not 200 <= abort.http_status <= 599:
        report.error(
            resource,
            f"{path}.httpStatus",
            f"httpStatus is {abort.http_status}; write a status from 200 to 599",
        )
    if abort.grpc_status is not None and abort.grpc_status not in GRPC_CODES:
        report.error(
            resource,
            f"{path}.grpcStatus",
            f"grpcStatus is {brief(abort.grpc_status)!r}; write one of {', '.join(GRPC_CODES)}",
        )
    if abort.percentage is None or abort.percentage.value is None:
        _never(resource, path, "abort", report)


def _never(resource: Resource, path: str, name: str, report: Report) -> None:
    report.warning(
        resource,
        path,
        f"{name} has no percentage and so never happens; write percentage.value, 100 for all calls",
        SUSPICIOUS,
    )
