"""Explain an outbound call: carried out up to its first action, and asked back why.

The exchange decides as it does for any call. What it went by is then read from the same compiled
parts: the conditions of the routes, the order in which policies are looked up, the levels of a
DestinationRule. Nothing here decides anything.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from random import Random

from meshware.call import Mirror, Raise, Reply, RequestHead, Send, Sleep
from meshware.events import Event, OutboundEvent
from meshware.outbound.exchange import exchange
from meshware.outbound.ledger import Ledger
from meshware.outbound.retry import is_safe
from meshware.policy.clusters import Cluster, ClusterKey, cluster_name, placed
from meshware.policy.places import Places
from meshware.policy.route_actions import Fault
from meshware.policy.routes import Route, RouteTable, Target
from meshware.policy.snapshot import Snapshot
from meshware.policy.view import View
from meshware.runtime.explain_cluster import (
    Ejections,
    cluster_settings,
    other_endpoints,
)
from meshware.runtime.explain_policies import policies_about
from meshware.runtime.explain_reasons import retries_from, retries_why, why_replied, why_routed
from meshware.runtime.explain_rules import asked_rules
from meshware.runtime.outbound_answer import (
    AbortAnswer,
    DelayAnswer,
    DestinationAnswer,
    EndpointAnswer,
    FaultAnswer,
    LevelAnswer,
    MirrorAnswer,
    OutboundAnswer,
    RetriesAnswer,
    SentAnswer,
)

__all__ = ["OutboundWorld", "explain_outbound"]


@dataclass(frozen=True, slots=True)
class OutboundWorld:
    """What a question is asked of.

    Attributes:
        snapshot: decides, as in a process of the client.
        view: what the snapshot was compiled from, for whoever asks on.
        places: where resources are written.
        rng: draws weighted destinations, faults and endpoints.
    """

    snapshot: Snapshot
    view: View
    places: Places
    rng: Random


def explain_outbound(
    world: OutboundWorld, head: RequestHead, ejected: tuple[str, ...]
) -> OutboundAnswer:
    """Return what happens to a call first, and why.

    Args:
        world: policy, as the caller sees it.
        head: the call.
        ejected: keys of endpoints to eject before, as far as policy lets them be ejected.
    """
    snapshot, view = world.snapshot, world.view
    table = snapshot.routes(head.host, head.port)
    route = table.pick(head) if table is not None else None
    ledger = Ledger()
    ejections = Ejections(ledger, ejected)
    for target in _targets(route):
        of_target = _cluster(snapshot, target.key, table, head)
        if of_target is not None:
            ejections.apply(of_target)
    event, action = _first(world, head, ledger)
    chosen = next((t.key for t in _targets(route) if cluster_name(t.key) == event.cluster), None)
    cluster = _cluster(snapshot, chosen, table, head)
    why = [*why_routed(view, head, table, route)]
    if route is not None and isinstance(action, Reply):
        why += why_replied(view, route, action, cluster)
    asked = asked_rules(view, world.places, table, route, head)
    return OutboundAnswer(
        route=event.route,
        destination=chosen[0] if chosen is not None else None,
        subset=chosen[2] or None if chosen is not None else None,
        port=chosen[1] if chosen is not None else None,
        endpoints=_endpoints(cluster, ejections),
        timeout_s=route.timeout_s if route is not None else None,
        retries=_retries(route),
        safe_to_repeat=None
        if table is None
        else is_safe(head.method, table.rule_for(head).is_safe),
        flag=action.info.flags if isinstance(action, Reply) else "-",
        status=action.status if isinstance(action, Reply) else None,
        service=None if table is None else table.service,
        virtual_service=None if table is None else table.policy,
        why=tuple(why),
        rules=asked.answers,
        destinations=tuple(_destinations(route, chosen)),
        picked=event.endpoint,
        other_endpoints=other_endpoints(view, chosen, cluster),
        levels=_levels(cluster, ejections),
        not_ejected=ejections.refused(cluster) if cluster is not None else (),
        connect_timeout_s=None if cluster is None else cluster.connect_timeout_s,
        retries_from=None if route is None or route.answer else retries_from(view, asked.taken),
        retries_why=None if table is None else retries_why(table, route, head),
        fault=_fault(route.fault if route is not None else None),
        redirect_to=dict(action.headers).get("location") if isinstance(action, Reply) else None,
        mirrors=tuple(_mirrors(snapshot, route)),
        sent=_sent(action) if cluster is not None else None,
        settings=cluster_settings(view, world.places, chosen, cluster),
        policies=policies_about(view, world.places, table, head.host, chosen),
    )


def at_rest() -> float:
    """Stand still: nothing is sent, so no time passes."""
    return 0.0


def _first(
    world: OutboundWorld, head: RequestHead, ledger: Ledger
) -> tuple[OutboundEvent, Send | Reply | Raise]:
    """Return the first action that anybody would see of a call, and the event up to it."""
    events: list[Event] = []
    flow = exchange(
        head, world.snapshot, ledger, monotonic=at_rest, rng=world.rng, sink=events.append
    )
    action = next(flow)
    while isinstance(action, Sleep | Mirror):  # faults that delay, and copies: passed over
        if isinstance(action, Mirror):
            action.exchange.close()
        action = flow.send(None)
    flow.close()
    assert isinstance(action, Send | Reply | Raise), "nobody else is calling"
    event = events[-1]
    assert isinstance(event, OutboundEvent)
    return event, action


# --- where to ---------------------------------------------------------------------------------


def _cluster(
    snapshot: Snapshot, key: ClusterKey | None, table: RouteTable | None, head: RequestHead
) -> Cluster | None:
    """Return a destination's cluster, with the endpoints that this very call may go to."""
    cluster = snapshot.cluster(key) if key is not None else None
    if key is None or cluster is None or table is None:
        return None
    return placed(cluster, key, table.service, head.host)


def _targets(route: Route | None) -> tuple[Target, ...]:
    return route.targets if route is not None else ()


def _destinations(route: Route | None, chosen: ClusterKey | None) -> Iterator[DestinationAnswer]:
    targets = _targets(route)
    before = 0
    for target in targets:
        host, port, subset = target.key
        yield DestinationAnswer(
            host=host,
            port=port,
            subset=subset or None,
            share_percent=100 * (target.upto - before) / targets[-1].upto,
            is_chosen=target.key == chosen,
        )
        before = target.upto


def _endpoints(cluster: Cluster | None, ejections: Ejections) -> tuple[EndpointAnswer, ...]:
    if cluster is None:
        return ()
    out = ejections.out(cluster)
    return tuple(
        EndpointAnswer(
            address=endpoint.address,
            port=endpoint.port,
            state="ejected" if endpoint.key in out else "healthy",
        )
        for endpoint in cluster.endpoints
    )


def _levels(cluster: Cluster | None, ejections: Ejections) -> tuple[LevelAnswer, ...]:
    if cluster is None or cluster.levels is None:
        return ()
    shares = ejections.state(cluster).standing(cluster, at_rest())
    return tuple(
        LevelAnswer(
            share_percent=100 * share,
            endpoints=tuple(e.key for e in cluster.endpoints if e.key in level.keys),
        )
        for level, (share, _) in zip(cluster.levels, shares, strict=True)
    )


def _mirrors(snapshot: Snapshot, route: Route | None) -> Iterator[MirrorAnswer]:
    for rule in route.mirrors if route is not None else ():
        host, port, subset = rule.key
        yield MirrorAnswer(
            host=host,
            port=port,
            subset=subset or None,
            percent=rule.per_million / 10_000,
            exists=snapshot.cluster(rule.key) is not None,
        )


def _sent(action: Send | Reply | Raise) -> SentAnswer | None:
    """Return what policy changes in the request, read from the attempt itself."""
    if not isinstance(action, Send):
        return None
    host = dict(action.headers).get("host")
    if action.target is None and host is None and action.edit is None:
        return None
    drop = action.edit.drop if action.edit is not None else frozenset[str]()
    append = action.edit.append if action.edit is not None else ()
    return SentAnswer(
        path=action.target,
        host=host,
        removed=tuple(sorted(drop.difference(name for name, _ in append))),
        set=append,
    )


# --- how long and how often -------------------------------------------------------------------


def _retries(route: Route | None) -> RetriesAnswer | None:
    if route is None or route.answer is not None:
        return None
    rule, per_try_s = route.retry, route.retry.per_try_timeout_s
    if per_try_s is not None and route.timeout_s is not None and per_try_s >= route.timeout_s:
        per_try_s = None  # the whole call is over before
    return RetriesAnswer(
        attempts=rule.retries,
        per_try_timeout_s=per_try_s,
        on=(*sorted(rule.on), *map(str, sorted(rule.statuses))),
    )


# --- in place of a destination ----------------------------------------------------------------


def _fault(fault: Fault | None) -> FaultAnswer | None:
    if fault is None:
        return None
    delay, abort = fault.delay, fault.abort
    return FaultAnswer(
        delay=None
        if delay is None
        else DelayAnswer(seconds=delay.seconds, percent=delay.per_million / 10_000),
        abort=None
        if abort is None
        else AbortAnswer(
            status=abort.status,
            grpc_status=abort.grpc_status,
            percent=abort.per_million / 10_000,
        ),
    )
