"""Which policies about a host hold for a client, and why the others do not.

Every choice is the view's (`policy.view`): it yields what may apply in the order of precedence.
Here the rest of that order is read, and what it leaves out, and each gets its reason in words.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from meshware.policy.labels import why_not_selected
from meshware.policy.places import Name
from meshware.policy.record_types import Candidate, ServiceClaim
from meshware.policy.view import ServiceView, View

__all__ = [
    "Considered",
    "State",
    "survey_destination_rules",
    "survey_service_policies",
    "survey_services",
    "survey_telemetries",
    "survey_virtual_services",
    "why_no_service",
]

State = Literal["in-force", "comes-after", "hidden", "not-for-this-client"]


@dataclass(frozen=True, slots=True)
class Considered:
    """One resource about a host, and what becomes of it for a client."""

    name: Name
    state: State
    why: str | None  # None: it holds, and there is nothing to add


def why_no_service(view: View, host: str, port: int) -> str | None:
    """Return why a full host and port are no service to a client; None: they are."""
    service = view.service(host)
    if service is None:
        return f"no ServiceEntry that this client sees names {host}"
    if service.has_port(port):
        return None
    numbers = [str(each.number) for each in service.claim.ports]
    ports = f"only port {numbers[0]}" if len(numbers) == 1 else f"the ports {', '.join(numbers)}"
    return f"{host} has {ports if numbers else 'no port'}, and not {port}"


def survey_services(view: View, host: str) -> list[Considered]:
    """Return all ServiceEntries that name a full host, the one that holds first."""
    ranked = list(view.services(host))
    found: list[Considered] = []
    for service in ranked:
        name = Name("ServiceEntry", service.claim.namespace, service.claim.name)
        why = _why_service_after(view, service, ranked[0]) if found else None
        found.append(Considered(name, "comes-after" if found else "in-force", why))
    for _, claims in view.claims(host):
        for claim in claims:
            why = _why_hidden(view, claim, host)
            if why is not None:
                name = Name("ServiceEntry", claim.namespace, claim.name)
                found.append(Considered(name, "hidden", why))
    return found


def survey_virtual_services(view: View, host: str) -> list[Considered]:
    """Return all VirtualServices that name a full host, the one that holds first."""
    ranked = list(view.virtual_services(host))
    found: list[Considered] = []
    for entry in ranked:
        why = _why_route_after(view, entry, ranked[0]) if found else None
        state: State = "comes-after" if found else "in-force"
        found.append(Considered(_name("VirtualService", entry[1]), state, why))
    for pattern, candidates in view.naming("vs", host):
        for candidate in candidates:
            why = _why_hidden(view, candidate, pattern)
            if why is not None:
                found.append(Considered(_name("VirtualService", candidate), "hidden", why))
    return found


def survey_destination_rules(view: View, host: str, service_namespace: str) -> list[Considered]:
    """Return all DestinationRules that name a full host, those that hold first."""
    kind = "DestinationRule"
    ranked = list(view.destination_rules(host, service_namespace))
    found: list[Considered] = []
    ranks: set[Name] = set()
    for rank, (pattern, chosen) in enumerate(ranked):
        for candidate in chosen:
            name = _name(kind, candidate)
            ranks.add(name)
            if rank:
                first = (ranked[0][0], ranked[0][1][0])
                why = _why_rule_after(view, service_namespace, (pattern, candidate), first, kind)
                found.append(Considered(name, "comes-after", why))
                continue
            joined = [str(_name(kind, other)) for other in chosen if other is not candidate]
            why = ""
            if joined:
                why = (
                    f"joined with {', '.join(joined)}: the subsets of all, and the trafficPolicy "
                    "of the first that has one"
                )
            found.append(Considered(name, "in-force", why or None))
    for _, candidates in view.naming("dr", host):
        for candidate in candidates:
            name = _name(kind, candidate)
            if name not in ranks:
                state, reason = _why_no_rule(view, candidate, service_namespace)
                found.append(Considered(name, state, reason))
    return found


def survey_service_policies(view: View, host: str, service_namespace: str) -> list[Considered]:
    """Return all ServicePolicies that name a full host, the one that holds first."""
    kind = "ServicePolicy"
    ranked = list(view.service_policies(host, service_namespace))
    found: list[Considered] = []
    for entry in ranked:
        why = None
        if found:
            why = _why_rule_after(view, service_namespace, entry, ranked[0], kind)
        found.append(Considered(_name(kind, entry[1]), "comes-after" if found else "in-force", why))
    for _, candidate in _besides(view.naming("sp", host), (entry[1] for entry in ranked)):
        why = _why_not_looked_up(view, candidate, service_namespace)
        found.append(Considered(_name(kind, candidate), "not-for-this-client", why))
    return found


def survey_telemetries(view: View) -> list[Considered]:
    """Return the Telemetries that may be for a client, those that hold first, widest first."""
    found: list[Considered] = []
    after: list[Considered] = []
    for level, entries in view.telemetry_levels():
        for entry in entries:
            name = Name("Telemetry", entry.namespace, entry.name)
            if entry is entries[0]:
                why = f"it says what of calls is measured, traced and logged, for the {level}"
                found.append(Considered(name, "in-force", why))
            else:
                first = Name("Telemetry", entries[0].namespace, entries[0].name)
                after.append(Considered(name, "comes-after", _older(first)))
    return [*found, *after]


# --- reasons ----------------------------------------------------------------------------------


def _name(kind: str, candidate: Candidate) -> Name:
    return Name(kind, candidate.namespace, candidate.name)


def _besides(
    named: Iterable[tuple[str, tuple[Candidate, ...]]], ranked: Iterable[Candidate]
) -> Iterator[tuple[str, Candidate]]:
    known = {(candidate.namespace, candidate.name) for candidate in ranked}
    for pattern, candidates in named:
        for candidate in candidates:
            if (candidate.namespace, candidate.name) not in known:
                yield pattern, candidate


def _why_hidden(view: View, resource: Candidate | ServiceClaim, host: str) -> str | None:
    hidden_by = view.hides(resource, host)
    if hidden_by is None:
        return None
    if hidden_by == "exportTo":
        return _why_not_exported(view, resource)
    sidecar = view.sidecar
    assert sidecar is not None, "else nothing would be left out"
    return (
        f"Sidecar {sidecar.namespace}/{sidecar.name} imports nothing of namespace "
        f"{resource.namespace} for this host"
    )


def _why_not_exported(view: View, resource: Candidate | ServiceClaim) -> str:
    to = " and ".join(resource.export_to)
    whom = f"namespace {to}" if to else "nobody"
    return f"it is exported to {whom}, and this client is in {view.client.namespace}"


def _less_specific(pattern: str, first: str) -> str:
    return f"its host {pattern} is less specific than {first}"


def _older(first: Name) -> str:
    return f"{first} comes first: it is older, or its name is earlier in the alphabet"


def _why_service_after(view: View, service: ServiceView, first: ServiceView) -> str:
    if service.host != first.host:
        return _less_specific(service.host, first.host)
    name = Name("ServiceEntry", first.claim.namespace, first.claim.name)
    if first.claim.namespace == view.client.namespace != service.claim.namespace:
        return f"{name} comes first: it is of the client's own namespace"
    return _older(name)


def _why_route_after(view: View, entry: tuple[str, Candidate], first: tuple[str, Candidate]) -> str:
    if entry[0] != first[0]:
        return _less_specific(entry[0], first[0])
    name = _name("VirtualService", first[1])
    how = view.privacy(first[1])
    if how != view.privacy(entry[1]):
        whom = "this namespace alone" if how == 0 else "this namespace by name"
        return f"{name} comes first: it is exported to {whom}"
    return _older(name)


def _why_rule_after(
    view: View,
    service_namespace: str,
    entry: tuple[str, Candidate],
    first: tuple[str, Candidate],
    kind: str,
) -> str:
    if entry[1].namespace != first[1].namespace:
        order = ", then ".join(view.lookup_order(service_namespace))
        return (
            f"{_name(kind, first[1])} comes first: namespaces are looked at in the order {order}, "
            "and only the first with any rule for the host counts"
        )
    if entry[0] != first[0]:
        return _less_specific(entry[0], first[0])
    return _older(_name(kind, first[1]))


def _why_not_looked_up(view: View, candidate: Candidate, service_namespace: str) -> str:
    order = ", ".join(view.lookup_order(service_namespace))
    return (
        f"only rules of the client's namespace, the service's and the root one count ({order}), "
        f"and this one is of {candidate.namespace}"
    )


def _why_no_rule(view: View, candidate: Candidate, service_namespace: str) -> tuple[State, str]:
    """Return why a DestinationRule is not even among those that come after."""
    client = view.client
    if candidate.namespace not in view.lookup_order(service_namespace):
        return "not-for-this-client", _why_not_looked_up(view, candidate, service_namespace)
    if candidate.namespace != client.namespace:
        if not view.sees(candidate):
            return "hidden", _why_not_exported(view, candidate)
        return "not-for-this-client", (
            f"it has a workloadSelector, and so is for clients of namespace {candidate.namespace}"
        )
    unlike = why_not_selected(candidate.selector, client.labels)
    if unlike is not None:
        return "not-for-this-client", f"its workloadSelector: {unlike}"
    return "comes-after", "a rule of the same host and namespace that is more private comes first"
