"""The names by which policy may call a handler."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from functools import partial
from typing import Any

from meshware.policy.handler_matchers import plain

__all__ = ["documented_id", "function_names", "joined", "plain", "plain_regex", "template_names"]

# Where an endpoint's docstring holds its part of OpenAPI, as in Starlette's SchemaGenerator.
_DOCUMENTED = re.compile(r"^---[ \t]*$.*?^[ \t]*operationId:[ \t]*[\"']?([^\s\"'#]+)", re.M | re.S)
_NAMED = re.compile(r"\(\?P<(\w+)>|<(?:[^<>]*:)?(\w+)>")
_ODD = re.compile(r"[\\^$.|?*+()\[\]{}]")
_LONGEST = 64 * 1024  # of a docstring that is looked into


def template_names(*templates: str) -> tuple[str, ...]:
    """Return how policy may write a route: as the framework does, and with plain braces."""
    return tuple(dict.fromkeys((*templates, *(plain(template) for template in templates))))


def plain_regex(pattern: str) -> str | None:
    """Return the template that a pattern of Django's `re_path` comes to; None: it is more than one.

    Named groups become parameters; whatever else is no plain text has no template.
    """
    text = pattern.removesuffix("$").removesuffix(r"\Z")
    pieces: list[str] = []
    at = 0
    while at < len(text):
        named = _NAMED.match(text, at)
        if named is not None:  # `(?P<name>...)`, or `<int:name>` of an include
            end = _closing(text, named.end()) if named[1] else named.end()
            if end is None:
                return None
            pieces.append("{" + (named[1] or named[2]) + "}")
            at = end
        elif text[at] == "^":  # an include's stands in the middle
            at += 1
        elif text[at] == "\\" and at + 1 < len(text) and not text[at + 1].isalnum():
            pieces.append(text[at + 1])
            at += 2
        elif _ODD.match(text[at]):
            return None
        else:
            pieces.append(text[at])
            at += 1
    return "".join(pieces)


def _closing(text: str, at: int) -> int | None:
    """Return where the group that is open at a place ends, past its parenthesis."""
    depth, in_class = 1, False
    while at < len(text):
        char = text[at]
        if char == "\\":
            at += 1
        elif in_class:
            in_class = char != "]"
        elif char == "[":
            in_class = True
        elif char in "()":
            depth += 1 if char == "(" else -1
            if depth == 0:
                return at + 1
        at += 1
    return None


def joined(prefix: str, template: str) -> str:
    """Return a template behind the prefix under which its router stands."""
    return f"{prefix}{template}" if template.startswith("/") else f"{prefix}/{template}"


def function_names(endpoint: Any) -> tuple[str, ...]:
    """Return the bare name of an endpoint, and the one with its module.

    What is neither function nor class is called by its class, as are the views that a class makes
    (`View.as_view()` of Flask and Django leaves `view_class`, Django REST framework `cls`).
    """
    found = written_as(endpoint)
    qualified = f"{found.__module__}.{found.__qualname__}"
    return tuple(dict.fromkeys((found.__name__, qualified)))


def written_as(endpoint: Any) -> Any:
    """Return the function or class that an endpoint is written as."""
    while isinstance(endpoint, partial):
        endpoint = endpoint.func
    for name in ("view_class", "cls"):
        made_by = getattr(endpoint, name, None)
        if isinstance(made_by, type):
            return made_by
    if inspect.isroutine(endpoint) or isinstance(endpoint, type):
        return endpoint
    return type(endpoint)


def documented_id(endpoint: Any, method: str) -> str | None:
    """Return the operationId in an endpoint's docstring: behind `---`, in YAML.

    Args:
        endpoint: a function, or a class with a function for each method.
        method: of the request.
    """
    found = written_as(endpoint)
    if isinstance(found, type):
        of_method: Callable[..., Any] | None = getattr(found, method.lower(), None)
        if of_method is None and method == "HEAD":
            of_method = getattr(found, "get", None)
        found = of_method
    text = inspect.getdoc(found) if found is not None else None
    if not text or "operationId" not in text[:_LONGEST]:
        return None
    match = _DOCUMENTED.search(text[:_LONGEST])
    return None if match is None else match[1]
