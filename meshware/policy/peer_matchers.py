"""The tests that rules make of an authenticated caller: principal, namespace, service account.

1. Nobody is a value like any other: without an authenticated caller no value matches, `principals`
   never hold and `notPrincipals` always do, for DENY as for ALLOW (as in Istio).
2. A principal of our own trust domain, of one of its aliases or of `cluster.local` stands for the
   same one of all of them. A trust domain that is written with `*` is taken as it stands.
3. What a policy writes is text: a dot in a service account is a dot.

Source: Istio AuthorizationPolicy, Source; "Trust domain migration".
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from meshware.identity.spiffe import SpiffeID
from meshware.policy.document.authorization_policy import Source
from meshware.policy.inbound_facts import Facts
from meshware.policy.match import pattern_test
from meshware.policy.record_types import TRUST_DOMAIN

__all__ = [
    "PEER_KEYS",
    "Home",
    "PeerTest",
    "peer_key_test",
    "source_peer_tests",
    "spread_principals",
    "spread_trust_domains",
]

PeerTest = Callable[[SpiffeID], bool]
"""Say whether a caller that is known is meant."""


@dataclass(frozen=True, slots=True)
class Home:
    """Where a policy stands: what names in it are short for."""

    namespace: str = "default"
    trust_domains: tuple[str, ...] = (TRUST_DOMAIN,)  # our own first, then its aliases
    own: tuple[str, ...] = field(init=False)  # these and Istio's default, each once

    def __post_init__(self) -> None:
        object.__setattr__(self, "own", tuple(dict.fromkeys((*self.trust_domains, TRUST_DOMAIN))))


def source_peer_tests(source: Source, home: Home) -> list[Callable[[Facts], bool]]:
    """Return the tests that a source makes of the caller; all must hold."""
    tests: list[Callable[[Facts], bool]] = []
    for wanted, unwanted, make in (
        (source.principals, source.not_principals, _principals),
        (source.namespaces, source.not_namespaces, _namespaces),
        (source.service_accounts, source.not_service_accounts, _service_accounts),
        (source.trust_domains, source.not_trust_domains, _trust_domains),
    ):
        if wanted:
            tests.append(_holds(make(wanted, home), wanted=True))
        if unwanted:
            tests.append(_holds(make(unwanted, home), wanted=False))
    return tests


def peer_key_test(key: str, values: Sequence[str], home: Home) -> Callable[[Facts], bool]:
    """Return the test of the values of a `when` key that is about the caller."""
    return _holds(PEER_KEYS[key](values, home), wanted=True)


def _holds(test: PeerTest, *, wanted: bool) -> Callable[[Facts], bool]:
    return lambda facts: (facts.peer is not None and test(facts.peer)) is wanted


def _principals(values: Sequence[str], home: Home) -> PeerTest:
    fits = pattern_test(spread_principals(values, home))
    return lambda peer: fits(peer.principal)


def spread_principals(values: Sequence[str], home: Home) -> tuple[str, ...]:
    """Return principals, each of our own trust domain in all of its names."""
    own = home.own
    spread: list[str] = []
    for value in values:
        domain, slash, rest = value.partition("/")
        if slash and domain in own:
            spread += [f"{each}/{rest}" for each in own]
        else:
            spread.append(value)
    return tuple(spread)


def _namespaces(values: Sequence[str], _: Home) -> PeerTest:
    exact = frozenset(value for value in values if "*" not in value)
    globs = tuple(value.split("*") for value in values if "*" in value)

    def test(peer: SpiffeID) -> bool:
        namespace = peer.namespace
        return namespace is not None and (
            namespace in exact or any(_fits(glob, namespace) for glob in globs)
        )

    return test


def _fits(pieces: Sequence[str], text: str) -> bool:
    """Say whether text consists of pieces, in order, with anything between them."""
    first, *middle, last = pieces
    if len(text) < len(first) + len(last) or not text.startswith(first) or not text.endswith(last):
        return False
    at, end = len(first), len(text) - len(last)
    for piece in middle:
        at = text.find(piece, at, end)
        if at < 0:
            return False
        at += len(piece)
    return True


def _service_accounts(values: Sequence[str], home: Home) -> PeerTest:
    pairs = frozenset(
        tuple(value.split("/", 1)) if "/" in value else (home.namespace, value) for value in values
    )
    return lambda peer: (peer.namespace, peer.service_account) in pairs


def _trust_domains(values: Sequence[str], home: Home) -> PeerTest:
    fits = pattern_test(spread_trust_domains(values, home))
    return lambda peer: fits(peer.trust_domain)


def spread_trust_domains(values: Sequence[str], home: Home) -> tuple[str, ...]:
    """Return trust domains, our own in all of its names."""
    own = home.own
    return tuple([each for value in values for each in (own if value in own else (value,))])


PEER_KEYS: dict[str, Callable[[Sequence[str], Home], PeerTest]] = {
    "source.principal": _principals,
    "source.namespace": _namespaces,
    "source.serviceAccount": _service_accounts,
    "source.trustDomain": _trust_domains,
}
"""The `when` keys that are about the caller."""
