"""Compile an Istio HTTPMatchRequest into one predicate over an outbound request.

What is known when the table is compiled (the port dialled, the client's namespace and labels) is
settled by `refusal`; what differs from call to call by the predicate of `request_matcher`. It is
put together of `conditions`, which can be asked one by one why they do not hold.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial

from meshware.call import RequestHead
from meshware.policy.document.common import StringMatch
from meshware.policy.document.virtual_service import HTTPMatchRequest
from meshware.policy.labels import why_not_selected
from meshware.policy.match import string_matcher
from meshware.policy.view import Client

__all__ = ["Condition", "conditions", "refusal", "request_matcher"]

Predicate = Callable[[RequestHead], bool]
Test = Callable[[str], bool]

# Istio: these header keys stand for pseudo-headers and are not looked at.
_PSEUDO = frozenset({"uri", "scheme", "method", "authority"})
_MOST_SHOWN = 80  # characters of a value, and values of a header


@dataclass(frozen=True, slots=True)
class Condition:
    """One condition of a match block.

    Attributes:
        place: what is looked at, "header x-user".
        wanted: what it must be, 'exact "alice"'.
        make: makes the predicate out of a test of the text; None asks only for presence.
        test: the one in force.
    """

    place: str
    wanted: str
    make: Callable[[Test | None], Predicate]
    test: Test | None

    def predicate(self) -> Predicate:
        """Return what decides."""
        return self.make(self.test)

    def why_not(self, head: RequestHead) -> str | None:
        """Return why the condition does not hold, in words; None: it holds.

        What the call has there is found by the predicate itself, made with a test that looks on.
        """
        if self.predicate()(head):
            return None
        seen: list[str] = []

        def look(text: str) -> bool:
            seen.append(text)
            return False

        self.make(look)(head)
        found = ", ".join(map(_shown, seen[:_MOST_SHOWN])) if seen else "absent"
        return f"{self.place} is {found}, wanted {self.wanted}"


def refusal(
    block: HTTPMatchRequest | None,
    gateways: tuple[str, ...] | None,
    port: int,
    client: Client,
) -> str | None:
    """Return why a match block is not for this client and port at all; None: it is.

    A block's own `gateways` replace those of the VirtualService, and then its source conditions
    are not looked at. Source: Istio, `sourceMatchHTTP`.
    """
    effective = gateways
    if block is not None and block.gateways:
        effective = block.gateways
    if effective and "mesh" not in effective:
        return f"gateways are {', '.join(effective)}, without mesh: it is for gateways alone"
    if block is None:
        return None
    if block.port is not None and block.port != port:
        return f"port is {port}, wanted {block.port}"
    if block.gateways:
        return None
    if block.source_namespace and block.source_namespace != client.namespace:
        return f"sourceNamespace is {client.namespace}, wanted {block.source_namespace}"
    unlike = why_not_selected(block.source_labels, client.labels)
    return None if unlike is None else f"sourceLabels: {unlike}"


def request_matcher(block: HTTPMatchRequest) -> Predicate | None:
    """Return the predicate of a match block: all its conditions hold. None: it takes everything."""
    tests = [condition.predicate() for condition in conditions(block)]
    if not tests:
        return None
    if len(tests) == 1:
        return tests[0]
    every = tuple(tests)

    def all_hold(head: RequestHead) -> bool:
        return all(test(head) for test in every)

    return all_hold


def conditions(block: HTTPMatchRequest) -> Iterator[Condition]:
    """Yield the conditions of a match block, in the order in which they are asked."""
    if block.uri is not None and not _takes_all(block.uri):
        # Istio: ignoreUriCase is for exact and prefix only.
        ignores_case = bool(block.ignore_uri_case) and block.uri.regex is None
        test = string_matcher(block.uri, ignore_case=ignores_case)
        wanted = _wanted(block.uri) + (" in any case" if ignores_case else "")
        yield Condition("path", wanted, _path, test)
    if block.method is not None:
        yield _attribute_condition("method", block.method)
    if block.scheme is not None:
        yield _attribute_condition("scheme", block.scheme)
    if block.authority is not None:
        yield _attribute_condition("authority", block.authority)
    yield from _header_conditions(block.headers or {}, is_wanted=True)
    yield from _header_conditions(block.without_headers or {}, is_wanted=False)
    for name, match in (block.query_params or {}).items():
        yield Condition(
            f"query parameter {name}", _wanted(match), partial(_query, name), _test_of(match)
        )


def _attribute_condition(name: str, match: StringMatch) -> Condition:
    return Condition(name, _wanted(match), partial(_attribute, name), string_matcher(match))


def _header_conditions(
    matches: Mapping[str, StringMatch], *, is_wanted: bool
) -> Iterator[Condition]:
    for written, match in matches.items():
        name = written.lower()
        if name in _PSEUDO:
            continue
        wanted = _wanted(match)
        if not is_wanted:
            wanted = "none" if _is_presence(match) else f"anything but {wanted}"
        make = partial(_header, name, is_wanted=is_wanted)
        yield Condition(f"header {name}", wanted, make, _test_of(match))


def _test_of(match: StringMatch) -> Test | None:
    return None if _is_presence(match) else string_matcher(match)


def _wanted(match: StringMatch) -> str:
    """Return what a match asks for, in words."""
    if _is_presence(match):
        return "any value"
    for kind, text in (("exact", match.exact), ("prefix", match.prefix), ("regex", match.regex)):
        if text is not None:
            return f"{kind} {_shown(text)}"
    raise AssertionError("what asks for no text asks for presence")


def _shown(text: str) -> str:
    """Return a text in quotes that does nothing to a terminal, cut where it is long."""
    return json.dumps(text if len(text) <= _MOST_SHOWN else f"{text[:_MOST_SHOWN]}...")


def _is_presence(match: StringMatch) -> bool:
    """Say whether a match asks only that something is there: `{}`, or Istio's regex `*`."""
    if match.regex == "*":
        return True
    return match.exact is None and match.prefix is None and match.regex is None


def _takes_all(match: StringMatch) -> bool:
    return match.prefix == "/" or match.regex in (".*", "*") or _is_presence(match)


# --- predicates -------------------------------------------------------------------------------


def _attribute(name: str, test: Test | None) -> Predicate:
    assert test is not None, "there is always a method, a scheme and an authority"

    def holds(head: RequestHead) -> bool:
        value: str = getattr(head, name)
        return test(value)

    return holds


def _path(test: Test | None) -> Predicate:
    assert test is not None, "there is always a path"

    def holds(head: RequestHead) -> bool:
        return test(head.target.partition("?")[0].partition("#")[0])

    return holds


def _header(name: str, test: Test | None, *, is_wanted: bool) -> Predicate:
    """Match a header line by line, as Envoy does; a line that matches is enough."""
    if test is None:
        return lambda head: bool(head.headers(name)) is is_wanted
    if is_wanted:
        return lambda head: any(test(value) for value in head.headers(name))
    # Istio: under withoutHeaders a missing header counts as an empty value.
    return lambda head: not any(test(value) for value in (head.headers(name) or ("",)))


def _query(name: str, test: Test | None) -> Predicate:
    """Match the first value of a query parameter, name and value still percent-encoded."""

    def holds(head: RequestHead) -> bool:
        query = head.target.partition("?")[2].partition("#")[0]
        for pair in query.split("&"):
            key, _, value = pair.partition("=")
            if key == name:
                return test is None or test(value)
        return False

    return holds
