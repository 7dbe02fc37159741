"""The hosts of the mesh as virtual hosts of one listener that tells them apart by Host.

A client that is behind a sidecar dials a port, and the port chooses the routes. Here it sends all
to one proxy, so the port stands in the domain: `orders:9080`; without one it is 80.
"""

from __future__ import annotations

from collections.abc import Iterator

from meshware.envoy.routes import Routes
from meshware.envoy.values import Json, Say
from meshware.policy.file import Records
from meshware.policy.names import CLUSTER_DOMAIN, is_wildcard
from meshware.policy.view import View

__all__ = ["PASS_THROUGH", "virtual_hosts"]

PASS_THROUGH = "PassthroughCluster"
"""The cluster of hosts that the mesh does not know; Istio's name."""

_PLAIN = 80


def virtual_hosts(view: View, records: Records, routes: Routes, say: Say) -> list[Json]:
    """Return a virtual host for each host and port, the one for all others last.

    Args:
        view: the client's.
        records: the same that the view is of.
        routes: makes the routes.
        say: takes warnings.
    """
    taken: set[str] = set()
    found: list[Json] = []
    hosts = _hosts(records)
    for host in hosts:
        if host == "*":
            say("VirtualService for `*`", "a rule for every host there is cannot be exported")
            continue
        for port in _ports(view, host):
            made = _routes_of(view, routes, host, port)
            if made is None:
                continue
            domains = [
                domain
                for name in _names(view, host, port)
                for domain in _domains(name, port)
                if domain not in taken
            ]
            taken.update(domains)
            if domains:
                found.append(
                    {
                        "name": f"{host}:{port}",
                        "domains": domains,
                        "routes": made,
                        "include_request_attempt_count": True,
                    }
                )
    found.append(_others(view))
    return found


def _hosts(records: Records) -> list[str]:
    """Return every host that a service or a VirtualService names, the exact ones first."""
    found = {
        key.partition("/")[2] for prefix in ("svc/", "vs-host/") for key in records.keys(prefix)
    }
    return sorted(found, key=lambda host: (is_wildcard(host), host))


def _ports(view: View, host: str) -> list[int]:
    service = view.service(host)
    ports = {port.number for port in service.claim.ports} if service is not None else set()
    if view.virtual_service(host) is not None:
        ports.add(_PLAIN)  # Istio: a host without a service is known on this port
    return sorted(ports)


def _routes_of(view: View, routes: Routes, host: str, port: int) -> list[Json] | None:
    """Return the routes of a host and port; None: the mesh does not know it."""
    service = view.service(host)
    is_served = service is not None and service.has_port(port)
    if not is_served and port != _PLAIN:
        return None
    rules = view.virtual_service(host)
    made = routes.of(rules, port) if rules is not None else []
    if made:
        return made
    return [routes.default(host, port)] if is_served else None


def _names(view: View, host: str, port: int) -> Iterator[str]:
    """Yield the names that a client may call a host by."""
    yield host
    if is_wildcard(host):
        return
    if ":" not in host:
        yield f"{host}."
    short, _, rest = host.partition(".")
    namespace, dot, tail = rest.partition(".")
    if not dot or tail != f"svc.{CLUSTER_DOMAIN}":
        return
    names = [f"{short}.{namespace}", f"{short}.{namespace}.svc"]
    if namespace == view.client.namespace:
        names.append(short)
    for name in names:
        if _means(view, name, port) == host:
            yield name


def _means(view: View, name: str, port: int) -> str | None:
    """Return the first of the hosts that a name may mean which the mesh knows on a port."""
    for host in view.names(name):
        service = view.service(host)
        if service is not None and service.has_port(port):
            return host
        if port == _PLAIN and view.virtual_service(host) is not None:
            return host
    return None


def _domains(name: str, port: int) -> list[str]:
    bracketed = f"[{name}]" if ":" in name else name
    domains = [f"{bracketed}:{port}"]
    return [bracketed, *domains] if port == _PLAIN else domains


def _others(view: View) -> Json:
    """Return the virtual host of hosts that the mesh does not know."""
    match = {"prefix": "/"}
    if view.outbound_mode == "REGISTRY_ONLY":
        route: Json = {"name": "block_all", "match": match, "direct_response": {"status": 502}}
        return {"name": "block_all", "domains": ["*"], "routes": [route]}
    action = {"cluster": PASS_THROUGH, "timeout": "0s", "max_grpc_timeout": "0s"}
    route = {"name": "allow_any", "match": match, "route": action}
    return {"name": "allow_any", "domains": ["*"], "routes": [route]}
