"""Tell several sinks of each event; what fails in one is the loss of that one."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from meshware.events import Event, EventSink

__all__ = ["Fan"]


class Fan:
    """An event sink that tells others.

    Args:
        sinks: told in this order.
        of_trouble: told after them, of calls that are not ordinary.
        on_error: is told of what they raise.

    Attributes:
        failures: how often one of them raised.
    """

    def __init__(
        self,
        sinks: Sequence[EventSink],
        of_trouble: Sequence[EventSink],
        on_error: Callable[[Exception], None],
    ) -> None:
        self._sinks = tuple(sinks)
        self._all = (*sinks, *of_trouble)
        self._on_error = on_error
        self.failures = 0

    def __call__(self, event: Event) -> None:
        """Tell those whom it concerns."""
        for sink in self._sinks if event.is_ordinary else self._all:
            try:
                sink(event)
            except Exception as error:
                # Telemetry fails open: the caller has its answer already.
                self.failures += 1
                self._on_error(error)
