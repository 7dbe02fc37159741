"""One span as the mesh keeps it, with OpenTelemetry's beneath it where one is exported."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal

from meshware.telemetry.span_ring import MOST_ATTRIBUTE, SpanRecord, Value
from meshware.trace import TraceContext

if TYPE_CHECKING:
    from meshware.telemetry.otel import Otel

__all__ = ["Span"]


def _nothing() -> None:
    return None


class Span:
    """A span from its start to its end. The thread of its call has it; it takes no lock.

    Attributes:
        context: its own: what is caused by it has it as parent.
        parent_id: of the span that it is caused by; None: it begins the trace.
        otel: OpenTelemetry's span; None: there is none beneath it.
        is_adopted: the span is another instrumentation's, which starts and ends it.
        attributes: noted so far.
        on_answer: is told of the beginning of the response; None: nobody wants to know.
    """

    __slots__ = (
        "_otel_side", "attributes", "context", "is_adopted", "is_error", "kind", "name",
        "on_answer", "otel", "parent_id", "start_s",
    )  # fmt: skip

    def __init__(
        self,
        name: str,
        kind: Literal["server", "client"],
        context: TraceContext,
        parent_id: str | None,
        start_s: float,
        *,
        otel: Any = None,
        otel_side: Otel | None = None,
        is_adopted: bool = False,
    ) -> None:
        self.name = name
        self.kind = kind
        self.context = context
        self.parent_id = parent_id
        self.start_s = start_s
        self.otel = otel
        self.is_adopted = is_adopted
        self.is_error = False
        self.attributes: dict[str, Value] = {}
        self.on_answer: Callable[[Span, Any, int], None] | None = None
        self._otel_side = otel_side

    def enter(self) -> Callable[[], None]:
        """Make it OpenTelemetry's current span here; what is returned undoes that."""
        if self.otel is None or self.is_adopted or self._otel_side is None:
            return _nothing
        try:
            return self._otel_side.enter(self.otel)
        except Exception:
            self._otel_side.background.lost += 1
            return _nothing

    def answers(self, passage: object, status: int) -> None:
        """Tell another instrumentation's span what is known by now: it may end with the answer."""
        if self.on_answer is not None:
            self.on_answer(self, passage, status)

    def here(self) -> Callable[[], Callable[[], None]]:
        """Return an `enter` for another thread, with what is OpenTelemetry's current span now."""
        if self._otel_side is None:
            return lambda: _nothing
        try:
            return self._otel_side.here()
        except Exception:
            self._otel_side.background.lost += 1
            return lambda: _nothing

    def end(self, duration_s: float) -> SpanRecord:
        """End it, in the background where somebody exports it, and return what it was.

        Args:
            duration_s: since its start.
        """
        self.attributes = {
            key: value[:MOST_ATTRIBUTE] if isinstance(value, str) else value
            for key, value in self.attributes.items()
        }
        if self._otel_side is not None and self.otel is not None:
            self._otel_side.end(self, self.start_s + duration_s)
        return SpanRecord(
            trace_id=self.context.trace_id,
            span_id=self.context.span_id,
            parent_id=self.parent_id,
            name=self.name[:MOST_ATTRIBUTE],
            kind=self.kind,
            start=self.start_s,
            duration_s=duration_s,
            status="error" if self.is_error else "ok",
            attributes=self.attributes,
        )
