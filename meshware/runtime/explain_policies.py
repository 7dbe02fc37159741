"""Explain which resources took part in a call, which did not, and where they stand."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from meshware.call import RequestHead
from meshware.policy.clusters import ClusterKey
from meshware.policy.document.virtual_service import VirtualServiceSpec
from meshware.policy.names import expand, matches
from meshware.policy.places import Name, Places
from meshware.policy.records import is_for_mesh
from meshware.policy.routes import RouteTable, home_of
from meshware.policy.survey import (
    Considered,
    survey_destination_rules,
    survey_service_policies,
    survey_services,
    survey_telemetries,
    survey_virtual_services,
    why_no_service,
)
from meshware.policy.view import View
from meshware.runtime.outbound_answer import PolicyAnswer

__all__ = ["policies_about", "telemetries_of", "why_unknown"]


def policies_about(
    view: View,
    places: Places,
    table: RouteTable | None,
    dialled: str,
    chosen: ClusterKey | None,
) -> tuple[PolicyAnswer, ...]:
    """Return every resource about the host that was dialled, and about the destination.

    Args:
        view: what the client sees.
        places: where resources are written.
        table: of the host; None: the mesh does not know it.
        dialled: the host, as the caller wrote it.
        chosen: the destination; None: there is none.
    """
    if table is not None and table.is_broken:
        return ()
    found: dict[Name, Considered] = {}
    for each in _considered(view, places, table, dialled, chosen):
        found.setdefault(each.name, each)
    return _placed(found.values(), places)


def telemetries_of(view: View, places: Places) -> tuple[PolicyAnswer, ...]:
    """Return the Telemetries that may be for a workload, those that hold first.

    Args:
        view: what the workload sees.
        places: where resources are written.
    """
    return _placed(survey_telemetries(view), places)


def _placed(found: Iterable[Considered], places: Places) -> tuple[PolicyAnswer, ...]:
    answers = []
    for each in found:
        place = places.find(each.name)
        answers.append(
            PolicyAnswer(
                kind=each.name.kind,
                namespace=each.name.namespace,
                name=each.name.name,
                state=each.state,
                why=each.why,
                file=place.file if place is not None else None,
                line=place.line if place is not None else None,
            )
        )
    return tuple(answers)


def why_unknown(view: View, head: RequestHead) -> Iterator[str]:
    """Yield why the mesh does not know a host, and what follows from that."""
    names = view.names(head.host)
    known = [host for host in names if view.service(host) is not None]
    for host in known:
        reason = why_no_service(view, host, head.port)
        if reason is not None:
            yield reason
    if not known:
        yield f"no ServiceEntry that this client sees names {' or '.join(names)}"
    sidecar = view.sidecar
    by = "outboundTrafficPolicy"
    if sidecar is not None and sidecar.spec.outbound_traffic_policy is not None:
        by += f" of Sidecar {sidecar.namespace}/{sidecar.name}"
    if view.outbound_mode == "REGISTRY_ONLY":
        yield f"{by} is REGISTRY_ONLY: what no ServiceEntry names is refused"
    else:
        yield f"{by} is ALLOW_ANY: the call goes out as it would without the mesh"


def _considered(
    view: View,
    places: Places,
    table: RouteTable | None,
    dialled: str,
    chosen: ClusterKey | None,
) -> Iterator[Considered]:
    sidecar = view.sidecar
    if sidecar is not None:
        name = Name("Sidecar", sidecar.namespace, sidecar.name)
        yield Considered(name, "in-force", "it says what this client knows of the mesh")
    yield from survey_telemetries(view)
    hosts = [table.service.rpartition(":")[0]] if table is not None else view.names(dialled)
    for host in hosts:
        yield from _virtual_services(view, places, table, host)
    for host in dict.fromkeys([*hosts, *([chosen[0]] if chosen is not None else [])]):
        yield from survey_services(view, host)
    if table is not None:
        host, _, port = table.service.rpartition(":")
        yield from survey_service_policies(view, host, home_of(view, host, int(port)))
    if chosen is not None:
        service = view.service(chosen[0])
        if service is not None:
            yield from survey_destination_rules(view, chosen[0], service.claim.namespace)


def _virtual_services(
    view: View, places: Places, table: RouteTable | None, host: str
) -> Iterator[Considered]:
    for each in survey_virtual_services(view, host):
        if each.state == "in-force" and table is not None and table.policy is None:
            why = "none of its rules is for this client and port"
            yield replace(each, state="not-for-this-client", why=why)
        elif table is not None or each.state == "hidden":
            yield each
            if each.state == "in-force":
                yield from _delegates(places, each.name)
    yield from _for_gateways(places, host)


def _delegates(places: Places, root: Name) -> Iterator[Considered]:
    for part in places.parts(root):
        if part.delegate is not None:
            name = Name(root.kind, part.delegate.namespace, part.delegate.name)
            yield Considered(name, "in-force", f"its rules stand in {root}")


def _for_gateways(places: Places, host: str) -> Iterator[Considered]:
    """Yield the VirtualServices that clients do not read at all, and so are in no record."""
    for resource in places.of_kind("VirtualService"):
        spec = resource.spec
        if not isinstance(spec, VirtualServiceSpec) or is_for_mesh(spec):
            continue
        if any(matches(expand(each, resource.namespace), host) for each in spec.hosts or ()):
            gateways = ", ".join(spec.gateways or ())
            yield Considered(
                Name("VirtualService", resource.namespace, resource.name),
                "not-for-this-client",
                f"its gateways are {gateways}, without mesh: it is for gateways alone",
            )
