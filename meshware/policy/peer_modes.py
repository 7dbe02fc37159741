"""Which mode of mutual TLS each workload and port has, by PeerAuthentication's precedence.

Narrowest first: port, workload (a selector that matches), namespace, mesh (the root namespace
without a selector); what is UNSET takes the next wider level, and PERMISSIVE stands behind all. Of
several at one level the oldest holds. A policy with a selector in the root namespace selects
nobody, and ports count only beside a selector.

Source: Istio PeerAuthentication; its `ComposePeerAuthentication`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING

from meshware.policy.document.common import Labels
from meshware.policy.document.peer_authentication import MutualTLS, PeerAuthenticationSpec
from meshware.policy.labels import selects
from meshware.policy.record_types import PeerMode, PeerModes

if TYPE_CHECKING:
    from meshware.policy.parse import Resource

__all__ = ["ModesOf", "mode_at", "peer_modes"]

ModesOf = Callable[[str, Mapping[str, str]], PeerModes]
"""Return the modes of the workloads of a namespace that bear certain labels."""


def peer_modes(resources: Iterable[Resource], root_namespace: str) -> ModesOf:
    """Return what tells the modes of any workload.

    Args:
        resources: oldest first.
        root_namespace: whose policies are for the whole mesh.
    """
    wide: dict[str, tuple[str, MutualTLS | None]] = {}
    narrow: dict[str, list[tuple[str, Labels, PeerAuthenticationSpec]]] = {}
    for resource in resources:
        spec = resource.spec
        if not isinstance(spec, PeerAuthenticationSpec):
            continue
        name = f"{resource.namespace}/{resource.name}"
        labels = (spec.selector.match_labels if spec.selector else None) or None
        if labels is None:
            wide.setdefault(resource.namespace, (name, spec.mtls))
        elif resource.namespace != root_namespace:
            narrow.setdefault(resource.namespace, []).append((name, labels, spec))

    def of(namespace: str, labels: Mapping[str, str]) -> PeerModes:
        own = next(
            (found for found in narrow.get(namespace, ()) if selects(found[1], labels)), None
        )
        levels = [wide.get(namespace), wide.get(root_namespace)]
        if own is not None:
            levels.insert(0, (own[0], own[2].mtls))
        mode: PeerMode = "PERMISSIVE"
        policy: str | None = None
        for level in levels:
            written = _mode(level[1]) if level is not None else None
            if level is not None and written is not None:
                policy, mode = level[0], written
                break
        ports: dict[str, PeerMode] = {}
        for port, setting in ((own[2].port_level_mtls if own else None) or {}).items():
            at_port = _mode(setting)
            if at_port is not None:
                ports[port] = at_port
        return PeerModes(mode=mode, ports=ports, policy=policy)

    return of


def _mode(written: MutualTLS | None) -> PeerMode | None:
    if written is None or written.mode is None or written.mode == "UNSET":
        return None
    return written.mode


_STRICTER: tuple[PeerMode, ...] = ("DISABLE", "PERMISSIVE", "STRICT")


def mode_at(modes: PeerModes, port: int | None) -> PeerMode:
    """Return the mode of one port.

    Args:
        modes: of a workload.
        port: its own; None: not known, so that the strictest of all its modes holds.
    """
    if port is not None:
        return modes.ports.get(str(port), modes.mode) if modes.ports else modes.mode
    if not modes.ports:
        return modes.mode
    return max((modes.mode, *modes.ports.values()), key=_STRICTER.index)
