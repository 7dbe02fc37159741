"""List every field of the policy language with its status: the reference page is made of this.

A field is named as in the support table: `VirtualService.spec.http[].route[].weight`.
"""

from __future__ import annotations

import types
import typing
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Union

import msgspec

from meshware.policy.document.common import Document
from meshware.policy.kinds import KINDS, Kind
from meshware.policy.support import Status, Support, is_partly_done, support_of

__all__ = ["FieldStatus", "fields_of", "kinds"]

_PLAIN = {str: "text", bool: "true or false", int: "whole number", float: "number"}


@dataclass(frozen=True, slots=True)
class FieldStatus:
    """One field that a user may write."""

    path: str  # below the kind: "spec.http[].timeout"
    type: str  # in words
    support: Support
    is_partly_done: bool  # not supported yet as a whole, but some of the fields within it are


def kinds() -> tuple[Kind, ...]:
    """Return every kind that is carried, in the order of the reference."""
    return tuple(KINDS.values())


def fields_of(kind: Kind) -> Iterator[FieldStatus]:
    """Yield the fields of a kind, each before the fields within it."""
    yield from _below(kind.label, "spec", kind.spec)


def _below(label: str, path: str, document: type[Document]) -> Iterator[FieldStatus]:
    hints = typing.get_type_hints(document, include_extras=True)
    for field in msgspec.structs.fields(document):
        here = f"{path}.{field.encode_name}"
        words, suffix, inner = _described(hints[field.name])
        generic = f"{label}.{here}"
        support = support_of(generic)
        yield FieldStatus(
            path=here,
            type=words,
            support=support,
            is_partly_done=support.status is Status.LATER and is_partly_done(generic),
        )
        if inner is not None and support.status is not Status.NOT_APPLICABLE:
            yield from _below(label, f"{here}{suffix}", inner)


def _described(kind: Any) -> tuple[str, str, type[Document] | None]:
    """Return a type in words, the path's suffix to what is within, and the document there."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in (Union, types.UnionType):
        return _described(next(part for part in arguments if part is not type(None)))
    if origin is Annotated:
        return _annotated(arguments[0], arguments[1]), "", None
    if origin is tuple:
        words, suffix, inner = _described(arguments[0])
        return f"list of {words}", f"[]{suffix}", inner
    if origin is dict:
        words, suffix, inner = _described(arguments[1])
        return f"mapping to {words}", f"{{}}{suffix}", inner
    if origin is Literal:
        return "one of " + ", ".join(f"`{word}`" for word in arguments), "", None
    if isinstance(kind, type) and issubclass(kind, Document):
        return "fields", "", kind
    return _PLAIN[kind], "", None


def _annotated(base: Any, meta: msgspec.Meta) -> str:
    if meta.extra and meta.extra.get("format") == "duration":
        return "duration"
    if meta.extra and meta.extra.get("format") == "json":
        return "mapping to anything"
    if meta.le is None:
        return f"{_PLAIN[base]}" if meta.ge is None else f"{_PLAIN[base]}, at least {meta.ge}"
    return f"{_PLAIN[base]}, {meta.ge} to {meta.le}"
