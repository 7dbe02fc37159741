"""Everything about policy that its types do not say: ranges, grammars, and what fits together."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from meshware.policy.parse import Resource
from meshware.policy.problems import Problem
from meshware.policy.validate.authorization_policy import check_authorization_policy
from meshware.policy.validate.authorization_selectors import check_authorization_selectors
from meshware.policy.validate.common import Report
from meshware.policy.validate.custom_rules import check_custom_rules
from meshware.policy.validate.delegates import check_delegates
from meshware.policy.validate.destination_rule import check_destination_rule
from meshware.policy.validate.duplicates import check_duplicates
from meshware.policy.validate.mesh_config import check_mesh_config, check_mesh_configs
from meshware.policy.validate.mesh_identity import check_mesh_identity
from meshware.policy.validate.networking import check_networking
from meshware.policy.validate.peer_authentication import (
    check_peer_authentication,
    check_peer_authentications,
    check_workload_policy,
)
from meshware.policy.validate.providers import check_providers
from meshware.policy.validate.request_authentication import check_request_authentication
from meshware.policy.validate.retries import check_default_retries
from meshware.policy.validate.service_entry import check_service_entry
from meshware.policy.validate.service_policy import check_service_policies, check_service_policy
from meshware.policy.validate.sidecar import check_sidecar
from meshware.policy.validate.telemetry import check_telemetries, check_telemetry
from meshware.policy.validate.telemetry_providers import check_telemetry_providers
from meshware.policy.validate.token_keys import check_jwks, check_key_sources
from meshware.policy.validate.virtual_service import check_virtual_service
from meshware.policy.validate.workload_entry import check_workload_entry, check_workload_group

__all__ = ["check"]

_ALONE: tuple[Callable[[Resource, Report], None], ...] = (
    check_authorization_policy,
    check_custom_rules,
    check_mesh_config,
    check_providers,
    check_mesh_identity,
    check_jwks,
    check_peer_authentication,
    check_request_authentication,
    check_workload_policy,
    check_service_policy,
    check_virtual_service,
    check_destination_rule,
    check_service_entry,
    check_workload_entry,
    check_workload_group,
    check_sidecar,
    check_default_retries,
    check_telemetry,
    check_telemetry_providers,
)
_TOGETHER: tuple[Callable[[Sequence[Resource], Report], None], ...] = (
    check_duplicates,
    check_mesh_configs,
    check_authorization_selectors,
    check_peer_authentications,
    check_service_policies,
    check_delegates,
    check_networking,
    check_key_sources,
    check_telemetries,
)


def check(resources: Sequence[Resource]) -> list[Problem]:
    """Return all that is wrong with resources, one by one and together; never raises."""
    report = Report()
    for resource in resources:
        for check_one in _ALONE if resource.is_whole else ():
            check_one(resource, report)
    for check_all in _TOGETHER:
        check_all(resources, report)
    return report.problems
