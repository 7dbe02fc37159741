"""VirtualService: how calls to a host are routed. Source: networking.istio.io/v1."""

from __future__ import annotations

from typing import Literal

import msgspec

from meshware.policy.document.common import (
    Document,
    Duration,
    Labels,
    Percentage,
    Port,
    StringMatch,
)

__all__ = [
    "CorsPolicy",
    "Delegate",
    "Destination",
    "FaultAbort",
    "FaultDelay",
    "HTTPBody",
    "HTTPDirectResponse",
    "HTTPFaultInjection",
    "HTTPMatchRequest",
    "HTTPMirrorPolicy",
    "HTTPRedirect",
    "HTTPRetry",
    "HTTPRewrite",
    "HTTPRoute",
    "HTTPRouteDestination",
    "HeaderOperations",
    "Headers",
    "L4MatchAttributes",
    "Percent",
    "PortSelector",
    "RegexRewrite",
    "RouteDestination",
    "TCPRoute",
    "TLSMatchAttributes",
    "TLSRoute",
    "VirtualServiceSpec",
]


class PortSelector(Document, frozen=True):
    """A port by its number."""

    number: Port | None = None


class Destination(Document, frozen=True):
    """Where calls go: a host, one of its subsets, one of its ports."""

    host: str
    subset: str | None = None
    port: PortSelector | None = None


class HeaderOperations(Document, frozen=True):
    """Headers to set, add and remove."""

    set: Labels | None = None
    add: Labels | None = None
    remove: tuple[str, ...] | None = None


class Headers(Document, frozen=True):
    """Header operations on requests and responses."""

    request: HeaderOperations | None = None
    response: HeaderOperations | None = None


class Percent(Document, frozen=True):
    """A share of calls."""

    value: Percentage | None = None


class HTTPMatchRequest(Document, frozen=True):
    """Conditions on a call; all that are set must hold."""

    name: str | None = None
    uri: StringMatch | None = None
    scheme: StringMatch | None = None
    method: StringMatch | None = None
    authority: StringMatch | None = None
    headers: dict[str, StringMatch] | None = None
    without_headers: dict[str, StringMatch] | None = None
    query_params: dict[str, StringMatch] | None = None
    ignore_uri_case: bool | None = None
    port: Port | None = None
    source_labels: Labels | None = None
    source_namespace: str | None = None
    gateways: tuple[str, ...] | None = None
    stat_prefix: str | None = None


class HTTPRouteDestination(Document, frozen=True):
    """One weighted destination."""

    destination: Destination
    weight: int | None = None
    headers: Headers | None = None


class HTTPRedirect(Document, frozen=True):
    """Answer with a redirect."""

    uri: str | None = None
    authority: str | None = None
    port: Port | None = None
    derive_port: Literal["FROM_PROTOCOL_DEFAULT", "FROM_REQUEST_PORT"] | None = None
    scheme: str | None = None
    redirect_code: int | None = None


class HTTPBody(Document, frozen=True):
    """A body, as text or base64."""

    string: str | None = None
    bytes: str | None = None


class HTTPDirectResponse(Document, frozen=True):
    """Answer without an upstream."""

    status: int
    body: HTTPBody | None = None


class Delegate(Document, frozen=True):
    """Another VirtualService that goes on with the routing."""

    name: str | None = None
    namespace: str | None = None


class RegexRewrite(Document, frozen=True):
    """Rewrite a path by an RE2 pattern."""

    match: str | None = None
    rewrite: str | None = None


class HTTPRewrite(Document, frozen=True):
    """Rewrite the path or the Host of a request."""

    uri: str | None = None
    authority: str | None = None
    uri_regex_rewrite: RegexRewrite | None = None


class HTTPRetry(Document, frozen=True):
    """When and how often an attempt is made again."""

    attempts: int | None = None
    per_try_timeout: Duration | None = None
    retry_on: str | None = None
    retry_remote_localities: bool | None = None
    retry_ignore_previous_hosts: bool | None = None
    backoff: Duration | None = None


class FaultDelay(Document, frozen=True):
    """Delay a share of calls."""

    fixed_delay: Duration | None = None
    exponential_delay: Duration | None = None
    percentage: Percent | None = None
    percent: int | None = None


class FaultAbort(Document, frozen=True):
    """Refuse a share of calls."""

    http_status: int | None = None
    grpc_status: str | None = None
    http2_error: str | None = msgspec.field(name="http2Error", default=None)
    percentage: Percent | None = None


class HTTPFaultInjection(Document, frozen=True):
    """Faults on purpose."""

    delay: FaultDelay | None = None
    abort: FaultAbort | None = None


class HTTPMirrorPolicy(Document, frozen=True):
    """A copy of each call that is sent elsewhere."""

    destination: Destination
    percentage: Percent | None = None


class CorsPolicy(Document, frozen=True):
    """Which origins a browser may call from."""

    allow_origin: tuple[str, ...] | None = None
    allow_origins: tuple[StringMatch, ...] | None = None
    allow_methods: tuple[str, ...] | None = None
    allow_headers: tuple[str, ...] | None = None
    expose_headers: tuple[str, ...] | None = None
    max_age: Duration | None = None
    allow_credentials: bool | None = None
    unmatched_preflights: Literal["UNSPECIFIED", "FORWARD", "IGNORE"] | None = None


class HTTPRoute(Document, frozen=True):
    """One rule: what it takes and what happens to it."""

    name: str | None = None
    match: tuple[HTTPMatchRequest, ...] | None = None
    route: tuple[HTTPRouteDestination, ...] | None = None
    redirect: HTTPRedirect | None = None
    direct_response: HTTPDirectResponse | None = None
    delegate: Delegate | None = None
    rewrite: HTTPRewrite | None = None
    timeout: Duration | None = None
    retries: HTTPRetry | None = None
    fault: HTTPFaultInjection | None = None
    mirror: Destination | None = None
    mirrors: tuple[HTTPMirrorPolicy, ...] | None = None
    mirror_percentage: Percent | None = None
    mirror_percent: int | None = None
    mirror_percent_snake: int | None = msgspec.field(name="mirror_percent", default=None)
    cors_policy: CorsPolicy | None = None
    headers: Headers | None = None


class L4MatchAttributes(Document, frozen=True):
    """Conditions on a TCP connection."""

    destination_subnets: tuple[str, ...] | None = None
    port: Port | None = None
    source_labels: Labels | None = None
    source_namespace: str | None = None
    source_subnet: str | None = None
    gateways: tuple[str, ...] | None = None


class TLSMatchAttributes(Document, frozen=True):
    """Conditions on a TLS connection."""

    sni_hosts: tuple[str, ...]
    destination_subnets: tuple[str, ...] | None = None
    port: Port | None = None
    source_labels: Labels | None = None
    source_namespace: str | None = None
    gateways: tuple[str, ...] | None = None


class RouteDestination(Document, frozen=True):
    """One weighted destination of a connection."""

    destination: Destination
    weight: int | None = None


class TCPRoute(Document, frozen=True):
    """One rule for TCP connections."""

    match: tuple[L4MatchAttributes, ...] | None = None
    route: tuple[RouteDestination, ...] | None = None


class TLSRoute(Document, frozen=True):
    """One rule for TLS connections."""

    match: tuple[TLSMatchAttributes, ...]
    route: tuple[RouteDestination, ...] | None = None


class VirtualServiceSpec(Document, frozen=True):
    """How calls to some hosts are routed."""

    hosts: tuple[str, ...] | None = None
    gateways: tuple[str, ...] | None = None
    http: tuple[HTTPRoute, ...] | None = None
    tls: tuple[TLSRoute, ...] | None = None
    tcp: tuple[TCPRoute, ...] | None = None
    export_to: tuple[str, ...] | None = None
