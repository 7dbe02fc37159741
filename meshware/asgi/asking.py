"""Ask authorizers for an ASGI call, and hand the app what was read of its body meanwhile.

1. As much of the body is read as the authorizer may be shown, and no more; of a WebSocket none.
   A caller that takes too long to send it is refused.
2. While an authorizer is asked, a caller that goes away ends it all. It is noticed where the server
   can tell without the body's being read: at its end, or in front of it.
3. The app receives everything from its beginning, message by message, as the server sent it.
"""

from __future__ import annotations

from collections import deque

from meshware.asgi.head import Message, Receive, Scope
from meshware.asking.ask import ask_async
from meshware.asking.watch import unless, within
from meshware.call import Flag
from meshware.inbound.asking import MOST_READ_S, Outcome, TooLarge, TooSlow
from meshware.inbound.passage import Admission, Ask, Denial
from meshware.runtime.mesh import Mesh

__all__ = ["settle"]

_GONE = ("http.disconnect", "websocket.disconnect")


async def settle(
    mesh: Mesh, asked: Ask, scope: Scope, receive: Receive
) -> tuple[Admission | Denial, Receive] | None:
    """Ask until everything is decided.

    Args:
        mesh: of the process.
        asked: the first question.
        scope: the server's.
        receive: the server's.

    Returns:
        The decision and what the app receives from; None: the caller has gone away.
    """
    incoming = _Incoming(scope, receive)
    passage: Admission | Denial | Ask = asked
    try:
        while isinstance(passage, Ask):
            outcome = await incoming.settle(mesh, passage)
            if outcome is None:
                passage.finish(0, Flag.DOWNSTREAM_CLOSED)
                return None
            passage = passage.answered(outcome)
            if isinstance(outcome, TooSlow):
                passage.is_last = True  # the server would wait for the rest of the body
    except BaseException:
        passage.finish(0, Flag.DOWNSTREAM_CLOSED)  # the server has given the call up
        raise
    return passage, incoming.again


class _Incoming:
    """What comes in of one call."""

    def __init__(self, scope: Scope, receive: Receive) -> None:
        self._receive = receive
        self._kept: deque[Message] = deque()
        self._body = bytearray()
        self._is_http = scope["type"] == "http"
        self._is_whole = not self._is_http
        # Reading would have the server tell such a caller to send its body.
        self._may_watch = self._is_http and not _expects(scope)

    async def settle(self, mesh: Mesh, asked: Ask) -> Outcome | None:
        """Return what came of a question; None: the caller has gone away."""
        rule = asked.authorizer.body
        body = None
        if rule is not None and self._is_http:
            try:
                if not await within(MOST_READ_S, self._read(rule.most_bytes)):
                    return None
            except TimeoutError:
                return TooSlow()
            if len(self._body) > rule.most_bytes and not rule.may_be_partial:
                return TooLarge()
            body = bytes(self._body[: rule.most_bytes])
        is_whole = self._is_whole and (body is None or len(self._body) == len(body))
        asking = ask_async(mesh, asked, body, is_whole=is_whole)
        if not self._may_watch:
            return await asking
        return await unless(self._is_gone, asking)

    async def _read(self, most: int) -> bool:
        """Read more of the body than may be shown, or all of it; False: the caller has gone."""
        while not self._is_whole and len(self._body) <= most:
            if await self._next():
                return False
        return True

    async def _next(self) -> bool:
        """Take the next message in; True: the caller has gone away."""
        message = await self._receive()
        if message["type"] in _GONE:
            return True
        self._kept.append(message)
        self._body += message.get("body", b"")
        self._is_whole = not message.get("more_body", False)
        return False

    async def _is_gone(self) -> bool:
        """Return whether the caller has gone away; False: there is more of its body to read."""
        while True:
            if await self._next():
                return True
            if not self._is_whole:
                return False

    async def again(self) -> Message:
        """Return the next message, for the app."""
        return self._kept.popleft() if self._kept else await self._receive()


def _expects(scope: Scope) -> bool:
    return any(name.lower() == b"expect" for name, _ in scope["headers"])
