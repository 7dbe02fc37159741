"""Explain in sentences why a call is routed as it is, answered by the mesh, or not sent again."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from meshware.call import Reply, RequestHead
from meshware.outbound.retry import is_idempotent
from meshware.policy.clusters import Cluster
from meshware.policy.document.virtual_service import HTTPRoute
from meshware.policy.places import Name
from meshware.policy.routes import Route, RouteTable, retry_in_force
from meshware.policy.survey import why_no_service
from meshware.policy.view import View
from meshware.runtime.explain_cluster import why_no_cluster
from meshware.runtime.explain_policies import why_unknown

__all__ = ["retries_from", "retries_why", "why_replied", "why_routed"]


def why_routed(
    view: View, head: RequestHead, table: RouteTable | None, route: Route | None
) -> Iterator[str]:
    """Yield why there is no route, or why it is not the one that a newcomer would expect."""
    if table is None:
        yield from why_unknown(view, head)
        return
    if table.is_broken:
        yield "the policy of this service cannot be compiled"
        return
    host, _, port = table.service.rpartition(":")
    if route is None:
        yield (
            f"no rule of VirtualService {table.policy} takes the call, and there is no falling "
            "back to the service: end the rules with one that has no match"
        )
    reason = why_no_service(view, host, int(port))
    if reason is not None and table.policy is None:
        yield f"{reason}; the Sidecar of this client has an egress proxy for such hosts"
    elif reason is not None:
        yield f"{reason}; a VirtualService holds for such a host on port 80 all the same"
    rules = view.virtual_service(host) if table.policy is None else None
    if rules is not None:
        yield (
            f"VirtualService {rules.namespace}/{rules.name} has no rule for this client and port, "
            "so the service's default route holds"
        )


def why_replied(view: View, route: Route, reply: Reply, cluster: Cluster | None) -> Iterator[str]:
    """Yield why a route is answered without an upstream."""
    if "FI" in reply.info.flags.split(","):
        yield "the rule's fault aborts the call"
    elif route.answer is not None:
        yield "the rule answers by itself, without any destination"
    elif cluster is not None:
        yield (
            "every endpoint is ejected, and minHealthPercent does not let them be called"
            if cluster.endpoints
            else "the destination has no endpoint"
        )
    elif not route.targets:
        yield "the rule leads nowhere: every weight is 0"
    else:
        reasons = [why_no_cluster(view, target.key) for target in route.targets]
        found = [reason for reason in reasons if reason is not None]
        yield from found or ["the policy of the destination cannot be compiled"]


def retries_from(view: View, taken: HTTPRoute | None) -> Literal["rule", "mesh", "default"]:
    """Return who says how often a request is sent again."""
    written = taken.retries if taken is not None else None
    in_force = retry_in_force(written, view)
    if in_force is written:
        return "rule"
    return "mesh" if in_force is view.mesh.default_retry else "default"


def retries_why(table: RouteTable, route: Route | None, head: RequestHead) -> str | None:
    """Return by whose word a request is sent again, or why it is not."""
    if route is None or route.answer is not None:
        return None
    if route.retry.retries == 0:
        return "attempts is 0: nothing is sent again"
    rule = table.rule_for(head)
    if rule.is_safe is not None:
        by = f"{Name('ServicePolicy', *rule.policy)}, rule {rule.index}, declares"
        if rule.is_safe:
            return f"{by} it safe to repeat"
        return f"{by} it not safe to repeat: only while no byte was sent"
    if is_idempotent(head.method):
        return f"{head.method} is safe to repeat"
    return (
        f"{head.method} is not safe to repeat: only while no byte was sent, unless a ServicePolicy "
        "declares safeToRepeat"
    )
