"""Compile what one client needs to call one host: its route table.

Everything with a default gets it here, so that the hot path has no `or default`; texts, patterns
and names are parsed here, once. The types are what `outbound.exchange` reads at call time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache

from meshware.call import RequestHead
from meshware.policy.call_rule import NO_RULE, CallRule, compile_call_rules
from meshware.policy.clusters import ClusterKey
from meshware.policy.document.virtual_service import (
    Destination,
    HTTPMatchRequest,
    HTTPRetry,
    HTTPRoute,
    VirtualServiceSpec,
)
from meshware.policy.edits import (
    HeaderEdit,
    Rewrite,
    authority_of,
    compile_edit,
    compile_rewrite,
)
from meshware.policy.mirror_rule import MirrorRule, compile_mirrors
from meshware.policy.names import expand
from meshware.policy.request_match import refusal, request_matcher
from meshware.policy.route_actions import (
    DirectResponse,
    Fault,
    Redirect,
    compile_direct_response,
    compile_fault,
    compile_redirect,
)
from meshware.policy.view import Client, Found, View

__all__ = [
    "RetryRule",
    "Route",
    "RouteTable",
    "RuleBlock",
    "Target",
    "compile_routes",
    "home_of",
    "retry_in_force",
    "rule_blocks",
]

# Istio, `retry.DefaultPolicy`: what is tried again when policy says nothing.
DEFAULT_RETRY_ON = "connect-failure,refused-stream,unavailable,cancelled,retriable-status-codes"
DEFAULT_RETRIES = 2
DEFAULT_BACKOFF_S = 0.025


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryRule:
    """When and how often an attempt is made again. Source: Istio HTTPRetry."""

    retries: int  # after the first attempt; 0 is off (Istio's field says `attempts`)
    per_try_timeout_s: float | None
    on: frozenset[str]
    statuses: frozenset[int]
    backoff_s: float  # the base of the jitter, not a minimum
    skip_tried: bool | None  # None: policy says nothing; yes, but for endpoints found by a hash
    spreads: bool = False  # from the third attempt on, to other levels than those tried


@dataclass(frozen=True, slots=True)
class Target:
    """One weighted destination of a route. `upto` is the running total of the weights."""

    key: ClusterKey
    upto: int
    request: HeaderEdit | None = None
    response: HeaderEdit | None = None
    rewrite: Rewrite | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """One rule of a route table: what it takes, where it leads, how long and how often."""

    name: str
    accepts: Callable[[RequestHead], bool] | None  # None: everything
    targets: tuple[Target, ...]
    timeout_s: float | None  # the whole call with its retries; None: no limit
    retry: RetryRule
    fault: Fault | None = None
    answer: Redirect | DirectResponse | None = None  # in place of any destination
    response: HeaderEdit | None = None  # of such an answer
    mirrors: tuple[MirrorRule, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteTable:
    """What happens to calls of one host and port. The first route that accepts is taken."""

    service: str  # "host:port", full
    routes: tuple[Route, ...]
    rules: tuple[CallRule, ...]
    policy: str | None  # "ns/name" of the VirtualService; None: the default route
    is_broken: bool = False  # its records could not be compiled: 503, flag NC

    def pick(self, head: RequestHead) -> Route | None:
        """Return the first route that accepts a request; None: 404, there is no falling back."""
        for route in self.routes:
            if route.accepts is None or route.accepts(head):
                return route
        return None

    def rule_for(self, head: RequestHead) -> CallRule:
        """Return what a ServicePolicy says of a call: its first rule that accepts it."""
        for rule in self.rules:
            if rule.accepts is None or rule.accepts(head):
                return rule
        return NO_RULE


# --- routes -----------------------------------------------------------------------------------


def compile_routes(view: View, dialled: str, port: int) -> RouteTable | None:
    """Return the route table for a host as the caller wrote it; None: the mesh does not know it.

    A VirtualService whose every rule is for other clients counts as none: the service's plain
    default route holds. A host without a service has its VirtualService on port 80 only, as in
    Istio.
    """
    for host in view.names(dialled):
        service = view.service(host)
        if service is not None and not service.has_port(port):
            service = None
        if service is None and port != 80:
            continue
        rules = view.virtual_service(host)
        routes = _routes(view, rules, port) if rules is not None else ()
        if not routes:
            if service is None:
                continue
            routes = (_default_route(view, (host, port, "")),)
            rules = None
        return RouteTable(
            service=f"{host}:{port}",
            routes=routes,
            rules=compile_call_rules(view, host, home_of(view, host, port), port),
            policy=f"{rules.namespace}/{rules.name}" if rules is not None else None,
        )
    return _egress_route(view, dialled, port)


def _egress_route(view: View, dialled: str, port: int) -> RouteTable | None:
    """Return the way of an unknown host through the Sidecar's egress proxy; None: there is none.

    Source: Istio, the route `allow_any`, which has neither time-out nor retries.
    """
    proxy = view.egress_proxy
    if proxy is None:
        return None
    route = Route(
        name="allow_any",
        accepts=None,
        targets=(Target(proxy, 1),),
        timeout_s=None,
        retry=_compile_retry(HTTPRetry(attempts=0)),
    )
    return RouteTable(service=f"{dialled}:{port}", routes=(route,), rules=(), policy=None)


def _default_route(view: View, key: ClusterKey) -> Route:
    return Route(
        name="default",
        accepts=None,
        targets=(Target(key, 1),),
        timeout_s=None,
        retry=_retry(None, view),
    )


@dataclass(frozen=True, slots=True)
class RuleBlock:
    """One match block of a rule, or all of a rule that has none."""

    index: int  # of the rule
    at: int | None  # of the block in it
    name: str  # of the route that it makes
    rule: HTTPRoute
    block: HTTPMatchRequest | None
    refusal: str | None  # why it is not for this client; None: it is


def rule_blocks(found: Found[VirtualServiceSpec], port: int, client: Client) -> Iterator[RuleBlock]:
    """Yield what may become routes of a VirtualService, in the order in which it is asked."""
    for index, rule in enumerate(found.spec.http or ()):
        blocks: tuple[HTTPMatchRequest | None, ...] = rule.match or (None,)
        for at, block in enumerate(blocks):
            name = rule.name or str(index)
            if block is not None and block.name and rule.name:
                name = f"{rule.name}.{block.name}"
            refused = refusal(block, found.spec.gateways, port, client)
            yield RuleBlock(index, None if block is None else at, name, rule, block, refused)


def _routes(view: View, found: Found[VirtualServiceSpec], port: int) -> tuple[Route, ...]:
    routes: list[Route] = []
    for entry in rule_blocks(found, port, view.client):
        if entry.refusal is not None:
            continue
        rule, block = entry.rule, entry.block
        accepts = request_matcher(block) if block is not None else None
        routes.append(
            Route(
                name=entry.name,
                accepts=accepts,
                targets=_targets(view, rule, block, found.namespace, port),
                timeout_s=rule.timeout or None,  # Istio: 0s is "no time-out" too
                retry=_retry(rule.retries, view),
                fault=compile_fault(rule.fault),
                answer=compile_redirect(rule.redirect, port)
                or compile_direct_response(rule.direct_response),
                response=compile_edit([rule.headers.response if rule.headers else None]),
                mirrors=compile_mirrors(
                    rule, lambda to: _cluster_key(view, to, found.namespace, port)
                ),
            )
        )
        if accepts is None:
            break  # nothing behind a catch-all is ever reached
    return tuple(routes)


def _targets(
    view: View, rule: HTTPRoute, block: HTTPMatchRequest | None, namespace: str, port: int
) -> tuple[Target, ...]:
    written = rule.route or ()
    uri = block.uri if block is not None else None
    weighted = [(entry, entry.weight or 0) for entry in written]
    if len(weighted) == 1:
        weighted = [(written[0], 1)]  # Istio: the weight of a single destination is not looked at
    targets: list[Target] = []
    total = 0
    for entry, weight in weighted:
        if weight == 0:
            continue
        total += weight
        key = _cluster_key(view, entry.destination, namespace, port)
        # Envoy: a route's own operations come after those of a weighted destination, and win;
        # Istio makes one list of its route's and a single destination's.
        is_single = len(written) == 1
        levels = (rule.headers, entry.headers) if is_single else (entry.headers, rule.headers)
        targets.append(
            Target(
                key,
                total,
                compile_edit(
                    [level.request if level else None for level in levels], together=is_single
                ),
                compile_edit(
                    [level.response if level else None for level in levels], together=is_single
                ),
                compile_rewrite(rule.rewrite, uri, authority_of(rule.rewrite, levels)),
            )
        )
    return tuple(targets)


def _cluster_key(view: View, to: Destination, namespace: str, port: int) -> ClusterKey:
    host = expand(to.host, namespace)
    number = to.port.number if to.port else None
    return (host, number or _port_of(view, host, port), to.subset or "")


def _port_of(view: View, host: str, dialled: int) -> int:
    """Return a destination's port when policy names none: its only one, else the one dialled."""
    service = view.service(host)
    if service is not None and len(service.claim.ports) == 1:
        return service.claim.ports[0].number
    return dialled


_ISTIO_RETRY = HTTPRetry(attempts=DEFAULT_RETRIES)


def retry_in_force(rule: HTTPRetry | None, view: View) -> HTTPRetry:
    """Return what is written of retries: the rule's word, else the mesh's, else Istio's default."""
    return rule or view.mesh.default_retry or _ISTIO_RETRY


def _retry(rule: HTTPRetry | None, view: View) -> RetryRule:
    return _compile_retry(retry_in_force(rule, view))


@lru_cache(maxsize=256)  # most routes say nothing, or the same
def _compile_retry(rule: HTTPRetry) -> RetryRule:
    words = [word.strip() for word in (rule.retry_on or DEFAULT_RETRY_ON).split(",")]
    statuses = frozenset(int(word) for word in words if word.isdigit())
    on = frozenset(word for word in words if word and not word.isdigit())
    attempts = DEFAULT_RETRIES if rule.attempts is None else rule.attempts
    return RetryRule(
        retries=max(attempts, 0),
        per_try_timeout_s=rule.per_try_timeout or None,
        on=on,
        statuses=statuses,
        backoff_s=rule.backoff or DEFAULT_BACKOFF_S,
        skip_tried=rule.retry_ignore_previous_hosts,
        spreads=bool(rule.retry_remote_localities),
    )


def home_of(view: View, host: str, port: int) -> str:
    """Return the namespace whose ServicePolicies count as those of the service itself."""
    service = view.service(host)
    if service is None or not service.has_port(port):
        return view.client.namespace
    return service.claim.namespace
