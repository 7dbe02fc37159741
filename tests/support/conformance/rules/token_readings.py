"""End users' tokens as Envoy reads them, in place of each difference that the mesh makes."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from meshware.inbound import authn, user_tokens
from meshware.inbound.authn import EndUsers, Identified
from meshware.inbound.head import InboundHead
from meshware.inbound.peer import Refused
from meshware.inbound.token_places import _cookies, _params
from meshware.inbound.user_tokens import Believed
from meshware.policy.jwt_rules import Place, UserRules

_NUMBER = user_tokens.number
_AUDIENCES = user_tokens._audiences


def _all_found(head: InboundHead, rules: UserRules) -> list[tuple[Place, Any]]:
    """Every token at each place; what does not begin as its place has it is none."""
    found: list[tuple[Place, Any]] = []
    for place in rules.places:
        tokens: list[Any] = []
        if place.kind == "header":
            tokens = _in_header([x.strip(" \t") for x in head.headers(place.name)], place.prefix)
        else:
            pairs = _params(head, rules.params) if place.kind == "param" else ()
            pairs = _cookies(head, rules.cookies) if place.kind == "cookie" else pairs
            tokens = [value for name, value in pairs if name == place.name][:1]
        found += [(place, token) for token in tokens]
    return found


def _in_header(lines: Sequence[str], prefix: str) -> list[str]:
    if not prefix:
        return list(lines)
    _, mark, rest = ",".join(lines).partition(prefix)
    return [rest] if mark else []


def _one_good_will_do(
    users: EndUsers, head: InboundHead, rules: UserRules, path: str
) -> Identified | Refused:
    """One rule that believes what stands at its places lets every other token pass unseen."""
    found = authn.find_tokens(head, rules)
    sanitised = tuple([name for name in rules.outputs if name in head.names])
    if authn.is_preflight(head.method, head.headers) or not found:
        return Identified(None, sanitised)
    now = users._now()
    asked = [authn._Asked(place, users._ask(token, place, rules, now)) for place, token in found]
    for position in range(len(rules.rules)):
        own = [outcome for one in asked if (outcome := one.by(position)) is not None]
        if own and all(isinstance(outcome, Believed) for outcome in own):
            believed = own[0]
            assert isinstance(believed, Believed)
            gone = authn._gone([one for one in asked if _is_good(one)], position, rules.rules)
            return Identified(believed, sanitised + gone, believed.outputs)
    message, position = authn._first_refusal(asked, len(rules.rules))
    return authn._refused(message, rules.rules[position], head, path)


def _is_good(asked: authn._Asked) -> bool:
    return any(isinstance(outcome, Believed) for outcome in asked.outcomes)


def _without_end(claims: Mapping[str, Any], name: str) -> float | None:
    """A token without an end never ends."""
    found = _NUMBER(claims, name)
    return math.inf if name == "exp" and found is None else found


def _in_other_words(claims: Mapping[str, Any]) -> tuple[str, ...]:
    """An audience is the same with and without a scheme and a slash behind it."""
    found: dict[str, None] = {}
    for audience in _AUDIENCES(claims):
        bare = audience.removeprefix("https://").removeprefix("http://").removesuffix("/")
        found |= dict.fromkeys((audience, bare, f"https://{bare}/", f"https://{bare}"))
    return tuple(found)


TOKEN_READINGS: dict[str, tuple[tuple[Any, str, Callable[..., Any]], ...]] = {
    "one-token-at-a-place": ((authn, "find_tokens", _all_found),),
    "every-token-is-good": ((EndUsers, "identify", _one_good_will_do),),
    "tokens-end": ((user_tokens, "number", _without_end),),
    "audiences-as-written": ((user_tokens, "_audiences", _in_other_words),),
}
