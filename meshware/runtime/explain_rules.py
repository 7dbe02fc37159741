"""Explain which rule of a VirtualService takes a call, and why those before it do not."""

from __future__ import annotations

from typing import NamedTuple

from meshware.call import RequestHead
from meshware.policy.document.virtual_service import HTTPRoute
from meshware.policy.places import Name, Places
from meshware.policy.request_match import conditions
from meshware.policy.routes import Route, RouteTable, RuleBlock, rule_blocks
from meshware.policy.view import View
from meshware.runtime.outbound_answer import RuleAnswer, RuleState

__all__ = ["Asked", "asked_rules"]


class Asked(NamedTuple):
    """What became of the rules of a VirtualService.

    Attributes:
        answers: of each rule; where the default route holds, those that are for other clients.
        taken: the rule that was taken; None: the default route holds, or nothing does.
    """

    answers: tuple[RuleAnswer, ...]
    taken: HTTPRoute | None


def asked_rules(
    view: View, places: Places, table: RouteTable | None, taken: Route | None, head: RequestHead
) -> Asked:
    """Return what became of each rule of the VirtualService of a host.

    Args:
        view: what the table was compiled from.
        places: where the rules are written.
        table: of the host; None: the mesh does not know it.
        taken: the route that was picked.
        head: the call.
    """
    if table is None or table.is_broken:
        return Asked((), None)
    host, _, port = table.service.rpartition(":")
    found = view.virtual_service(host)
    if found is None:
        return Asked((), None)
    # A route was made of each block for this client, in this order, until one takes everything.
    routes = iter(table.routes if table.policy is not None else ())
    owner = Name("VirtualService", found.namespace, found.name)
    answers: list[RuleAnswer] = []
    first: RuleBlock | None = None  # the one that was taken, once it has been met
    for entry in rule_blocks(found, int(port), view.client):
        route = next(routes, None) if entry.refusal is None else None
        if entry.refusal is not None:
            answers.append(_answer(places, owner, entry, "not-for-this-client", (entry.refusal,)))
            continue
        is_taken = route is not None and route is taken
        if is_taken:
            first = entry
            answers.append(_answer(places, owner, entry, "taken", _what_it_takes(entry)))
        elif first is not None:
            why = f"rule {first.index} comes first"
            if not _why_not(entry, head):
                why += "; this one would take the call too"
            answers.append(_answer(places, owner, entry, "not-reached", (why,)))
        else:
            answers.append(_answer(places, owner, entry, "no-match", _why_not(entry, head)))
    return Asked(tuple(answers), first.rule if first is not None else None)


def _answer(
    places: Places,
    owner: Name,
    entry: RuleBlock,
    state: RuleState,
    why: tuple[str, ...],
) -> RuleAnswer:
    field = f"spec.http[{entry.index}]"
    parts = places.parts(owner)
    delegate = parts[entry.index].delegate if parts else None
    if delegate is not None:  # its blocks are joined with the root's, and nobody's alone
        owner = Name(owner.kind, delegate.namespace, delegate.name)
        field = f"spec.http[{parts[entry.index].position}]"
    elif parts:
        field = f"spec.http[{parts[entry.index].index}]"
    if delegate is None and entry.at is not None:
        field += f".match[{entry.at}]"
    place = places.find(owner, field)
    return RuleAnswer(
        rule=entry.index,
        match=entry.at,
        name=entry.rule.name or None,
        state=state,
        why=why,
        delegate=None if delegate is None else f"{delegate.namespace}/{delegate.name}",
        file=place.file if place is not None else None,
        line=place.line if place is not None else None,
    )


def _what_it_takes(entry: RuleBlock) -> tuple[str, ...]:
    wanted = () if entry.block is None else tuple(conditions(entry.block))
    if not wanted:
        return ("it takes every call",)
    return tuple(f"{each.place} is {each.wanted}" for each in wanted)


def _why_not(entry: RuleBlock, head: RequestHead) -> tuple[str, ...]:
    wanted = () if entry.block is None else conditions(entry.block)
    reasons = (each.why_not(head) for each in wanted)
    return tuple(reason for reason in reasons if reason is not None)
