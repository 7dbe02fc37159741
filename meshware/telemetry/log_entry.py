"""What an access log may ask about one call that is over, of either side, worked out when asked.

Envoy logs a request as it is when all filters have had their turn: what the mesh has set or taken
away in its headers is seen so here too. A header `x-envoy-original-path` of a caller's own is not:
the line would show a path that nobody has asked for.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING

from meshware.events import Event, InboundEvent
from meshware.telemetry.log_inbound import InboundEntry
from meshware.telemetry.log_outbound import OutboundEntry

if TYPE_CHECKING:
    from meshware.policy.snapshot import Snapshot

__all__ = ["Entry", "Maker", "Value", "ValueOf", "entry_of"]

Entry = InboundEntry | OutboundEntry
"""One call, as operators ask about it; None: it is not known, or there is none.

`header` and `response_header` return the first line of a header, as Envoy does, or what `:path` and
such are. Times in `..._s` are since the call began.
"""

Value = str | int | None
"""What an operator stands for; numbers stay numbers in JSON."""

ValueOf = Callable[[Entry], Value]
Maker = Callable[[str], ValueOf]
"""Returns what an operator with an argument stands for."""


def entry_of(event: Event, snapshot: Snapshot | None, now: datetime) -> Entry:
    """Return what a log may ask about a call that has ended now."""
    if isinstance(event, InboundEvent):
        return InboundEntry(event, snapshot, now)
    return OutboundEntry(event, snapshot, now)
