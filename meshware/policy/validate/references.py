"""Check what VirtualServices refer to: hosts, ports and subsets that clients would not find.

A VirtualService is looked at through the eyes of the clients that get it: those of each namespace
that it is exported to, and for `*` those of its own namespace and of any other. What none of them
finds is an error, since every such call would be 503; what some do not find is a warning.

Source: Istio's analysers, IST0101 and IST0112.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

from meshware.policy.codes import (
    INEFFECTIVE_MATCH,
    NO_WORKLOAD,
    PORT_NEEDED,
    UNKNOWN_REFERENCE,
)
from meshware.policy.decode import nearest
from meshware.policy.document.virtual_service import Destination, HTTPMatchRequest, HTTPRoute
from meshware.policy.mirror_rule import mirrored
from meshware.policy.names import expand, is_wildcard, matches
from meshware.policy.validate.common import Report
from meshware.policy.validate.grammar import bad_host, shown_labels
from meshware.policy.validate.hints import Hints
from meshware.policy.validate.registry import ANYWHERE, EVERYWHERE, Claim, Registry, Routes
from meshware.policy.yaml12 import brief

__all__ = ["check_references"]

_HTTP_PORT = 80  # a host without a service has its VirtualService on this port only


def check_references(registry: Registry, report: Report) -> None:
    """Report hosts, ports, subsets and clients that VirtualServices name and nobody declares."""
    hints = Hints(registry)
    for routes in registry.routes:
        _Checker(registry, routes, hints, report).check()


class _Checker:
    """Looks at one VirtualService."""

    def __init__(self, registry: Registry, routes: Routes, hints: Hints, report: Report) -> None:
        self._registry, self._hints, self._report = registry, hints, report
        self._resource, self._spec = routes.resource, routes.spec
        self._namespace = routes.resource.namespace
        self._exports = routes.export_to
        self._clients = self._find_clients()
        self._dialled = self._find_ports()

    def check(self) -> None:
        self._check_hosts()
        for index, route in enumerate(self._spec.http or ()):
            blocks = [block for block in route.match or (None,) if self._is_for_mesh(block)]
            for at, block in enumerate(route.match or ()):
                if self._is_for_mesh(block):
                    self._check_block(f"spec.http[{index}].match[{at}]", block)
            if blocks:
                self._check_route(f"spec.http[{index}]", route, blocks)

    def _is_for_mesh(self, block: HTTPMatchRequest | None) -> bool:
        gateways = (block.gateways if block is not None else None) or self._spec.gateways
        return not gateways or "mesh" in gateways

    # --- who calls, and what ------------------------------------------------------------------

    def _find_clients(self) -> Sequence[str]:
        """Return the namespaces of clients that get this VirtualService."""
        if not self._exports:
            return (self._namespace,)  # it has no hosts, and that is told elsewhere
        found: dict[str, None] = {}
        every: dict[str, None] = {}
        for host, export in self._exports.items():
            namespaces = (self._namespace, ANYWHERE) if EVERYWHERE in export else export
            every.update(dict.fromkeys(namespaces))
            is_declared = self._registry.is_host(host)
            for namespace in namespaces:
                # Who does not see the service that is dialled does not come here either.
                if (
                    not is_declared
                    or is_wildcard(host)
                    or self._registry.service(host, namespace) is not None
                ):
                    found[namespace] = None
        return tuple(found or every)

    def _find_ports(self) -> frozenset[int] | None:
        """Return the ports that may be dialled; None: they are not known."""
        ports: set[int] = set()
        for host in self._exports:
            claims = self._registry.claims_of(host)
            if is_wildcard(host) or not claims:
                return None
            ports.update(*(claim.ports for claim in claims))
        return frozenset(ports) or None

    def _check_hosts(self) -> None:
        for index, written in enumerate(self._spec.hosts or ()):
            if bad_host(written) is not None or written == "*":
                continue
            host = expand(written, self._namespace)
            if not self._registry.is_host(host):
                self._report.warning(
                    self._resource,
                    f"spec.hosts[{index}]",
                    f"no ServiceEntry has the host {brief(host, 100)}, so only calls to its port "
                    f"{_HTTP_PORT} are routed; {self._hints.for_host(written, self._namespace)}",
                    UNKNOWN_REFERENCE,
                )

    def _check_block(self, path: str, block: HTTPMatchRequest) -> None:
        if block.port is not None and self._dialled and block.port not in self._dialled:
            self._report.warning(
                self._resource,
                f"{path}.port",
                f"nobody dials port {block.port}: the hosts have {_list(self._dialled)}; write "
                "one of these",
                INEFFECTIVE_MATCH,
            )
        if block.gateways:
            return
        clients = self._clients_by_export()
        if block.source_namespace:
            if clients is not None and block.source_namespace not in clients:
                self._report.warning(
                    self._resource,
                    f"{path}.sourceNamespace",
                    f"clients of {brief(block.source_namespace)} do not get this VirtualService; "
                    "add the namespace to exportTo",
                    INEFFECTIVE_MATCH,
                )
            clients = {block.source_namespace}
        if block.source_labels and not self._is_any_selected(clients, block.source_labels):
            self._report.warning(
                self._resource,
                f"{path}.sourceLabels",
                f"no workload that calls from here has the labels "
                f"{brief(shown_labels(block.source_labels), 100)}; mend them, or add a "
                "WorkloadEntry or WorkloadGroup that has",
                NO_WORKLOAD,
            )

    def _clients_by_export(self) -> Collection[str] | None:
        """Return the namespaces that this VirtualService is exported to; None: all."""
        found: set[str] = set()
        for export in self._exports.values():
            if EVERYWHERE in export:
                return None
            found.update(export)
        return found

    def _is_any_selected(
        self, namespaces: Collection[str] | None, labels: Mapping[str, str]
    ) -> bool:
        where = self._registry.workloads if namespaces is None else namespaces
        return any(self._registry.selected(namespace, labels) for namespace in where)

    # --- where calls go -----------------------------------------------------------------------

    def _check_route(
        self, path: str, route: HTTPRoute, blocks: Sequence[HTTPMatchRequest | None]
    ) -> None:
        ports = frozenset(
            block.port for block in blocks if block is not None and block.port is not None
        )
        has_ports = all(block is not None and block.port is not None for block in blocks)
        dialled = ports if has_ports else self._dialled
        leads = [
            (f"route[{index}].destination", entry.destination)
            for index, entry in enumerate(route.route or ())
        ]
        leads += [(field, target) for field, target, _ in mirrored(route)]
        for field, target in leads:
            if self._clients and bad_host(target.host) is None and target.host != "*":
                self._check_destination(f"{path}.{field}", target, dialled)

    def _check_destination(
        self, path: str, target: Destination, dialled: frozenset[int] | None
    ) -> None:
        host = expand(target.host, self._namespace)
        found = {client: self._registry.service(host, client) for client in self._clients}
        seen = {client: claim for client, claim in found.items() if claim is not None}
        if not seen:
            self._unknown_host(f"{path}.host", target.host, host)
            return
        blind = [client for client, claim in found.items() if claim is None]
        if blind:
            self._report.warning(
                self._resource,
                f"{path}.host",
                f"{_clients(blind)} do not see {brief(host, 100)}, and their calls are 503; "
                "widen exportTo of its ServiceEntry, or narrow it here",
                UNKNOWN_REFERENCE,
            )
        self._check_pattern(f"{path}.host", host, seen.values())
        self._check_port(path, target, host, seen.values(), dialled)
        if target.subset:
            self._check_subset(f"{path}.subset", target.subset, host, seen)

    def _check_pattern(self, path: str, host: str, claims: Iterable[Claim]) -> None:
        """Report a pattern that would lead calls to where they were dialled, outside of it."""
        if not is_wildcard(host) or all(claim.has_endpoints for claim in claims):
            return
        outside = next((each for each in self._exports if not matches(host, each)), None)
        if outside is not None:
            self._report.error(
                self._resource,
                path,
                f"{brief(host, 100)} has no endpoints, calls to it go where they were dialled, "
                f"and {brief(outside, 100)} is not covered by it; write one host",
            )

    def _unknown_host(self, path: str, written: str, host: str) -> None:
        claims = self._registry.claims_of(host)
        if claims:
            owner = claims[0].resource
            self._report.error(
                self._resource,
                path,
                f"{brief(host, 100)} is not visible here: ServiceEntry {owner.namespace}/"
                f"{owner.name} does not export it to {_clients(self._clients)}; widen its exportTo",
                UNKNOWN_REFERENCE,
            )
            return
        self._report.error(
            self._resource,
            path,
            f"no ServiceEntry has the host {brief(host, 100)}; "
            f"{self._hints.for_host(written, self._namespace)}",
            UNKNOWN_REFERENCE,
        )

    def _check_port(
        self,
        path: str,
        target: Destination,
        host: str,
        claims: Iterable[Claim],
        dialled: frozenset[int] | None,
    ) -> None:
        ports = frozenset[int]().union(*(claim.ports for claim in claims))
        number = target.port.number if target.port is not None else None
        if not ports:
            return  # told of the service itself
        if number is not None:
            if number not in ports:
                self._report.error(
                    self._resource,
                    f"{path}.port.number",
                    f"{brief(host, 100)} has no port {number}; write one of {_list(ports)}",
                    UNKNOWN_REFERENCE,
                )
            return
        if len(ports) == 1:
            return
        missing = dialled - ports if dialled is not None else frozenset()
        if missing:
            self._report.warning(
                self._resource,
                path,
                f"{brief(host, 100)} has the ports {_list(ports)}, and calls to port "
                f"{_list(missing)} find none of them; write port.number",
                PORT_NEEDED,
            )
        elif dialled is None or len(dialled) > 1 or not dialled <= ports:
            self._report.info(
                self._resource,
                path,
                f"{brief(host, 100)} has the ports {_list(ports)}, and the port that was dialled "
                "is taken; write port.number if one is meant",
                PORT_NEEDED,
            )

    def _check_subset(self, path: str, subset: str, host: str, seen: Mapping[str, Claim]) -> None:
        names: dict[str, None] = {}
        without = []
        for client, claim in seen.items():
            rules = self._registry.rules_for(host, claim.resource.namespace, client)
            mine = [each.name for rule in rules for each in rule.spec.subsets or ()]
            names.update(dict.fromkeys(mine))
            if subset not in mine:
                without.append(client)
        if not without:
            return
        if len(without) < len(seen):
            self._report.warning(
                self._resource,
                path,
                f"{_clients(without)} get no DestinationRule for {brief(host, 100)} that defines "
                f"subset {brief(subset)!r}, and their calls are 503; widen its exportTo, or define "
                "the subset in theirs",
                UNKNOWN_REFERENCE,
            )
            return
        near = nearest(subset, names)
        hint = f"did you mean {near}?" if near else "add it to subsets of one"
        what = f"; there are {', '.join(map(brief, list(names)[:10]))}" if names else ""
        self._report.error(
            self._resource,
            path,
            f"no DestinationRule for {brief(host, 100)} defines subset {brief(subset)!r}{what}; "
            f"{hint}",
            UNKNOWN_REFERENCE,
        )


def _list(ports: Iterable[int]) -> str:
    return ", ".join(str(port) for port in sorted(ports))


def _clients(namespaces: Sequence[str]) -> str:
    """Name clients by their namespaces: `clients of shop and of other namespaces`."""
    named = [f"of {brief(name)}" for name in namespaces[:5] if name != ANYWHERE]
    if ANYWHERE in namespaces:
        named.append("of other namespaces")
    return f"clients {' and '.join(named) or 'of no namespace'}"
