"""Connections of the dashboard's server, none of which may be held for ever for nothing.

The server takes some hundreds of connections, of which monitoring needs one. So whoever connects
and asks nothing, sends a request byte by byte, or asks and does not read the answer, is let go. A
stream of events is no such case: there the dashboard drops who does not read.
"""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

__all__ = ["EVENTS", "Connections"]

EVENTS = "/api/events"

_LOOK_S = 5.0
_MOST_IDLE_LOOKS = 2  # between requests, or in the middle of one's head
_MOST_BUSY_LOOKS = 12  # with one answer


class Connections:
    """The connections that are open, by whom they are with. Of one event loop."""

    def __init__(self) -> None:
        self._transports: dict[Any, asyncio.Transport] = {}

    def abort(self, scope: Any) -> None:
        """End the connection of a request, without sending what waits."""
        transport = self._transports.get(tuple(scope.get("client") or ()))
        if transport is not None:
            transport.abort()

    def protocol(self) -> type[H11Protocol]:
        """Return the class of connections of a server."""
        transports = self._transports

        class Protocol(H11Protocol):
            """A connection that is looked at now and then."""

            _looked_at: Any = None  # what was seen the last time
            _looks = 0

            def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
                super().connection_made(transport)
                if self.client is not None:
                    transports[tuple(self.client)] = transport
                self._next = self.loop.call_later(_LOOK_S, self._look)

            def connection_lost(self, exc: Exception | None) -> None:
                self._next.cancel()
                if self.client is not None:
                    transports.pop(tuple(self.client), None)
                super().connection_lost(exc)

            def _look(self) -> None:
                cycle: Any = self.cycle  # the last request's, if there was one
                is_busy = cycle is not None and not cycle.response_complete
                seen = (cycle, is_busy)
                self._looks = self._looks + 1 if seen == self._looked_at else 1
                self._looked_at = seen
                most = _MOST_BUSY_LOOKS if is_busy else _MOST_IDLE_LOOKS
                if self._looks >= most and not (is_busy and self.scope["path"] == EVENTS):
                    self.transport.abort()
                    return
                self._next = self.loop.call_later(_LOOK_S, self._look)

        return Protocol
