"""Read what a resource says about itself: its name, namespace, labels and annotations."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from types import MappingProxyType

from meshware.policy.codes import INVALID, UNKNOWN_FIELD
from meshware.policy.decode import nearest
from meshware.policy.yaml12 import MappingNode, ScalarNode
from meshware.policy.yaml_problems import brief

__all__ = ["check_top", "read_texts", "text_of"]

Tell = Callable[[str, str, int, str], None]
"""Take a problem: code, field path, line, message."""

# RFC 1123: what Kubernetes takes for the names of resources and of namespaces.
_NAME = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_NAMESPACE = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")

_TOP = frozenset({"apiVersion", "kind", "metadata", "spec", "status"})
_METADATA = frozenset({"name", "namespace", "labels", "annotations", "creationTimestamp"})
# What a cluster writes into metadata says nothing about policy.
_OF_THE_CLUSTER = frozenset(
    {
        "deletionGracePeriodSeconds",
        "deletionTimestamp",
        "finalizers",
        "generateName",
        "generation",
        "managedFields",
        "ownerReferences",
        "resourceVersion",
        "selfLink",
        "uid",
    }
)


def check_top(node: MappingNode, metadata: MappingNode | None, tell: Tell) -> None:
    """Report what is wrong with a resource outside of its spec: fields, name, namespace."""
    for name, (line, _) in node.items.items():
        if name not in _TOP:
            message = f"there is no field {brief(name)!r} in a resource; {_instead(name, _TOP)}"
            tell(UNKNOWN_FIELD, name, line, message)
    if metadata is None:
        tell(INVALID, "metadata.name", node.line, "metadata.name is missing; add it")
        return
    for name, (line, _) in metadata.items.items():
        if name not in _METADATA and name not in _OF_THE_CLUSTER:
            message = f"there is no field {brief(name)!r} in metadata; {_instead(name, _METADATA)}"
            tell(UNKNOWN_FIELD, f"metadata.{name}", line, message)
    _check_name(tell, metadata, "name", _NAME, 253, is_required=True)
    _check_name(tell, metadata, "namespace", _NAMESPACE, 63, is_required=False)


def _check_name(
    tell: Tell,
    metadata: MappingNode,
    field: str,
    pattern: re.Pattern[str],
    most: int,
    *,
    is_required: bool,
) -> None:
    found = metadata.items.get(field)
    if found is None:
        if is_required:
            message = f"metadata.{field} is missing; add it"
            tell(INVALID, f"metadata.{field}", metadata.line, message)
        return
    line, node = found
    value = node.value if isinstance(node, ScalarNode) else None
    if not isinstance(value, str) or len(value) > most or not pattern.fullmatch(value):
        shown = node.text[:60] if isinstance(node, ScalarNode) else "no text"
        message = (
            f"{field} is {shown!r}; write lower-case letters, digits and hyphens, "
            f"{most} characters at most (numbers in quotes)"
        )
        tell(INVALID, f"metadata.{field}", line, message)


def read_texts(
    metadata: MappingNode | None, field: str, lines: dict[str, int], tell: Tell
) -> Mapping[str, str]:
    """Return metadata's labels or annotations, and note the line of each."""
    found = metadata.items.get(field) if metadata is not None else None
    if found is None:
        return MappingProxyType({})
    line, node = found
    if not isinstance(node, MappingNode):
        if not (isinstance(node, ScalarNode) and node.value is None):
            tell(INVALID, f"metadata.{field}", line, f"{field} is no mapping; write a mapping")
        return MappingProxyType({})
    texts = {}
    for name, (item_line, item) in node.items.items():
        path = f"metadata.{field}[{name}]"
        lines[path] = item_line
        value = item.value if isinstance(item, ScalarNode) else None
        if isinstance(value, str):
            texts[name] = value
        else:
            tell(INVALID, path, item_line, f"{name} is not text; quote it")
    return MappingProxyType(texts)


def _instead(name: str, known: Collection[str]) -> str:
    near = nearest(name, known)
    return f"did you mean {near!r}?" if near else "remove it or move it"


def text_of(node: MappingNode, name: str) -> str | None:
    """Return a field that is text, or None."""
    found = node.items.get(name)
    if found is None or not isinstance(found[1], ScalarNode):
        return None
    value = found[1].value
    # A date is text in the core schema, and so stays what was written.
    return value if isinstance(value, str) and value else None
