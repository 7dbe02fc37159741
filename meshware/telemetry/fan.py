"""Tell several sinks of each event; what fails in one is the loss of that one."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from meshware.events import Event, EventSink

__all__ = ["Fan"]


class Fan:
    """An event sink that tells others.

    Args:
        sinks: told in this order.
        on_error: is told of what they raise.

    Attributes:
        failures: how often one of them raised.
    """

    def __init__(self, sinks: Sequence[EventSink], on_error: Callable[[Exception], None]) -> None:
        self._sinks = tuple(sinks)
        self._on_error = on_error
        self.failures = 0

    def __call__(self, event: Event) -> None:
        """Tell all of them."""
        for sink in self._sinks:
            try:
                sink(event)
            except Exception as error:
                # Telemetry fails open: the caller has its answer already.
                self.failures += 1
                self._on_error(error)
