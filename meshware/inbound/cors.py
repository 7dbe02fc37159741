"""Answer browsers about origins. Source: Envoy, CORS filter; Fetch standard, "CORS protocol".

1. A preflight of an origin that may call is answered here, with what it may do.
2. Other requests of such an origin go on, and their responses say so to the browser.
3. Requests of other origins go on as they are: it is the browser that keeps their answers back.
   Their preflights, too, unless policy says that they end here.

It comes after the authorization rules: a preflight that they refuse is refused.
"""

from __future__ import annotations

from meshware.call import HeaderLookup, MessageEdit
from meshware.policy.cors_rule import CorsRule

__all__ = ["Headers", "is_preflight", "preflight", "response_edit"]

Headers = tuple[tuple[str, str], ...]

_ORIGIN = "access-control-allow-origin"
_CREDENTIALS = "access-control-allow-credentials"
_EXPOSED = "access-control-expose-headers"
_ASKED_METHOD = "access-control-request-method"
_ASKED_HEADERS = "access-control-request-headers"
_ASKED_FOR = "*"
# What is said to one origin is not for others: caches are told so. Envoy leaves that to the app.
_VARY = ("vary", "origin")


def is_preflight(method: str, headers: HeaderLookup) -> bool:
    """Say whether a browser asks what it may do."""
    return method == "OPTIONS" and bool(
        _first(headers, "origin") and _first(headers, _ASKED_METHOD)
    )


def preflight(rule: CorsRule, headers: HeaderLookup) -> Headers | None:
    """Return the headers of the answer to a preflight; None: it goes on to the app."""
    origin = _first(headers, "origin")
    if not rule.allows(origin):
        return () if rule.answers_unmatched else None
    answer = [(_ORIGIN, origin), _VARY]
    if rule.has_credentials:
        answer.append((_CREDENTIALS, "true"))
    for name, allowed, asked in (
        ("access-control-allow-methods", rule.methods, _ASKED_METHOD),
        ("access-control-allow-headers", rule.headers, _ASKED_HEADERS),
    ):
        value = _first(headers, asked) if allowed == _ASKED_FOR else allowed
        if value:
            answer.append((name, value))
    if rule.max_age is not None:
        answer.append(("access-control-max-age", rule.max_age))
    return tuple(answer)


def response_edit(rule: CorsRule, headers: HeaderLookup) -> MessageEdit | None:
    """Return what a response says to the browser in place of what the app says; None: nothing."""
    origin = _first(headers, "origin")
    if not origin or not rule.allows(origin):
        return None
    said = [(_ORIGIN, origin)]
    if rule.has_credentials:
        said.append((_CREDENTIALS, "true"))
    if rule.exposed is not None:
        said.append((_EXPOSED, rule.exposed))
    return MessageEdit(frozenset(name for name, _ in said), (*said, _VARY))


def _first(headers: HeaderLookup, name: str) -> str:
    found = headers(name)
    return found[0] if found else ""
