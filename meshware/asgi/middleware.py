"""The ASGI middleware: ask the gate, then call the app or answer in its place.

Plain ASGI, without a base class. What is decided is in `meshware.inbound.gate`; here is only what
ASGI asks for.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from meshware.asgi.head import (
    Receive,
    Scope,
    Send,
    inbound_head,
    without,
)
from meshware.asgi.response import Response
from meshware.asgi.tally import counted
from meshware.call import Call, Flag, bind_call, unbind_call
from meshware.handlers.forecast import find_by_scope
from meshware.handlers.found import HandlersOfCall, hold_to_handler
from meshware.handlers.template import template_of_scope
from meshware.inbound.head import RouteOf, look_up
from meshware.inbound.passage import Admission, Ask, Denial
from meshware.runtime.mesh import Mesh

__all__ = ["MeshMiddleware"]

App = Callable[[Scope, Receive, Send], Awaitable[None]]

_KEY = "meshware"


class MeshMiddleware:
    """Let the mesh decide every call before the app sees it.

    `http` and `websocket` calls are decided (a WebSocket before it is accepted), `lifespan` passes
    and starts the mesh, any other type is refused. Within another `MeshMiddleware` it does nothing:
    the outer one has decided, on the whole path.

    Args:
        app: the ASGI app.
        mesh: None: the process-wide `Mesh.current()`, asked for at the first call.
    """

    def __init__(self, app: App, mesh: Mesh | None = None) -> None:
        self.app = app
        self._mesh = mesh

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Carry one ASGI call."""
        kind = scope["type"]
        if isinstance(scope.get(_KEY), Call):
            await self.app(scope, receive, send)
            return
        mesh = self._mesh or Mesh.current()
        mesh.start()
        if not mesh.signs.is_met:
            mesh.signs.meet_asgi(receive)
        if kind == "lifespan":
            await self.app(scope, receive, send)
            return
        if kind not in ("http", "websocket"):
            # What the gate cannot read it cannot let pass.
            raise RuntimeError(
                f"meshware refuses ASGI calls of type {kind!r}: it knows no rules for it"
            )
        # Of uvicorn's list: it puts the trailers of a chunked body behind, once all is decided.
        scope = {**scope, "headers": list(scope["headers"])}
        handlers = HandlersOfCall(find_by_scope, self.app, scope)
        route_of = RouteOf(template_of_scope, scope)
        passage = mesh.gate.admit(inbound_head(scope, receive, mesh.port, route_of, handlers))
        if isinstance(passage, Ask):
            from meshware.asgi.asking import settle  # not light, and not everybody's

            settled = await settle(mesh, passage, scope, receive)
            if settled is None:
                return  # nobody is there to be answered
            passage, receive = settled
        if isinstance(passage, Denial):
            await _refuse(passage, scope, send)
            return
        if passage.binds_handlers:
            hold_to_handler(passage)
        _edit(scope, passage)
        call = passage.call
        response = Response(send, passage)
        token = bind_call(call)
        leave = None if call.span is None else call.span.enter()
        try:
            await self.app(scope, counted(receive, passage), response.send)
        except Exception as error:
            passage.exception = type(error).__qualname__
            if not response.status:
                passage.finish(500)  # so the server answers in the app's place
            elif response.is_whole:
                passage.finish(response.status)
            elif not response.is_gone:
                passage.finish(response.status, Flag.UPSTREAM_TERMINATION)
            raise
        finally:
            if not passage.is_finished:
                # A WebSocket ends when either side has had enough.
                is_usual = response.status == 101 or response.is_whole
                passage.finish(response.status, None if is_usual else Flag.DOWNSTREAM_CLOSED)
            if leave is not None:
                leave()
            try:
                unbind_call(token)
            except ValueError:
                pass  # an unfinished call that garbage collection ends has another context


def _edit(scope: Scope, admission: Admission) -> None:
    """Make the scope what the app is to see."""
    scope[_KEY] = admission.call
    if admission.remove or admission.add:
        headers = without(scope["headers"], admission.remove)
        for name, value in admission.add:
            headers.append((name.encode("latin-1"), value.encode("latin-1")))
        scope["headers"] = headers
    if admission.path is not None:
        scope["path"] = admission.app_path
        scope["raw_path"] = admission.path.encode("latin-1", "replace")


def _short(text: str) -> str:
    """Return the reason of a WebSocket's close: 123 bytes at most (RFC 6455, 5.5)."""
    return text.encode()[:123].decode("utf-8", "ignore")


async def _refuse(denial: Denial, scope: Scope, send: Send) -> None:
    """Answer in the app's place, without having read anything of the body."""
    status, pairs, body = denial.reply
    headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in pairs]
    if status not in (204, 304):
        headers.append((b"content-length", str(len(body)).encode()))
    if denial.is_last and denial.head.version.startswith("1"):
        headers.append((b"connection", b"close"))
    kind = "http.response"
    if scope["type"] == "websocket":
        kind = "websocket.http.response"
        if kind not in (scope.get("extensions") or {}):
            # Closed before it is accepted: the server answers the handshake with 403.
            await send({"type": "websocket.close", "code": 1008, "reason": _short(denial.body)})
            denial.finish(403)
            return
    flag: Flag | None = Flag.DOWNSTREAM_CLOSED
    if scope.get("method") == "HEAD":
        body = b""
    denial.answers(look_up(pairs))
    denial.sent_bytes = len(body)
    try:
        await send({"type": f"{kind}.start", "status": status, "headers": headers})
        await send({"type": f"{kind}.body", "body": body})
        flag = None
    finally:
        denial.finish(status, flag)
