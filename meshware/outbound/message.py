"""What goes out on the wire for a call: which headers, which target, the same in every attempt."""

from __future__ import annotations

from dataclasses import replace
from random import Random
from typing import TYPE_CHECKING

from meshware.call import MessageEdit, RequestHead
from meshware.ids import new_request_id
from meshware.outbound.edits import request_edit

if TYPE_CHECKING:
    from meshware.policy.pool_rule import TLSRule
    from meshware.policy.routes import Target

__all__ = ["Message", "message_for", "sent", "shadow_of"]


class Message:
    """What a route makes of a request; the arguments of `Send`.

    Attributes:
        headers: to set, in place of those of the same names.
        edit: comes before.
        target: path and query in place of the caller's; None: they stay.
        authority: the Host that it goes out with.
        server: the same, but of whom it was made for: a copy goes to the same server.
    """

    __slots__ = ("authority", "edit", "headers", "server", "target")

    def __init__(
        self,
        headers: tuple[tuple[str, str], ...],
        edit: MessageEdit | None,
        target: str | None,
        authority: str,
        server: str,
    ) -> None:
        self.headers = headers
        self.edit = edit
        self.target = target
        self.authority = authority
        self.server = server

    def server_name(self, tls: TLSRule | None) -> str | None:
        """Return the name that its server must have; None: without TLS of policy's."""
        return None if tls is None else tls.server_name(self.server)


def message_for(goal: Target, head: RequestHead, rng: Random) -> Message:
    """Return what goes out for a call, once its destination has been drawn.

    Args:
        goal: the destination, with what its route changes on the way.
        head: the call.
        rng: makes the id of a call that has none.
    """
    headers, edit, target, authority = _carried(head, rng), None, None, head.authority
    if goal.request is not None:
        edit = request_edit(goal.request, head)
        headers = tuple(pair for pair in headers if pair[0] not in edit.drop)
    if goal.rewrite is not None:
        target = goal.rewrite.target(head.target)
        if target is not None:
            headers += (("x-envoy-original-path", head.target),)
        if goal.rewrite.authority is not None:
            authority = goal.rewrite.authority
            headers += (("host", authority), ("x-envoy-original-host", head.authority))
    return Message(headers, edit, target, authority, authority or head.host)


def sent(message: Message, head: RequestHead) -> RequestHead:
    """Return the head of a call as it went out, which operations on the response read."""
    edit = message.edit or MessageEdit(frozenset(), ())

    def headers(name: str) -> tuple[str, ...]:
        own = tuple(value for key, value in message.headers if key == name)
        if own:
            return own
        kept = () if name in edit.drop else tuple(head.headers(name))
        return kept + tuple(value for key, value in edit.append if key == name)

    target = message.target or head.target
    return replace(head, headers=headers, target=target, authority=message.authority)


def shadow_of(message: Message) -> Message:
    """Return the copy of a message for a mirror: its Host says `-shadow`, before the port.

    Source: Envoy, `request_mirror_policies`.
    """
    name, colon, port = message.authority.rpartition(":")
    if not colon or not port.isdigit():  # an IPv6 address ends in a bracket where there is no port
        name, colon, port = message.authority, "", ""
    authority = f"{name}-shadow{colon}{port}"
    headers = tuple(pair for pair in message.headers if pair[0] != "host")
    return Message(
        (*headers, ("host", authority)), message.edit, message.target, authority, message.server
    )


def _carried(head: RequestHead, rng: Random) -> tuple[tuple[str, str], ...]:
    """Return the headers that tie this call to the inbound one, as far as the app set none itself.

    Trace context goes on as it is; a sampled call puts that of each attempt in its place.
    """
    call, present = head.call, head.headers
    carried: list[tuple[str, str]] = []
    if not present("x-request-id"):
        carried.append(("x-request-id", call.request_id if call else new_request_id(rng)))
    trace = head.trace_headers
    if trace is None and call is not None:
        trace = call.trace_headers
        if not trace and call.traceparent is not None:
            trace = (("traceparent", call.traceparent),)
            if call.tracestate is not None:
                trace += (("tracestate", call.tracestate),)
    # One that is the app's own counts whole: a stranger's tracestate would be wrong beside it.
    if trace and not any(present(name) for name, _ in trace if name != "tracestate"):
        carried += trace
    return tuple(carried)
