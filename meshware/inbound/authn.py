"""Who is behind a call, by the tokens that it bears. Source: Istio, RequestAuthentication.

A call that bears no token at any place where policy looks is let through, and is nobody's: whether
it has to be somebody's is for the authorization rules. Else it has to be that

1. each token is believed by a rule that looks where it stands, and
2. one rule believes every token at its own places.

The second is Istio's, the first is stricter: there a token that is good by one rule lets others
pass unseen. The first such rule, by issuer, says who it is: by the first of its tokens, of headers,
then parameters, then cookies.

A browser's question about origins bears no token, and passes. Headers that rules set for the app
are taken from every call, whoever makes it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import NamedTuple
from urllib.parse import quote

import msgspec

from meshware.inbound.cors import is_preflight
from meshware.inbound.head import InboundHead
from meshware.inbound.peer import Refused
from meshware.inbound.token_places import SEVERAL, Found, find_tokens
from meshware.inbound.user_tokens import (
    AUDIENCE,
    UNKNOWN_ISSUER,
    Believed,
    Outcome,
    UserTokens,
    Wrong,
)
from meshware.policy.jwt_rules import Place, UserRule, UserRules

__all__ = ["NO_USER", "EndUsers", "Identified"]

_SEVERAL = "Found multiple Jwt tokens"
_MOST_REALM = 256  # characters of the path; Envoy's
_BLANKS = re.compile(r"\s")


class Identified(msgspec.Struct, frozen=True, eq=False):
    """Who is behind a call, and what changes in what the app gets."""

    believed: Believed | None = None  # None: no token came
    remove: tuple[str, ...] = ()  # headers, in lower case
    add: tuple[tuple[str, str], ...] = ()

    def __repr__(self) -> str:
        return f"<Identified {self.believed!r}>"  # headers for the app may hold the token's claims


NO_USER = Identified()


class _Asked(NamedTuple):
    """A token, and what the rules of its place make of it."""

    place: Place
    outcomes: Sequence[Outcome]

    def by(self, position: int) -> Outcome | None:
        """Return what one rule makes of it; None: it does not look there."""
        if position not in self.place.rules:
            return None
        return self.outcomes[self.place.rules.index(position)]


class EndUsers:
    """Tells who is behind calls. Safe to use from any thread.

    Args:
        now: returns unix seconds.
        on_unknown_key: is told the address of a key set that lacks a key which a token names.
    """

    def __init__(self, now: Callable[[], float], on_unknown_key: Callable[[str], None]) -> None:
        self._now = now
        self._tokens = UserTokens(on_unknown_key)

    def identify(self, head: InboundHead, rules: UserRules, path: str) -> Identified | Refused:
        """Return who is behind a call, or why it is refused.

        Args:
            head: the call.
            rules: of the workload.
            path: of the call, encoded, for the answer to say what was asked for.
        """
        sanitised: tuple[str, ...] = ()
        if rules.outputs:
            sanitised = tuple([name for name in rules.outputs if name in head.names])
        if head.method == "OPTIONS" and is_preflight(head.method, head.headers):
            # What nobody verifies is nothing for the app.
            borne = [place.name for place in rules.headers if place.name in head.names]
            return Identified(None, (*sanitised, *borne))
        found = find_tokens(head, rules)
        if not found:
            return Identified(None, sanitised) if sanitised else NO_USER
        now = self._now()
        if len(found) == 1:  # as with nearly every call; the same as below, in fewer steps
            place, token = found[0]
            outcomes = self._ask(token, place, rules, now)
            for position, outcome in zip(place.rules, outcomes):  # noqa: B905 - it takes longer
                if not isinstance(outcome, str):
                    if place.kind == "header" and not rules.rules[position].is_forwarded:
                        sanitised = (*sanitised, place.name)
                    return Identified(outcome, sanitised, outcome.outputs)
            message, position = _telling(place, outcomes)
            return _refused(message, rules.rules[position], head, path)
        asked = [_Asked(place, self._ask(token, place, rules, now)) for place, token in found]
        for one in asked:
            if not any(isinstance(outcome, Believed) for outcome in one.outcomes):
                message, position = _telling(one.place, one.outcomes)
                return _refused(message, rules.rules[position], head, path)
        for position in range(len(rules.rules)):
            own = [each for one in asked if (each := one.by(position)) is not None]
            believed = [each for each in own if isinstance(each, Believed)]
            if own and len(believed) == len(own):
                gone = _gone(asked, position, rules.rules)
                return Identified(believed[0], sanitised + gone, believed[0].outputs)
        message, position = _first_refusal(asked, len(rules.rules))
        return _refused(message, rules.rules[position], head, path)

    def _ask(self, token: Found, place: Place, rules: UserRules, now: float) -> tuple[Outcome, ...]:
        if token is SEVERAL:
            return (_SEVERAL,) * len(place.rules)
        return self._tokens.outcomes(token, place, rules, now)


def _telling(place: Place, outcomes: Sequence[Outcome]) -> tuple[str, int]:
    """Return why nobody believes a token, and which rule says so.

    The first one that knows its issuer, if any does.
    """
    said = [
        (outcome, position)
        for outcome, position in zip(outcomes, place.rules, strict=True)
        if isinstance(outcome, str)
    ]
    return next((one for one in said if one[0] != UNKNOWN_ISSUER), said[0])


def _first_refusal(asked: Sequence[_Asked], count: int) -> tuple[str, int]:
    """Return why no rule believes all the tokens at its places, although each is believed."""
    return next(
        (outcome, position)
        for position in range(count)
        for one in asked
        if isinstance(outcome := one.by(position), str)
    )


def _gone(asked: Sequence[_Asked], position: int, rules: Sequence[UserRule]) -> tuple[str, ...]:
    """Return the headers with tokens that the app does not get.

    Of each token the rule that says who it is decides, else the first that believes it.
    """
    gone = []
    for one in asked:
        if one.place.kind != "header":
            continue  # Envoy leaves the query as it is, and cookies
        by = position if isinstance(one.by(position), Believed) else None
        if by is None:
            by = next(each for each in one.place.rules if isinstance(one.by(each), Believed))
        if not rules[by].is_forwarded:
            gone.append(one.place.name)
    return tuple(gone)


def _refused(message: str, rule: UserRule, head: InboundHead, path: str) -> Refused:
    """Return Envoy's answer to a token that is not good."""
    reason = f"jwt_authn_access_denied{{{_BLANKS.sub('_', message)}}}"
    hosts = head.headers("host")
    scheme = "https" if head.scheme in ("https", "wss") else "http"
    # Without the query, which Envoy repeats: a token may stand in it.
    where = f"{scheme}://{hosts[0].strip() if hosts else ''}{quote(path, _PLAIN)[:_MOST_REALM]}"
    return Refused(
        reason,
        403 if message == AUDIENCE else 401,
        message,
        (
            ("content-type", "text/plain"),
            ("www-authenticate", f'Bearer realm="{where}", error="invalid_token"'),
        ),
        detail=message.why if isinstance(message, Wrong) else None,
        policy=rule.policy,
        rule=rule.position,
    )


_PLAIN = "/%:;,@!$&'()*+=[]~"
"""Of a path, besides letters and digits, what stays as it is in a quoted text."""
