"""What cases by chance are put together from."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from random import Random
from typing import Any


def document(
    kind: str,
    name: str,
    namespace: str,
    spec: Mapping[str, Any],
    *,
    api: str = "security.istio.io/v1",
    annotations: Mapping[str, str] | None = None,
) -> str:
    """One resource, in a line."""
    metadata: dict[str, Any] = {"name": name, "namespace": namespace}
    if annotations:
        metadata["annotations"] = annotations
    return json.dumps({"apiVersion": api, "kind": kind, "metadata": metadata, "spec": spec})


def some(chance: Random, values: Sequence[str]) -> list[str]:
    """One, two or three of some values."""
    return chance.sample(values, min(len(values), chance.choice((1, 1, 2, 3))))


def fields(chance: Random, table: dict[str, Sequence[str]], most: int) -> dict[str, list[str]]:
    """Some of the fields, now and then by their `not` twins."""
    found = {}
    for name in chance.sample(list(table), chance.randint(1, min(most, len(table)))):
        twin = "not" + name[0].upper() + name[1:]
        found[twin if chance.random() < 0.25 else name] = some(chance, table[name])
    return found
