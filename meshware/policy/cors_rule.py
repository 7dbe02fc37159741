"""Which pages of other origins may call a workload, route by route.

A VirtualService's `corsPolicy` is about callers in browsers, which no mesh client stands beside. So
it is the workload itself that answers, for the VirtualServices of its services: those of their own
namespace and of the root one. Source: Istio CorsPolicy; Envoy, CORS filter.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from meshware.call import RequestHead
from meshware.policy.document.virtual_service import (
    CorsPolicy,
    HTTPMatchRequest,
    HTTPRoute,
    VirtualServiceSpec,
)
from meshware.policy.match import string_matcher
from meshware.policy.names import candidates
from meshware.policy.record_types import ServedHost
from meshware.policy.request_match import request_matcher
from meshware.policy.view import View

__all__ = ["CorsRoute", "CorsRule", "CorsTable", "compile_cors", "compile_cors_table"]

_ANY = "*"


@dataclass(frozen=True, slots=True, kw_only=True)
class CorsRule:
    """What browsers are told. None: the header is left out; `*`: what the browser asked for."""

    origins: tuple[Callable[[str], bool], ...]
    methods: str | None
    headers: str | None
    exposed: str | None
    max_age: str | None
    has_credentials: bool
    answers_unmatched: bool  # preflights of other origins end here, in place of in the app

    def allows(self, origin: str) -> bool:
        """Say whether an origin may call."""
        return any(test(origin) for test in self.origins)


@dataclass(frozen=True, slots=True)
class CorsRoute:
    """A rule of a VirtualService, as far as it matters here."""

    accepts: Callable[[RequestHead], bool] | None  # None: everything
    ports: frozenset[int] | None  # of the workload; None: any
    rule: CorsRule | None


@dataclass(frozen=True, slots=True)
class CorsTable:
    """The routes of a workload's services, by full host."""

    namespaces: tuple[str, ...]  # whose short names callers may have used
    routes: Mapping[str, tuple[CorsRoute, ...]]

    def pick(self, head: RequestHead, port: int | None) -> CorsRule | None:
        """Return what holds for a request to one of the services; None: nothing does.

        Args:
            head: the request.
            port: that it came to; None: not known.
        """
        for namespace in self.namespaces:
            for host in candidates(head.host, namespace):
                routes = self.routes.get(host)
                if routes is None:
                    continue
                for route in routes:
                    if route.ports is not None and port not in route.ports:
                        continue
                    if route.accepts is None or route.accepts(head):
                        return route.rule
                return None
        return None


def compile_cors(policy: CorsPolicy | None) -> CorsRule | None:
    """Return the rule of a route; None: it has none."""
    if policy is None:
        return None
    origins = [
        (lambda _origin: True) if match.exact == _ANY else string_matcher(match)
        for match in policy.allow_origins or ()
    ]
    older = frozenset(policy.allow_origin or ())
    if older:
        origins.append((lambda _origin: True) if _ANY in older else older.__contains__)
    return CorsRule(
        origins=tuple(origins),
        methods=_listed(policy.allow_methods),
        headers=_listed(policy.allow_headers),
        exposed=_listed(policy.expose_headers),
        max_age=None if policy.max_age is None else str(int(policy.max_age)),
        has_credentials=bool(policy.allow_credentials),
        answers_unmatched=policy.unmatched_preflights == "IGNORE",
    )


def _listed(words: Sequence[str] | None) -> str | None:
    return ",".join(words) if words else None


def compile_cors_table(
    view_of: Callable[[str], View], served: Sequence[ServedHost], root: str
) -> CorsTable | None:
    """Return the table of a workload; None: nothing is said about origins.

    Args:
        view_of: returns the records as a client of a namespace sees them.
        served: the hosts behind which the workload is.
        root: the root namespace.

    Raises:
        ValueError: a pattern cannot be compiled.
    """
    tables: dict[str, tuple[CorsRoute, ...]] = {}
    for each in served:
        found = view_of(each.namespace).virtual_service(each.host)
        if found is not None and found.namespace in (root, each.namespace):
            routes = _routes(found.spec, each.ports)
            if any(route.rule is not None for route in routes):
                tables[each.host] = routes
    if not tables:
        return None
    return CorsTable(tuple(dict.fromkeys(each.namespace for each in served)), tables)


def _routes(spec: VirtualServiceSpec, ports: Mapping[str, int]) -> tuple[CorsRoute, ...]:
    return tuple(
        CorsRoute(
            None if block is None else request_matcher(block),
            _own_ports(block, ports),
            _rule(route),
        )
        for route in spec.http or ()
        for block in route.match or (None,)
        if _is_for_anybody(block, spec)
    )


def _rule(route: HTTPRoute) -> CorsRule | None:
    if route.redirect is not None or route.direct_response is not None:
        return None  # such calls do not come here
    return compile_cors(route.cors_policy)


def _is_for_anybody(block: HTTPMatchRequest | None, spec: VirtualServiceSpec) -> bool:
    """Say whether a block is for the mesh, and not for some workloads of it: browsers are none."""
    gateways = (block.gateways if block is not None else None) or spec.gateways
    if gateways and "mesh" not in gateways:
        return False
    return block is None or not (block.source_labels or block.source_namespace)


def _own_ports(block: HTTPMatchRequest | None, ports: Mapping[str, int]) -> frozenset[int] | None:
    """Return where calls to the service's port that a block names come in."""
    if block is None or block.port is None:
        return None
    own = ports.get(str(block.port))
    return frozenset() if own is None else frozenset((own,))
