"""The pieces that several kinds share, and the conventions of every document.

A document is policy as written. Each Istio object is a `Document`: attribute names are Istio's
field names in snake case, JSON names are Istio's own (`per_try_timeout`, `perTryTimeout`); an
absent field is None, so that "absent" and "empty" stay apart; lists are tuples. Text with a
grammar of its own is an annotated primitive whose `format` the reader knows:

=============  =======  ==============================================================
alias          value    as written
=============  =======  ==============================================================
`Duration`     float    seconds, from `1h`, `5s`, `0.5s`, `10ms`, `1m30s`
`Percentage`   float    0..100
`Port`         int      1..65535
`JsonObject`   dict     a mapping of anything that JSON has
=============  =======  ==============================================================

A resource in the policy file is the JSON of such a document, with durations as numbers.
"""

from __future__ import annotations

from typing import Annotated, Any, TypeAlias

import msgspec

__all__ = [
    "Document",
    "Duration",
    "JsonObject",
    "Labels",
    "Percentage",
    "PolicyTargetReference",
    "Port",
    "StringMatch",
    "WorkloadSelector",
]


class Document(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    rename="camel",
    omit_defaults=True,
    forbid_unknown_fields=True,
):
    """The base of every object that a user writes."""


Duration: TypeAlias = Annotated[float, msgspec.Meta(extra={"format": "duration"})]
Percentage: TypeAlias = Annotated[float, msgspec.Meta(ge=0, le=100)]
Port: TypeAlias = Annotated[int, msgspec.Meta(ge=1, le=65535)]
Labels: TypeAlias = dict[str, str]
JsonObject: TypeAlias = Annotated[dict[str, Any], msgspec.Meta(extra={"format": "json"})]


class StringMatch(Document, frozen=True):
    """How a string is matched: exactly one is set, or none for presence. Source: Istio."""

    exact: str | None = None
    prefix: str | None = None
    regex: str | None = None  # RE2, the whole value


class WorkloadSelector(Document, frozen=True):
    """Workloads by their labels. Source: istio.type.v1beta1.WorkloadSelector."""

    match_labels: Labels | None = None


class PolicyTargetReference(Document, frozen=True):
    """A gateway or service that a policy is attached to. Source: PolicyTargetReference."""

    kind: str
    name: str
    group: str | None = None
    namespace: str | None = None
