"""What was read from the sources, for people: the text of resources, and what publishes changed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from meshware.policy.parse import Resource
from meshware.runtime.files import printable

__all__ = ["MOST_CHANGES", "Changes", "shown"]

MOST_CHANGES = 50
"""Publishes that are remembered."""

_MOST_RESOURCES = 1000
_MOST_CHARACTERS = 20_000  # of one resource's text
_ROOT = "istio-system"  # where nothing says otherwise
_MOST_HOSTS = 100  # of one resource
_MOST_FILE_BYTES = 1024 * 1024


def shown(resources: Iterable[Resource]) -> list[dict[str, Any]]:
    """Return resources with their text and whom they are about, the first thousand of them.

    Reads each file once; the text of one that cannot be read any more is empty.
    """
    files: dict[str, list[str]] = {}
    found: list[dict[str, Any]] = []
    listed = list(resources)
    roots = {each.namespace for each in listed if each.kind == "MeshConfig"} or {_ROOT}
    for resource in listed[:_MOST_RESOURCES]:
        file = str(resource.origin.file)
        if file not in files:
            files[file] = _lines(file)
        found.append(
            {
                "kind": resource.kind,
                "namespace": resource.namespace,
                "name": resource.name,
                "file": printable(file),
                "line": resource.origin.line,
                "text": _document(files[file], resource.origin.line),
                **_meant(resource),
                "is_of_mesh": resource.namespace in roots,
            }
        )
    return found


def _meant(resource: Resource) -> dict[str, Any]:
    """Return what a resource is about: hosts of services, or labels of workloads."""
    spec: dict[str, Any] = msgspec.to_builtins(resource.spec, builtin_types=())
    hosts = spec.get("hosts") or ([spec["host"]] if spec.get("host") else [])
    selector = (
        (spec.get("selector") or {}).get("matchLabels")
        or (spec.get("workloadSelector") or {}).get("labels")
        or (spec.get("metadata") or {}).get("labels")
    )
    if resource.kind == "WorkloadEntry":
        selector = spec.get("labels") or dict(resource.labels)
    return {"hosts": list(hosts)[:_MOST_HOSTS], "selector": dict(selector or {})}


class Changes:
    """Compares what is published with what was before. Its list is replaced whole."""

    def __init__(self) -> None:
        self._before: Mapping[str, str] | None = None
        self.newest_first: list[dict[str, Any]] = []

    def note(self, generation: int, at: str, resources: list[dict[str, Any]]) -> None:
        """Take up what a generation is made of.

        Args:
            generation: that was published.
            at: when, ISO 8601.
            resources: as `shown` returns them.
        """
        now = {
            f"{each['kind']}/{each['namespace']}/{each['name']}": each["text"] for each in resources
        }
        before, self._before = self._before, now
        if before is None:
            return  # what the first one changed nobody knows
        change = {
            "generation": generation,
            "at": at,
            "added": sorted(now.keys() - before.keys()),
            "changed": sorted(k for k in now.keys() & before.keys() if now[k] != before[k]),
            "removed": sorted(before.keys() - now.keys()),
        }
        if change["added"] or change["changed"] or change["removed"]:
            self.newest_first = [change, *self.newest_first][:MOST_CHANGES]


def _lines(file: str) -> list[str]:
    try:
        with Path(file).open(encoding="utf-8", errors="replace") as opened:
            return opened.read(_MOST_FILE_BYTES).splitlines()
    except OSError:
        return []


def _document(lines: list[str], first: int) -> str:
    """Return the document of YAML that begins at a line, to the next `---`."""
    start = max(first - 1, 0)
    end = start
    while end < len(lines) and not (lines[end].startswith(("---", "...")) and end > start):
        end += 1
    return "\n".join(lines[start:end]).strip("\n")[:_MOST_CHARACTERS]
