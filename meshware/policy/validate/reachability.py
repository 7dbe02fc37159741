"""Find routes and match blocks that no call ever reaches, because an earlier one takes all of it.

A block is a set of conditions that must all hold, so an earlier block takes everything of a later
one when each of its conditions follows from the later one's. Earlier blocks are kept by their
conditions other than the path; a later block looks up the subsets of its own. That is linear in
the blocks, where comparing each with each would not be.

Only what is certain is told: of two regular expressions, equal ones.
Source: Istio, `analyzeUnreachableHTTPRules`, which compares prefixes and equal blocks.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import combinations

from meshware.policy.codes import INEFFECTIVE_MATCH, UNREACHABLE_RULE
from meshware.policy.document.common import StringMatch
from meshware.policy.document.virtual_service import HTTPMatchRequest, VirtualServiceSpec
from meshware.policy.parse import Resource
from meshware.policy.validate.common import Report
from meshware.policy.validate.route_match import MESH

__all__ = ["check_reachability"]

Condition = tuple[str, ...]
"""What is looked at, and what it must be: `("header", "x-user", "exact", "jason")`."""

_MOST_CONDITIONS = 6  # of a block whose subsets are looked up: 64 look-ups
_PRESENT = "present"


def check_reachability(resource: Resource, spec: VirtualServiceSpec, report: Report) -> None:
    """Report the routes and match blocks of a VirtualService that earlier ones leave nothing to."""
    earlier = _Earlier()
    for index, route in enumerate(spec.http or ()):
        path = f"spec.http[{index}]"
        if route.delegate is not None:
            continue  # what it leaves over depends on its delegate
        blocks = route.match or (HTTPMatchRequest(),)
        if not all(_is_for_mesh(block, spec) for block in blocks):
            continue  # in part for gateways only: what is left for whom is not worth a guess
        found = [earlier.taker(block, (index, at)) for at, block in enumerate(blocks)]
        takers = [taker for taker in found if taker is not None]
        if len(takers) == len(blocks) and all(taker[0] < index for taker in takers):
            report.warning(
                resource,
                path,
                f"no call comes to this route: {_shown(takers, spec)} before it; put it before "
                "that one, or remove it",
                UNREACHABLE_RULE,
            )
            continue
        for at, taker in enumerate(found):
            if taker is not None:
                report.warning(
                    resource,
                    f"{path}.match[{at}]",
                    f"no call comes to this match: {_shown([taker], spec)} before it; put it "
                    "before that one, or remove it",
                    INEFFECTIVE_MATCH,
                )


def _is_for_mesh(block: HTTPMatchRequest, spec: VirtualServiceSpec) -> bool:
    gateways = block.gateways or spec.gateways
    return not gateways or MESH in gateways


Place = tuple[int, int]
"""The index of a route, and of a block in it."""


def _shown(takers: Iterable[Place], spec: VirtualServiceSpec) -> str:
    places = []
    for route, block in dict.fromkeys(takers):
        has_match = spec.http is not None and spec.http[route].match
        places.append(f"http[{route}].match[{block}]" if has_match else f"http[{route}]")
    verb = "takes" if len(places) == 1 else "take"
    return f"{' and '.join(places)} {verb} all of them"


@dataclass(slots=True)
class _Paths:
    """The paths that earlier blocks take whose other conditions are the same."""

    every: Place | None = None  # takes any path
    exact: dict[str, Place] = field(default_factory=dict)
    prefix: dict[str, Place] = field(default_factory=dict)
    regex: dict[str, Place] = field(default_factory=dict)
    lengths: set[int] = field(default_factory=set)  # of the prefixes

    def add(self, uri: StringMatch | None, place: Place) -> None:
        if uri is None or _takes_any_path(uri):
            self.every = self.every or place
        elif uri.exact is not None:
            self.exact.setdefault(uri.exact, place)
        elif uri.prefix is not None:
            self.prefix.setdefault(uri.prefix, place)
            self.lengths.add(len(uri.prefix))
        elif uri.regex is not None:
            self.regex.setdefault(uri.regex, place)

    def taker(self, uri: StringMatch | None) -> Place | None:
        if self.every is not None or uri is None:
            return self.every
        if uri.regex is not None:
            return self.regex.get(uri.regex)
        if uri.exact is not None:
            return self.exact.get(uri.exact) or self._prefix_of(uri.exact)
        return self._prefix_of(uri.prefix) if uri.prefix is not None else None

    def _prefix_of(self, text: str) -> Place | None:
        for length in self.lengths:
            found = self.prefix.get(text[:length]) if length <= len(text) else None
            if found is not None:
                return found
        return None


class _Earlier:
    """The blocks so far."""

    def __init__(self) -> None:
        # By the conditions other than the path; with and without regard to the case of paths.
        self._exactly: dict[frozenset[Condition], _Paths] = {}
        self._folded: dict[frozenset[Condition], _Paths] = {}

    def taker(self, block: HTTPMatchRequest, place: Place) -> Place | None:
        """Return the block that takes all calls of this one; keep this one where there is none."""
        if _is_contradictory(block):
            return None
        conditions = frozenset(_conditions(block))
        uri, folded = block.uri, _folded(block.uri)
        ignores_case = bool(block.ignore_uri_case) and (uri is None or uri.regex is None)
        for subset in _subsets(conditions):
            wider = self._folded.get(subset)
            found = wider.taker(folded) if wider is not None else None
            same = self._exactly.get(subset)
            if found is None and same is not None:
                # What ignores case takes more than any path that does not, save for all of them.
                found = same.every if ignores_case else same.taker(uri)
            if found is not None:
                return found
        known = self._folded if ignores_case else self._exactly
        known.setdefault(conditions, _Paths()).add(folded if ignores_case else uri, place)
        return None


def _folded(uri: StringMatch | None) -> StringMatch | None:
    """Return a path's match in lower case; a regex, which never ignores case, as it is."""
    if uri is None or uri.regex is not None:
        return uri
    if uri.exact is not None:
        return StringMatch(exact=uri.exact.lower())
    return StringMatch(prefix=uri.prefix.lower()) if uri.prefix is not None else uri


def _takes_any_path(uri: StringMatch) -> bool:
    return uri.prefix in ("", "/") or uri.regex in (".*", "*") or uri == StringMatch()


def _is_contradictory(block: HTTPMatchRequest) -> bool:
    """Say whether a block is wrong in itself, which is told elsewhere."""
    matches = (block.uri, block.scheme, block.method, block.authority)
    return any(
        sum(value is not None for value in (match.exact, match.prefix, match.regex)) > 1
        for match in matches
        if match is not None
    )


def _subsets(conditions: frozenset[Condition]) -> Iterator[frozenset[Condition]]:
    """Yield what a wider block may ask for: fewer conditions, or that something is there at all."""
    if len(conditions) > _MOST_CONDITIONS:
        yield conditions
        yield frozenset()
        return
    for count in range(len(conditions), -1, -1):
        for chosen in combinations(sorted(conditions), count):
            yield frozenset(chosen)
            present = frozenset(_presence(condition) for condition in chosen)
            if present != frozenset(chosen):
                yield present


def _presence(condition: Condition) -> Condition:
    """Return the weakest form of a condition: a header or parameter is there."""
    if condition[0] in ("header", "parameter"):
        return (*condition[:2], _PRESENT)
    return condition


def _conditions(block: HTTPMatchRequest) -> Iterator[Condition]:
    """Yield all conditions of a block but the one on the path."""
    if block.port is not None:
        yield ("port", str(block.port))
    if not block.gateways:  # else Istio does not look at the source
        if block.source_namespace:
            yield ("namespace", block.source_namespace)
        for name, value in (block.source_labels or {}).items():
            yield ("label", name, value)
    for attribute in ("scheme", "method", "authority"):
        match: StringMatch | None = getattr(block, attribute)
        if match is not None and match != StringMatch():
            yield (attribute, *_said(match))
    for name, match in (block.headers or {}).items():
        yield ("header", name.lower(), *_said(match))
    for name, match in (block.without_headers or {}).items():
        yield ("without", name.lower(), *_said(match))
    for name, match in (block.query_params or {}).items():
        yield ("parameter", name, *_said(match))


def _said(match: StringMatch) -> tuple[str, ...]:
    if match.exact is not None:
        return ("exact", match.exact)
    if match.prefix is not None:
        return ("prefix", match.prefix)
    if match.regex is not None and match.regex != "*":
        return ("regex", match.regex)
    return (_PRESENT,)
