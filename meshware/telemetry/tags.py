"""Labels as policy's tag overrides change them: what they say of a call, and of which metrics.

Source: Istio, Telemetry `metrics[].overrides[].tagOverrides`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import lru_cache

from meshware.events import Event
from meshware.policy.cel_functions import shown
from meshware.policy.telemetry_plan import METRICS, Expression, MetricsPlan
from meshware.telemetry.attributes import attributes_of
from meshware.telemetry.series import ALL, Labels

__all__ = ["Tags", "split", "tags_of"]

_MOST_TEXT = 256  # characters of a value

Tags = tuple[tuple[str, str, str], ...]
"""Of metrics whose labels policy changes: metric, label, value."""


def tags_of(event: Event, metrics: MetricsPlan, now: Callable[[], float]) -> Tags:
    """Work out the labels that policy adds or changes.

    Args:
        event: the call.
        metrics: what policy says.
        now: unix time in seconds.
    """
    look_up = attributes_of(event, lambda: datetime.fromtimestamp(now(), UTC))
    values: dict[Expression, str] = {}  # of several metrics the same
    tags = []
    for metric, plan in metrics.changed.items():
        for name, expression in plan.tags.items():
            value = values.get(expression)
            if value is None:
                try:
                    value = shown(expression(look_up))[:_MOST_TEXT]
                except Exception:
                    value = "unknown"  # Istio's, of whatever fails
                values[expression] = value
            tags.append((metric, name, value))
    return tuple(tags)


def split(
    labels: Mapping[str, str], metrics: MetricsPlan, tags: Tags
) -> list[tuple[Labels, frozenset[str]]]:
    """Return the labels of the metrics, those together that have the same."""
    if not metrics.changed:
        return [(tuple(sorted(labels.items())), ALL)]
    found: dict[Labels, set[str]] = {}
    for metric in METRICS.values():
        plan = metrics.changed.get(metric)
        own = dict(labels)
        if plan is not None:
            if not plan.is_on:
                continue
            own.update({_label_name(name): value for of, name, value in tags if of == metric})
            for name in plan.removed:
                own.pop(name, None)
        found.setdefault(tuple(sorted(own.items())), set()).add(metric)
    return [(written, frozenset(names)) for written, names in found.items()]


@lru_cache(maxsize=256)
def _label_name(written: str) -> str:
    """Return a tag's name as Prometheus takes it: what it does not take is `_`, as in Envoy."""
    name = re.sub(r"[^a-zA-Z0-9_]", "_", written)[:100] or "_"
    # `le` is the histogram's own, two underscores are Prometheus's, and digits begin no name.
    is_taken = name == "le" or name.startswith("__") or name[0].isdigit()
    return f"tag_{name}" if is_taken else name
