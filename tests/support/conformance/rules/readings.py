"""Where the mesh reads a request otherwise than Envoy on purpose, and what it decides without that.

Each difference of `meshware.envoy.differences` about rules has here what takes it out of the gate,
so that a decision that differs is explained by the very thing that the page gives for its reason:
the same gate, over Envoy's reading, must say what Envoy says.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest.mock import patch

from conformance.rules.token_readings import TOKEN_READINGS
from meshware.inbound import gate
from meshware.inbound.head import InboundHead
from meshware.inbound.meaning import Meaning
from meshware.inbound.wellformed import split_target
from meshware.policy import inbound_facts, inbound_matchers
from meshware.policy.document.authorization_policy import Condition
from meshware.policy.inbound_facts import Facts
from meshware.policy.match import PathTemplate, Patterns
from meshware.policy.paths import DEFAULT_NORMALIZATION, Normalization, normalise

__all__ = ["COMPILED", "READINGS", "reading"]

COMPILED = frozenset({"rules-on-every-value", "rules-on-what-is-not-known"})
"""Differences that are compiled into rules; the others are made as requests are decided."""


_REMOTE = gate.remote_ip
_TEMPLATE = PathTemplate.__call__
_PATH = re.compile(r"[A-Za-z0-9._~%!$&'()*+,;=:@/-]*")
_ESCAPED_SLASH = re.compile(r"%2[fF]|%5[cC]")
_DOTS = re.compile(r"/((?:\.|%2[eE]){1,2});[^/]*")


def _one_path(head: InboundHead, mode: Normalization | None, _: str | None) -> Meaning | str:
    """The one path that Envoy decides on and hands to the app."""
    mode = mode or DEFAULT_NORMALIZATION
    path = split_target(head.target or "/")
    if mode == "NONE":
        return _only(normalise(path, mode))
    if mode == DEFAULT_NORMALIZATION:
        path = _ESCAPED_SLASH.sub(lambda found: "/" if found[0][1] == "2" else "\\", path)
    # To Envoy a segment of dots may have parameters, and braces are none of a path's letters.
    path = _DOTS.sub(r"/\1", path)
    path = path.replace("{", "%7B").replace("}", "%7D")
    if mode != "BASE" and normalise(path, mode) == "/" and normalise(path, "BASE") != "/":
        return _only("//")  # of slashes alone Envoy leaves two
    return _only(normalise(path, mode))


def _only(path: str | None) -> Meaning | str:
    if path is None:
        return "refused by Envoy"
    return Meaning(candidates=(path,), partial=(), rewritten=path)


def _one_host(authority: str) -> tuple[str, ...]:
    return (authority.lower(),)


def _line_by_line(name: str, condition: Condition, *, is_deny: bool) -> Callable[[Facts], bool]:
    """A header as Envoy reads it: some line is wanted and none unwanted, whatever is in it."""
    wanted = Patterns(condition.values or ("*",), is_empty_present=True)
    unwanted = Patterns(condition.not_values or (), is_empty_present=True)

    def holds(facts: Facts) -> bool:
        lines = [line.strip(" \t") for line in facts.headers(name)]
        is_wanted = condition.values is None or any(wanted(line) for line in lines)
        return is_wanted and not any(unwanted(line) for line in lines)

    return holds


def _no_name(
    values: Sequence[str] | None, not_values: Sequence[str] | None, *, is_deny: bool
) -> Callable[[Facts], bool]:
    """A connection that asks for no name asks for the empty one."""
    wanted, unwanted = Patterns(values or ()), Patterns(not_values or ())
    return lambda facts: (
        (values is None or wanted(facts.sni or "")) and not unwanted(facts.sni or "")
    )


def _peer_at_the_least(head: InboundHead, trusted_hops: int) -> str | None:
    """Where trusted proxies should have said more than they did, the peer is the first caller."""
    return _REMOTE(head, trusted_hops) or head.source_ip


def _of_path_letters(template: PathTemplate, path: str) -> bool:
    return _PATH.fullmatch(path) is not None and _TEMPLATE(template, path)


def _nothing(*_: Any, **__: Any) -> None:
    return None


# What takes each difference out: modules, the name there, and what stands in its place.
READINGS: dict[str, tuple[tuple[Any, str, Callable[..., Any]], ...]] = {
    "rules-on-every-path": ((gate, "meaning_of", _one_path),),
    "rules-on-every-host": ((inbound_facts, "host_forms", _one_host),),
    "rules-on-every-value": ((inbound_matchers, "_header_test", _line_by_line),),
    "rules-on-what-is-not-known": (
        (inbound_matchers, "_sni_test", _no_name),
        (gate, "remote_ip", _peer_at_the_least),
    ),
    "templates-of-any-letters": ((PathTemplate, "__call__", _of_path_letters),),
    **TOKEN_READINGS,
    "one-meaning-only": ((gate, "complaint", _nothing),),
}


@contextmanager
def reading(*names: str) -> Iterator[None]:
    """Take some differences out of the gate."""
    with ExitStack() as stack:
        for name in names:
            for module, attribute, stand_in in READINGS[name]:
                stack.enter_context(patch.object(module, attribute, stand_in))
        yield
