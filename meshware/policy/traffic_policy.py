"""Which traffic policy holds for a subset and port, and which level of a rule each part is from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from meshware.policy.document.destination_rule import (
    DestinationRuleSpec,
    PortTrafficPolicy,
    Subset,
    TrafficPolicy,
)

__all__ = ["SETTINGS", "Effective", "Level", "effective_policy"]

SETTINGS: Final = ("load_balancer", "connection_pool", "outlier_detection", "tls")
"""What a port's entry replaces as a whole. `retryBudget` is no part of it."""


@dataclass(frozen=True, slots=True)
class Level:
    """Where one setting comes from.

    Attributes:
        policy: the traffic policy that said it last, as written; None: nobody did.
        port_at: where in its `portLevelSettings`; None: for all ports.
        is_reset: it left the setting out, and so took back what held before.
    """

    policy: TrafficPolicy | None = None
    port_at: int | None = None
    is_reset: bool = False


@dataclass(frozen=True, slots=True)
class Effective:
    """The settings in force, those that nobody made left out, and where each is from."""

    policy: TrafficPolicy
    levels: Mapping[str, Level]  # by the names of SETTINGS


def effective_policy(
    rule: DestinationRuleSpec | None, subset: Subset | None, port: int
) -> Effective:
    """Return the traffic policy of a subset and port.

    A port's entry replaces all four settings, those it leaves out included (the reset trap); a
    subset replaces field by field. Source: Istio, `MergeTrafficPolicy`.
    """
    values: dict[str, Any] = {}
    levels = dict.fromkeys(SETTINGS, Level())
    for layer in (
        rule.traffic_policy if rule is not None else None,
        subset.traffic_policy if subset is not None else None,
    ):
        if layer is None:
            continue
        port_at, for_port = _for_port(layer, port)
        for name in SETTINGS:
            written = getattr(for_port or layer, name)
            if written is not None:
                values[name], levels[name] = written, Level(layer, port_at)
            elif for_port is not None and (name in values or getattr(layer, name) is not None):
                values.pop(name, None)
                levels[name] = Level(layer, port_at, is_reset=True)
    return Effective(TrafficPolicy(**values), levels)


def _for_port(layer: TrafficPolicy, port: int) -> tuple[int | None, PortTrafficPolicy | None]:
    for at, entry in enumerate(layer.port_level_settings or ()):
        if entry.port and entry.port.number == port:
            return at, entry
    return None, None
