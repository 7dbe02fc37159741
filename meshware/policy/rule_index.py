"""Find the few entries of a rule set that a call may match, whatever their number.

Theory of operation
-------------------
An entry may be found by several of its fields (`rule_keys`). While compiling, each is put where it
shares its place with the fewest others: ten thousand rules about one path lie by their callers, as
many about one caller by their paths. What still shares a place with many gets an index of its own
there, by the other fields. An entry that names nothing to be found by is always asked.

A look-up asks each dimension that is in use once, of the call's facts, and never of the number of
entries. A fact that is not known finds every entry that asks for it where rules deny, since for
those it holds, and none where they allow.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from meshware.policy.address_index import AddressIndex
from meshware.policy.addresses import parse_address
from meshware.policy.handler_matchers import handler_names
from meshware.policy.inbound_facts import Facts
from meshware.policy.inbound_matchers import ADDRESS_KEYS
from meshware.policy.match import is_path_template
from meshware.policy.pattern_index import Kept, PatternIndex, chain_weights
from meshware.policy.rule_keys import PATH, Dimension, Key, Option
from meshware.policy.template_index import Slot, TemplateIndex, template_slots
from meshware.policy.user_matchers import claim_texts

__all__ = ["RuleIndex"]

_FEW = 8
"""So many entries that share a place are asked one after the other: a look-up costs as much."""

_MANY_NAMES = 8
"""With more names of headers or claims in use, those of the call are gone through instead."""

_WORK_BELOW = 20
"""So many times the values of the root may be weighed again below it: making an index is bounded,
however many values share their places."""

Finder = Callable[[Facts, str], Sequence[int]]
Numbers = tuple[int, ...]
Values = dict[str, list[int]]
Weights = Mapping[str, int]


class RuleIndex:
    """The index of one rule set.

    Args:
        options: of each entry, the ways in which it may be found.
        kept: tells of entries that differ in their paths alone which may decide.
        is_deny: whether the rules refuse: what is not known holds for them.

    Attributes:
        by_path: finds them all by the path alone, in no order; None: it takes more than that.
    """

    __slots__ = ("_root", "by_path")

    def __init__(self, options: Sequence[Sequence[Option]], kept: Kept, *, is_deny: bool) -> None:
        build = _Build(options, kept, is_deny)
        self._root = root = build.node(tuple(range(len(options))), frozenset())
        # With most rules a path is all that it takes.
        is_one = len(root.finders) == 1 and not root.others and not root.below
        self.by_path = build.by_path.get(root.finders[0]) if is_one else None

    def find(self, facts: Facts, path: str) -> Sequence[int]:
        """Return the numbers of the entries that a call for a path may match, in order."""
        found = self._root.find(facts, path)
        return sorted(set(found)) if len(found) > 1 else found


class _Node:
    """Entries, each in its place; numbers below 0 are for the nodes below."""

    __slots__ = ("below", "finders", "others")

    def __init__(self, finders: tuple[Finder, ...], others: Numbers, below: list[_Node]) -> None:
        self.finders, self.others, self.below = finders, others, below

    def find(self, facts: Facts, path: str) -> Sequence[int]:
        found: Sequence[int] = self.others
        for finder in self.finders:
            more = finder(facts, path)
            if more:
                found = (*found, *more) if found else more
        if not self.below or min(found, default=0) >= 0:
            return found
        numbers: list[int] = []
        for number in set(found):
            if number >= 0:
                numbers.append(number)
            else:
                numbers += self.below[-1 - number].find(facts, path)
        return numbers


class _Build:
    """Makes the nodes of an index."""

    def __init__(self, options: Sequence[Sequence[Option]], kept: Kept, is_deny: bool) -> None:
        self._options, self._is_deny = options, is_deny
        self._kept_entries = kept
        self._work = 0
        self._most_work = 0  # of the root comes what all below it may take
        self._nodes: dict[tuple[Numbers, frozenset[Dimension]], _Node] = {}
        self.by_path: dict[Finder, Callable[[str], Sequence[int]]] = {}  # those that need no more

    def node(self, numbers: Numbers, without: frozenset[Dimension]) -> _Node:
        """Return the node of some entries, not found by dimensions that lead to it."""
        known = self._nodes.get((numbers, without))
        if known is None:
            known = self._nodes[(numbers, without)] = self._node(numbers, without)
        return known

    def _node(self, numbers: Numbers, without: frozenset[Dimension]) -> _Node:
        if len(numbers) <= (_FEW if without else 1):
            return _Node((), numbers, [])
        weights = self._weights(numbers, without)
        places: dict[Dimension, Values] = {}
        others: list[int] = []
        for number in numbers:
            keys = _best(self._options[number], weights)
            if keys is None:
                others.append(number)
                continue
            for dimension, values in keys:
                place = places.setdefault(dimension, {})
                for value in values:
                    found = place.get(value)
                    if found is None:
                        place[value] = [number]
                    elif found[-1] != number:
                        found.append(number)
        below: list[_Node] = []
        for dimension, place in places.items():
            self._divide(place, without | {dimension}, below)
        return _Node(self._finders(places, weights), tuple(others), below)

    def _divide(self, place: Values, without: frozenset[Dimension], below: list[_Node]) -> None:
        """Give what shares its place with many an index of its own."""
        for value, found in place.items():
            if len(found) <= _FEW:
                continue
            if self._work > self._most_work:
                return
            node = self.node(tuple(found), without)
            if node.finders:
                if node not in below:
                    below.append(node)
                place[value] = [-1 - below.index(node)]

    def _weights(
        self, numbers: Numbers, without: frozenset[Dimension]
    ) -> dict[Dimension, dict[str, int]]:
        """Return how many entries share the place of each value, by dimension."""
        counts: dict[Dimension, dict[str, int]] = {}
        for number in numbers:
            for option in self._options[number]:
                for alternative in option:
                    for dimension, values in alternative:
                        if dimension in without:
                            continue
                        counted = counts.get(dimension)
                        if counted is None:
                            counted = counts[dimension] = {}
                        self._work += len(values)
                        for value in values:
                            counted[value] = counted.get(value, 0) + 1
        if not self._most_work:
            self._most_work = _WORK_BELOW * (self._work + len(numbers))
        for dimension, counted in counts.items():
            if dimension[0] != "ip":
                _weigh(counted, dimension)
        return counts

    # --- finders ------------------------------------------------------------------------------

    def _finders(
        self, places: dict[Dimension, Values], weights: Mapping[Dimension, Weights]
    ) -> tuple[Finder, ...]:
        finders: list[Finder] = []
        headers: dict[str, PatternIndex] = {}
        claims: dict[tuple[str, ...], PatternIndex] = {}
        for dimension, place in places.items():
            if dimension == PATH:
                finders += self._path_finders(place)
            elif dimension[0] == "ip":
                finders.append(self._address_finder(f"{dimension[1]}.ip", place))
            elif dimension[0] == "header":
                headers[dimension[1]] = PatternIndex(place)
            elif dimension[0] == "claim":
                claims[dimension[1:]] = PatternIndex(place)
            elif dimension[0] in _CERTAIN:
                finders.append(_text_finder(_CERTAIN[dimension[0]], PatternIndex(place)))
            else:
                finders.append(self._uncertain_finder(dimension[0], place))
        finders += _header_finders(headers, is_deny=self._is_deny)
        finders += _claim_finders(claims)
        return tuple(finders)

    def _path_finders(self, place: Values) -> list[Finder]:
        plain = {value: found for value, found in place.items() if not is_path_template(value)}
        templates = {value: found for value, found in place.items() if value not in plain}
        finders: list[Finder] = []
        if plain:
            finders.append(self._finder(PatternIndex(plain, self._kept_numbers).finder()))
        if templates:
            finders.append(self._finder(TemplateIndex(_slotted(templates)).find))
        return finders

    def _finder(self, find: Callable[[str], Sequence[int]]) -> Finder:
        def by_path(_: Facts, path: str) -> Sequence[int]:
            return find(path)

        self.by_path[by_path] = find
        return by_path

    def _kept_numbers(self, numbers: Sequence[int]) -> Numbers:
        if len(numbers) == 1:
            return tuple(numbers)
        entries = [number for number in numbers if number >= 0]
        return (*(number for number in numbers if number < 0), *self._kept_entries(entries))

    def _unknown(self, place: Values) -> Numbers:
        """Return what a fact that is not known finds."""
        if not self._is_deny:
            return ()
        return tuple({number for found in place.values() for number in found})

    def _address_finder(self, key: str, place: Values) -> Finder:
        index, unknown, fact = AddressIndex(place), self._unknown(place), ADDRESS_KEYS[key]

        def find(facts: Facts, _: str) -> Sequence[int]:
            address = parse_address(fact(facts))
            return unknown if address is None else index.find(address)

        return find

    def _uncertain_finder(self, name: str, place: Values) -> Finder:
        index, unknown, texts_of = PatternIndex(place), self._unknown(place), _UNCERTAIN[name]

        def find(facts: Facts, _: str) -> Sequence[int]:
            texts = texts_of(facts)
            if texts is None:
                return unknown
            found: Sequence[int] = ()
            for text in texts:
                more = index.find(text)
                if more:
                    found = (*found, *more) if found else more
            return found

        return find


def _best(
    options: Sequence[Option], weights: Mapping[Dimension, Weights]
) -> tuple[Key, ...] | None:
    """Return the keys by which an entry shares its place with the fewest others; None: it has none.

    Among equals it is the first.
    """
    best: tuple[Key, ...] | None = None
    least = 0
    for option in options:
        keys: list[Key] = []
        heaviest = 0
        for alternative in option:
            lightest: Key | None = None
            lowest = 0
            for key in alternative:
                known = weights.get(key[0])
                if known is None:
                    continue  # it leads here
                weight = max([known[value] for value in key[1]])
                if lightest is None or weight < lowest:
                    lightest, lowest = key, weight
            if lightest is None:
                break
            keys.append(lightest)
            heaviest = max(heaviest, lowest)
        else:
            if best is None or heaviest < least:
                best, least = tuple(keys), heaviest
            if least == 1:
                break
    return best


# --- weights ----------------------------------------------------------------------------------


def _weigh(counted: dict[str, int], dimension: Dimension) -> None:
    """Turn counts of entries by value into how many a call that has the value finds."""
    prefixes: dict[str, int] = {}
    suffixes: dict[str, int] = {}
    templates: list[str] = []
    for value, count in counted.items():
        if value.startswith("*"):
            suffixes[value[:0:-1]] = count
        elif dimension == PATH and is_path_template(value):
            templates.append(value)
        elif value.endswith("*"):
            prefixes[value[:-1]] = count
    for prefix, weight in chain_weights(prefixes).items():
        counted[f"{prefix}*"] = weight
    for suffix, weight in chain_weights(suffixes).items():
        counted[f"*{suffix[::-1]}"] = weight
    if templates:
        slots = _slot_counts({value: counted[value] for value in templates})
        for value in templates:
            counted[value] = min(slots[slot] for slot in template_slots(value))


def _slot_counts(templates: Mapping[str, int]) -> dict[Slot, int]:
    counts: dict[Slot, int] = {}
    for value, count in templates.items():
        for slot in template_slots(value):
            counts[slot] = counts.get(slot, 0) + count
    return counts


def _slotted(templates: Values) -> dict[Slot, list[int]]:
    """Put each template where it shares its place with the fewest."""
    counts = _slot_counts({value: len(found) for value, found in templates.items()})
    slotted: dict[Slot, list[int]] = {}
    for value, found in templates.items():
        slot = min(template_slots(value), key=counts.__getitem__)
        slotted.setdefault(slot, []).extend(found)
    return slotted


# --- facts ------------------------------------------------------------------------------------


def _principal(facts: Facts) -> str | None:
    return None if facts.peer is None else facts.peer.principal


def _namespace(facts: Facts) -> str | None:
    return None if facts.peer is None else facts.peer.namespace


def _account(facts: Facts) -> str | None:
    peer = facts.peer
    if peer is None or peer.namespace is None:
        return None
    return f"{peer.namespace}/{peer.service_account}"


_CERTAIN: dict[str, Callable[[Facts], str | None]] = {
    "method": lambda facts: facts.method,
    "principal": _principal,
    "account": _account,
    "namespace": _namespace,
    "trust domain": lambda facts: None if facts.peer is None else facts.peer.trust_domain,
    "user": lambda facts: None if facts.user is None else facts.user.principal,
    "presenter": lambda facts: None if facts.user is None else facts.user.presenter,
}
"""Facts that are always known, if only not to be there: None, and no value matches."""

_UNCERTAIN: dict[str, Callable[[Facts], Sequence[str] | None]] = {
    "host": lambda facts: facts.hosts() or None,
    "route": lambda facts: handler_names(facts, "routes"),
    "function": lambda facts: handler_names(facts, "functions"),
    "operation": lambda facts: handler_names(facts, "operation_ids"),
    "port": lambda facts: None if facts.port is None else (str(facts.port),),
    "sni": lambda facts: None if facts.sni is None else (facts.sni,),
    "audience": lambda facts: () if facts.user is None else facts.user.audiences,
}
"""Facts that may have several readings, or not be known: None."""


def _text_finder(fact: Callable[[Facts], str | None], index: PatternIndex) -> Finder:
    def find(facts: Facts, _: str) -> Sequence[int]:
        text = fact(facts)
        return () if text is None else index.find(text)

    return find


def _header_finders(indexes: dict[str, PatternIndex], *, is_deny: bool) -> list[Finder]:
    if not indexes:
        return []

    def find(facts: Facts, _: str) -> Sequence[int]:
        found: list[int] = []
        names = facts.names
        if names is None or len(indexes) <= _MANY_NAMES:
            names = tuple(indexes)
        for name in names:
            index = indexes.get(name)
            values = None if index is None else facts.values(name)
            if index is None or values is None:
                continue
            # An ALLOW rule takes the line as a whole, or each of its parts.
            for text in values.readings if is_deny else (values.joined, values.parts[0]):
                found += index.find(text)
        return found

    return [find]


def _claim_finders(indexes: dict[tuple[str, ...], PatternIndex]) -> list[Finder]:
    if not indexes:
        return []
    if len(indexes) <= _MANY_NAMES:

        def find_few(facts: Facts, _: str) -> Sequence[int]:
            found: list[int] = []
            if facts.user is not None:
                for names, index in indexes.items():
                    for text in claim_texts(facts.user.claims, names):
                        found += index.find(text)
            return found

        return [find_few]
    tree: dict[str, Any] = {}
    for names, index in indexes.items():
        branch = tree
        for name in names:
            branch = branch.setdefault(name, {})
        branch[_HERE] = index

    def find(facts: Facts, _: str) -> Sequence[int]:
        found: list[int] = []
        if facts.user is not None:
            _walk(facts.user.claims, tree, found)
        return found

    return [find]


_HERE = ""  # no claim of a key has an empty name


def _walk(claims: Mapping[str, object], branch: Mapping[str, Any], found: list[int]) -> None:
    """Look up the claims that both a token and the rules name."""
    for name in claims if len(claims) < len(branch) else branch:
        below = branch.get(name) if name != _HERE else None
        if below is None or name not in claims:
            continue
        index = below.get(_HERE)
        if index is not None:
            for text in claim_texts(claims, (name,)):
                found += index.find(text)
        value = claims[name]
        if isinstance(value, Mapping) and len(below) > (index is not None):
            _walk(value, below, found)
