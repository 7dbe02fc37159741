"""Find names that are there twice, in one file or in several.

A resource is its group, kind, namespace and name: `v1` and `v1beta1` of one name are one resource,
and whichever was read last would win in silence.
"""

from __future__ import annotations

from collections.abc import Sequence

from meshware.policy.codes import DUPLICATE
from meshware.policy.parse import Resource
from meshware.policy.validate.common import Report

__all__ = ["check_duplicates"]


def check_duplicates(resources: Sequence[Resource], report: Report) -> None:
    """Report every resource whose name another one has that was read before it."""
    first: dict[tuple[str, str, str, str], Resource] = {}
    for resource in resources:
        key = (resource.group, resource.kind, resource.namespace, resource.name)
        other = first.setdefault(key, resource)
        if other is not resource:
            report.error(
                resource,
                "metadata.name",
                f"{resource.kind} {resource.namespace}/{resource.name} is there twice, first in "
                f"{other.origin.file}:{other.origin.line}; rename or remove one of them",
                DUPLICATE,
            )
