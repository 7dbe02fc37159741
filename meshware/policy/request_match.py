"""Compile an Istio HTTPMatchRequest into one predicate over an outbound request.

What is known when the table is compiled (the port dialled, the client's namespace and labels) is
settled by `usable`; what differs from call to call by the predicate of `request_matcher`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from meshware.call import RequestHead
from meshware.policy.document.common import StringMatch
from meshware.policy.document.virtual_service import HTTPMatchRequest
from meshware.policy.labels import selects
from meshware.policy.match import string_matcher
from meshware.policy.view import Client

__all__ = ["request_matcher", "usable"]

Predicate = Callable[[RequestHead], bool]
Test = Callable[[str], bool]

# Istio: these header keys stand for pseudo-headers and are not looked at.
_PSEUDO = frozenset({"uri", "scheme", "method", "authority"})


def usable(
    block: HTTPMatchRequest | None,
    gateways: tuple[str, ...] | None,
    port: int,
    client: Client,
) -> bool:
    """Say whether a match block is for this client and port at all.

    A block's own `gateways` replace those of the VirtualService, and then its source conditions
    are not looked at. Source: Istio, `sourceMatchHTTP`.
    """
    effective = gateways
    if block is not None and block.gateways:
        effective = block.gateways
    if effective and "mesh" not in effective:
        return False
    if block is None:
        return True
    if block.port is not None and block.port != port:
        return False
    if block.gateways:
        return True
    if block.source_namespace and block.source_namespace != client.namespace:
        return False
    return selects(block.source_labels, client.labels)


def request_matcher(block: HTTPMatchRequest) -> Predicate | None:
    """Return the predicate of a match block: all its conditions hold. None: it takes everything."""
    tests: list[Predicate] = []
    if block.uri is not None and not _takes_all(block.uri):
        tests.append(_uri(block.uri, ignore_case=bool(block.ignore_uri_case)))
    if block.method is not None:
        tests.append(_attribute("method", string_matcher(block.method)))
    if block.scheme is not None:
        tests.append(_attribute("scheme", string_matcher(block.scheme)))
    if block.authority is not None:
        tests.append(_attribute("authority", string_matcher(block.authority)))
    tests += _headers(block.headers or {}, wanted=True)
    tests += _headers(block.without_headers or {}, wanted=False)
    for name, match in (block.query_params or {}).items():
        tests.append(_query(name, None if _is_presence(match) else string_matcher(match)))
    if not tests:
        return None
    if len(tests) == 1:
        return tests[0]
    every = tuple(tests)

    def all_hold(head: RequestHead) -> bool:
        return all(test(head) for test in every)

    return all_hold


def _is_presence(match: StringMatch) -> bool:
    """Say whether a match asks only that something is there: `{}`, or Istio's regex `*`."""
    if match.regex == "*":
        return True
    return match.exact is None and match.prefix is None and match.regex is None


def _takes_all(match: StringMatch) -> bool:
    return match.prefix == "/" or match.regex in (".*", "*") or _is_presence(match)


def _attribute(name: str, test: Test) -> Predicate:
    def holds(head: RequestHead) -> bool:
        value: str = getattr(head, name)
        return test(value)

    return holds


def _uri(match: StringMatch, *, ignore_case: bool) -> Predicate:
    # Istio: ignoreUriCase is for exact and prefix only.
    test = string_matcher(match, ignore_case=ignore_case and match.regex is None)

    def holds(head: RequestHead) -> bool:
        return test(head.target.partition("?")[0].partition("#")[0])

    return holds


def _headers(matches: Mapping[str, StringMatch], *, wanted: bool) -> list[Predicate]:
    return [
        _header(name.lower(), None if _is_presence(match) else string_matcher(match), wanted=wanted)
        for name, match in matches.items()
        if name.lower() not in _PSEUDO
    ]


def _header(name: str, test: Test | None, *, wanted: bool) -> Predicate:
    """Match a header line by line, as Envoy does; a line that matches is enough."""
    if test is None:
        return lambda head: bool(head.headers(name)) is wanted
    if wanted:
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
