"""A VirtualService's rules as Envoy's routes, for one host and port of one client.

Source: Istio, `route.BuildHTTPRoutesForVirtualService`, `ApplyHTTPRoute*`.
"""

from __future__ import annotations

from meshware.envoy.answers import direct_response, redirect
from meshware.envoy.balancing import hash_policy
from meshware.envoy.filters import CORS, FAULT, cors, fault
from meshware.envoy.headers import host_of, operations
from meshware.envoy.matches import is_catch_all, is_for, route_match
from meshware.envoy.policies import behind
from meshware.envoy.retries import retry_policy
from meshware.envoy.values import ClusterKey, Json, cluster_name, duration, fraction
from meshware.policy.document.virtual_service import (
    Destination,
    HTTPRoute,
    HTTPRouteDestination,
    Percent,
    VirtualServiceSpec,
)
from meshware.policy.names import expand
from meshware.policy.view import Found, View

__all__ = ["Routes"]

_ALL = 100.0


class Routes:
    """Makes routes, and notes the clusters that they lead to.

    Attributes:
        clusters: every destination met so far.
    """

    def __init__(self, view: View) -> None:
        self._view = view
        self.clusters: set[ClusterKey] = set()

    def default(self, host: str, port: int) -> Json:
        """Return the route of a service that no VirtualService is about."""
        key = (host, port, "")
        action = {"cluster": self._met(key), "timeout": "0s", "max_grpc_timeout": "0s"}
        self._keep(action, [key], None)
        return {"name": "default", "match": {"prefix": "/"}, "route": action}

    def of(self, found: Found[VirtualServiceSpec], port: int) -> list[Json]:
        """Return the routes of a VirtualService; none where nothing of it is for this client."""
        routes: list[Json] = []
        for index, rule in enumerate(found.spec.http or ()):
            for block in rule.match or (None,):
                if not is_for(block, found.spec.gateways, self._view.client, port):
                    continue
                match = route_match(block)
                name = rule.name or str(index)
                if rule.name and block is not None and block.name:
                    name = f"{rule.name}.{block.name}"
                routes.append({"name": name, "match": match, **self._action(rule, found, port)})
                if is_catch_all(match):
                    return routes
        return routes

    def _action(self, rule: HTTPRoute, found: Found[VirtualServiceSpec], port: int) -> Json:
        filters = {
            name: config
            for name, config in ((FAULT, fault(rule.fault)), (CORS, cors(rule.cors_policy)))
            if config is not None
        }
        more: Json = {"typed_per_filter_config": filters} if filters else {}
        if rule.redirect is not None:
            return {"redirect": redirect(rule.redirect, port), **operations([rule.headers]), **more}
        if rule.direct_response is not None:
            action = direct_response(rule.direct_response)
            return {"direct_response": action, **operations([rule.headers]), **more}
        written = rule.route or ()
        if len(written) == 1:  # Istio: the route's operations, then the destination's
            more |= operations([rule.headers, written[0].headers])
        else:
            more |= operations([rule.headers])
        return {"route": self._route(rule, found, port), **more}

    def _route(self, rule: HTTPRoute, found: Found[VirtualServiceSpec], port: int) -> Json:
        written = [
            entry for entry in rule.route or () if entry.weight or len(rule.route or ()) == 1
        ]
        keys = [self._key(entry.destination, found.namespace, port) for entry in written]
        limit = duration(rule.timeout or 0)
        action: Json = {"timeout": limit, "max_grpc_timeout": limit}
        host = host_of(rule.headers)
        if len(rule.route or ()) == 1:
            action["cluster"] = self._met(keys[0])
            host = host_of(written[0].headers) or host
        else:
            action["weighted_clusters"] = {
                "clusters": [
                    self._weighted(entry, key) for entry, key in zip(written, keys, strict=True)
                ]
            }
        if rule.rewrite is not None and rule.rewrite.authority:
            host = rule.rewrite.authority
        if host:
            action["host_rewrite_literal"] = host
        self._rewrite(action, rule)
        self._mirror(action, rule, found, port)
        self._keep(action, keys, rule)
        return action

    def _weighted(self, entry: HTTPRouteDestination, key: ClusterKey) -> Json:
        found: Json = {
            "name": self._met(key),
            "weight": entry.weight,
            **operations([entry.headers]),
        }
        host = host_of(entry.headers)
        if host:
            found["host_rewrite_literal"] = host
        return found

    def _rewrite(self, action: Json, rule: HTTPRoute) -> None:
        rewrite = rule.rewrite
        if rewrite is None:
            return
        by_regex = rewrite.uri_regex_rewrite
        if by_regex is not None and by_regex.match is not None:
            action["regex_rewrite"] = {
                "pattern": {"regex": by_regex.match},
                "substitution": by_regex.rewrite or "",
            }
        elif rewrite.uri:
            action["prefix_rewrite"] = rewrite.uri

    def _mirror(
        self, action: Json, rule: HTTPRoute, found: Found[VirtualServiceSpec], port: int
    ) -> None:
        copies = [(copy.destination, copy.percentage) for copy in rule.mirrors or ()]
        if rule.mirror is not None:
            share = rule.mirror_percentage
            whole = rule.mirror_percent if rule.mirror_percent is not None else None
            if whole is None:
                whole = rule.mirror_percent_snake
            if share is None and whole is not None:
                share = Percent(value=float(whole))
            copies.append((rule.mirror, share))
        policies = [
            {
                "cluster": self._met(self._key(destination, found.namespace, port)),
                "runtime_fraction": {"default_value": fraction(share, _ALL)},
                "trace_sampled": False,
            }
            for destination, share in copies
            if fraction(share, _ALL)["numerator"]
        ]
        if policies:
            action["request_mirror_policies"] = policies

    def _keep(self, action: Json, keys: list[ClusterKey], rule: HTTPRoute | None) -> None:
        """Write down what keeps a caller at one endpoint, and what is tried again."""
        hashes = []
        for key in keys:
            there = behind(self._view, key)
            balancer = there.policy.load_balancer if there is not None else None
            policy = hash_policy(balancer.consistent_hash if balancer is not None else None)
            if policy is not None and policy not in hashes:
                hashes.append(policy)
        if hashes:
            action["hash_policy"] = hashes
        written = (rule.retries if rule is not None else None) or self._view.mesh.default_retry
        retries = retry_policy(written, is_hashed=bool(hashes))
        if retries is not None:
            action["retry_policy"] = retries

    def _key(self, destination: Destination, namespace: str, dialled: int) -> ClusterKey:
        host = expand(destination.host, namespace)
        number = destination.port.number if destination.port is not None else None
        if number is None:
            service = self._view.service(host)
            ports = service.claim.ports if service is not None else ()
            number = ports[0].number if len(ports) == 1 else dialled
        return (host, number, destination.subset or "")

    def _met(self, key: ClusterKey) -> str:
        self.clusters.add(key)
        return cluster_name(key)
