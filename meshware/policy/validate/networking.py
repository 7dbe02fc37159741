"""Check the networking kinds together, over one index of what there is."""

from __future__ import annotations

from collections.abc import Sequence

from meshware.policy.parse import Resource
from meshware.policy.validate.common import Report
from meshware.policy.validate.conflicts import check_conflicts
from meshware.policy.validate.cors import check_cors_owners
from meshware.policy.validate.custom_rules import check_custom_providers
from meshware.policy.validate.egress_proxy import check_egress_proxies
from meshware.policy.validate.mutual_tls import check_mutual_tls
from meshware.policy.validate.providers import check_provider_services
from meshware.policy.validate.references import check_references
from meshware.policy.validate.registry import Registry
from meshware.policy.validate.resolution import check_places
from meshware.policy.validate.rules import check_rules
from meshware.policy.validate.selectors import check_selectors

__all__ = ["check_networking"]


def check_networking(resources: Sequence[Resource], report: Report) -> None:
    """Report what networking resources refer to and is not there, and where they contradict."""
    registry = Registry(resources)
    check_references(registry, report)
    check_rules(registry, report)
    check_selectors(registry, report)
    check_conflicts(registry, report)
    check_cors_owners(registry, report)
    check_places(registry, report)
    check_egress_proxies(registry, report)
    check_mutual_tls(registry, report)
    check_provider_services(registry, report)
    check_custom_providers(registry, report)
