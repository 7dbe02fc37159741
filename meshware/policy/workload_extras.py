"""What WorkloadPolicies say of a workload: where it takes tokens, and which paths are probed.

Of the policies that select a workload the narrowest says whether tokens are taken: one with a
selector before the namespace's, that before the root namespace's; of several at one level the
oldest. Probed paths add up.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from meshware.policy.document.workload_policy import WorkloadPolicySpec
from meshware.policy.labels import selects
from meshware.policy.parse import Resource
from meshware.policy.record_types import TokenMode, TokenModes

__all__ = ["Extras", "ExtrasOf", "workload_extras"]


@dataclass(frozen=True, slots=True)
class Extras:
    """What is said of one workload."""

    tokens: TokenModes
    probe_paths: tuple[str, ...]


ExtrasOf = Callable[[str, Mapping[str, str]], Extras]
"""Return the extras of the workloads of a namespace that bear certain labels."""


def workload_extras(resources: Iterable[Resource], root_namespace: str) -> ExtrasOf:
    """Return what tells the extras of any workload.

    Args:
        resources: oldest first.
        root_namespace: whose policies are for the whole mesh.
    """
    policies = [
        (resource.namespace, resource.spec)
        for resource in resources
        if isinstance(resource.spec, WorkloadPolicySpec)
    ]

    def of(namespace: str, labels: Mapping[str, str]) -> Extras:
        found: list[tuple[int, WorkloadPolicySpec]] = []
        for home, spec in policies:
            wanted = spec.selector.match_labels if spec.selector else None
            if home in (namespace, root_namespace) and selects(wanted, labels):
                found.append((2 * (home != namespace) + (not wanted), spec))
        found.sort(key=lambda pair: pair[0])  # stable: the oldest of a level stays first
        return Extras(
            _tokens([spec for _, spec in found]),
            tuple(dict.fromkeys(path for _, spec in found for path in spec.probe_paths or ())),
        )

    return of


def _tokens(narrowest_first: list[WorkloadPolicySpec]) -> TokenModes:
    mode: TokenMode = "DISABLE"
    ports: dict[str, TokenMode] = {}
    for spec in reversed(narrowest_first):
        if spec.token_identity is not None and spec.token_identity.mode is not None:
            mode, ports = spec.token_identity.mode, {}
        for port, written in (spec.port_level_token_identity or {}).items():
            if written.mode is not None:
                ports[port] = written.mode
    return TokenModes(mode=mode, ports=ports)
