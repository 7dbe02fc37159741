"""Put delegated rules in the place of the rule that delegates: VirtualServices in several parts.

A rule of a *root* VirtualService may name another one, its *delegate*, whose rules then stand for
it, one by one, each under the conditions of both. Records hold the result, so that a client reads
one VirtualService and knows of no delegation.

Source: Istio, `mergeVirtualServicesIfNeeded`: a whole field comes from the delegate's rule if it is
set there, else from the root's; conditions that exclude each other drop the pair.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import msgspec

from meshware.policy.document.common import StringMatch
from meshware.policy.document.virtual_service import (
    Delegate,
    Destination,
    HTTPMatchRequest,
    HTTPRoute,
    VirtualServiceSpec,
)
from meshware.policy.names import expand
from meshware.policy.parse import Resource

__all__ = [
    "Delegates",
    "Part",
    "delegate_key",
    "delegates_of",
    "flattened",
    "is_delegate",
    "is_exported_to",
    "joined",
    "parts_of",
]

T = TypeVar("T")

Delegates = Mapping[tuple[str, str], Resource]
"""The VirtualServices without hosts, by namespace and name."""

_FROM_EITHER = (
    "rewrite",
    "direct_response",
    "timeout",
    "retries",
    "fault",
    "mirror",
    "mirrors",
    "mirror_percentage",
    "mirror_percent",
    "mirror_percent_snake",
    "cors_policy",
    "headers",
)


def is_delegate(spec: VirtualServiceSpec) -> bool:
    """Say whether a VirtualService is there for others to name: it has no hosts."""
    return not spec.hosts


def delegates_of(resources: Sequence[Resource]) -> Delegates:
    """Return the delegates among resources; of two with one name the first."""
    found: dict[tuple[str, str], Resource] = {}
    for resource in resources:
        if isinstance(resource.spec, VirtualServiceSpec) and is_delegate(resource.spec):
            found.setdefault((resource.namespace, resource.name), resource)
    return found


def delegate_key(delegate: Delegate, namespace: str) -> tuple[str, str]:
    """Return namespace and name of a delegate; its namespace is the root's where it has none."""
    return delegate.namespace or namespace, delegate.name or ""


def flattened(spec: VirtualServiceSpec, namespace: str, delegates: Delegates) -> VirtualServiceSpec:
    """Return a VirtualService with its delegates' rules in place; without any, itself.

    A rule whose delegate is not there, or not for its namespace, is left out.

    Args:
        spec: with hosts.
        namespace: of the VirtualService.
        delegates: all there are.
    """
    if all(rule.delegate is None for rule in spec.http or ()):
        return spec
    http = tuple(part.rule for part in parts_of(spec, namespace, delegates))
    return msgspec.structs.replace(spec, http=http)


@dataclass(frozen=True, slots=True)
class Part:
    """One rule of a VirtualService with its delegates' rules in place, and whose it is."""

    rule: HTTPRoute
    index: int  # in the root
    delegate: Resource | None  # None: it is the root's own
    position: int  # in whose it is


def parts_of(spec: VirtualServiceSpec, namespace: str, delegates: Delegates) -> Iterator[Part]:
    """Yield the rules that `flattened` makes of a VirtualService, in their order."""
    for index, rule in enumerate(spec.http or ()):
        if rule.delegate is None:
            yield Part(rule, index, None, index)
            continue
        found = delegates.get(delegate_key(rule.delegate, namespace))
        if found is None or not is_exported_to(found, namespace):
            continue
        assert isinstance(found.spec, VirtualServiceSpec)
        for position, own in enumerate(found.spec.http or ()):
            merged = joined(rule, _expanded(own, found.namespace))
            if merged is not None:
                name = merged.name or f"{index}-{position}"
                merged = msgspec.structs.replace(merged, name=name)
                yield Part(merged, index, found, position)


def is_exported_to(found: Resource, namespace: str) -> bool:
    """Say whether VirtualServices of a namespace may delegate to this one; by default all may."""
    assert isinstance(found.spec, VirtualServiceSpec)
    export = found.spec.export_to
    if not export or "*" in export or namespace in export:
        return True
    return "." in export and found.namespace == namespace


def _expanded(rule: HTTPRoute, namespace: str) -> HTTPRoute:
    """Return a rule with the full hosts that its short ones mean in its own namespace."""

    def full(to: Destination) -> Destination:
        return msgspec.structs.replace(to, host=expand(to.host, namespace))

    return msgspec.structs.replace(
        rule,
        route=tuple(
            msgspec.structs.replace(each, destination=full(each.destination))
            for each in rule.route or ()
        )
        or None,
        mirror=full(rule.mirror) if rule.mirror is not None else None,
        mirrors=tuple(
            msgspec.structs.replace(each, destination=full(each.destination))
            for each in rule.mirrors or ()
        )
        or None,
    )


# --- one pair of rules ------------------------------------------------------------------------


def joined(root: HTTPRoute, own: HTTPRoute) -> HTTPRoute | None:
    """Return a delegate's rule under its root's conditions; None: it can never match."""
    match = _joined_match(root.match, own.match)
    if match is not None and not match:
        return None
    either = {
        name: getattr(root, name) if getattr(own, name) is None else getattr(own, name)
        for name in _FROM_EITHER
    }
    if own.redirect is not None or own.route is not None:
        either["direct_response"] = own.direct_response
    return msgspec.structs.replace(
        own, name=_joined_name(root.name, own.name), match=match, delegate=None, **either
    )


def _joined_name(root: str | None, own: str | None) -> str | None:
    return f"{root}-{own}" if root and own else root or own


def _joined_match(
    root: tuple[HTTPMatchRequest, ...] | None, own: tuple[HTTPMatchRequest, ...] | None
) -> tuple[HTTPMatchRequest, ...] | None:
    """Return every pair of blocks that do not exclude each other; empty: the rule is dropped.

    A block of the delegate that goes with none of the root's drops the whole rule.
    """
    if not root or not own:
        return root or own
    blocks = []
    for mine in own:
        fitting = [theirs for theirs in root if not _exclude(theirs, mine)]
        if not fitting:
            return ()
        blocks += [_joined_block(theirs, mine) for theirs in fitting]
    return tuple(blocks)


def _joined_block(root: HTTPMatchRequest, own: HTTPMatchRequest) -> HTTPMatchRequest:
    return msgspec.structs.replace(
        own,
        name=_joined_name(root.name, own.name),
        uri=own.uri or root.uri,
        scheme=own.scheme or root.scheme,
        method=own.method or root.method,
        authority=own.authority or root.authority,
        headers=_merged(root.headers, own.headers),
        without_headers=_merged(root.without_headers, own.without_headers),
        query_params=_merged(root.query_params, own.query_params),
        port=own.port or root.port,
        source_labels=_merged(root.source_labels, own.source_labels),
        source_namespace=own.source_namespace or root.source_namespace,
        gateways=own.gateways or root.gateways,
    )


def _merged(root: dict[str, T] | None, own: dict[str, T] | None) -> dict[str, T] | None:
    return {**(root or {}), **(own or {})} or None


def _exclude(root: HTTPMatchRequest, own: HTTPMatchRequest) -> bool:
    """Say whether a delegate's block goes beyond its root's. Source: Istio, `hasConflict`."""
    for name in ("uri", "scheme", "method", "authority"):
        if _goes_beyond(getattr(root, name), getattr(own, name)):
            return True
    for name in ("headers", "without_headers", "query_params"):
        theirs, mine = getattr(root, name) or {}, getattr(own, name) or {}
        if any(_goes_beyond(theirs.get(key), value) for key, value in mine.items()):
            return True
    if bool(root.ignore_uri_case) != bool(own.ignore_uri_case):
        return True
    if root.port and own.port and root.port != own.port:
        return True
    if root.source_namespace and own.source_namespace != root.source_namespace:
        return True
    labels = root.source_labels or {}
    if any(labels.get(name, value) != value for name, value in (own.source_labels or {}).items()):
        return True
    return bool(root.gateways and own.gateways) and not set(own.gateways or ()) <= set(
        root.gateways or ()
    )


def _goes_beyond(root: StringMatch | None, own: StringMatch | None) -> bool:
    if root is None or own is None:
        return False
    if root.regex or own.regex:  # nobody can tell whether one is within the other
        return bool(
            (root.regex and (own.regex or own.prefix or own.exact))
            or (own.regex and (root.prefix or root.exact))
        )
    if root.exact:
        return own.exact != root.exact if own.exact or own.prefix else False
    if root.prefix:
        mine = own.prefix or own.exact
        return mine is not None and mine != "" and not mine.startswith(root.prefix)
    return False
