"""What an authorizer is asked about a request, and what its answer comes to. Nothing is sent here.

1. A CUSTOM rule that matches any path that the request may mean has its authorizer asked; several
   authorizers one after the other, by the oldest policy of each, and all of them must allow.
2. A request that may mean several paths is asked about once for each: an authorizer that goes by
   the path must allow every one, as ALLOW rules must.
3. 200 lets in; 5xx, no answer and a late one are errors, which refuse unless policy says
   otherwise; every other answer is the caller's, even where no more of it came than its status.
4. What an authorizer sets, the app and the rules that follow see in place of what the caller sent.
   It never changes what the mesh itself decides by.

Source: Envoy, `ext_authz` with an `http_service` (`RawHttpClientImpl`, `Filter::onComplete`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

import msgspec

from meshware.authz import Allow, Deny, Headers, Request
from meshware.call import HeaderLookup
from meshware.inbound.authz import Verdict
from meshware.inbound.forward import forwarded_cert
from meshware.inbound.head import InboundHead
from meshware.inbound.header_names import OURS
from meshware.inbound.peer import XFCC
from meshware.inbound.question import Question, Told, as_routed
from meshware.inbound.tokens import TOKEN_HEADERS
from meshware.policy.authorizers import FRAMING, Authorizer, HttpAuthorizer
from meshware.policy.edits import edit_for
from meshware.policy.inbound_facts import Facts
from meshware.policy.match import Patterns
from meshware.policy.snapshot import InboundView
from meshware.trace import TRACE_HEADERS, carried, read_context

__all__ = [
    "MOST_READ_S",
    "Check",
    "HttpAnswer",
    "NoAnswer",
    "Outcome",
    "Permit",
    "Refusal",
    "Step",
    "TooLarge",
    "TooSlow",
    "Unfit",
    "Unknown",
    "Unreadable",
    "apply",
    "check_request",
    "ruling",
    "steps",
]

Pairs = tuple[tuple[str, str], ...]

MOST_READ_S = 30.0
"""So long a caller may take to send what an authorizer is shown of its body: what it may do is not
known yet. Envoy answers a slower one with 408, too (`request_timeout`, which has no default)."""

_TO_REMOVE = "x-envoy-auth-headers-to-remove"
_IS_PARTIAL = "x-envoy-auth-partial-body"
# A server adds these to its every answer.
_OF_SERVERS = frozenset({"date", "server"})
# What an authorizer must not change: the mesh decides by it, before or after.
_KEPT = FRAMING | TRACE_HEADERS | {"host", "forwarded", "x-request-id"}
_KEPT_PREFIXES = (*OURS, "x-forwarded-", ":")


class Step(NamedTuple):
    """One question: to whom, about which path, and by which rule."""

    authorizer: Authorizer
    path: str  # encoded
    verdict: Verdict  # of the rule, should the request be refused


@dataclass(frozen=True, slots=True)
class Check:
    """What an authorizer that speaks HTTP is sent. Names in lower case, without lengths."""

    method: str
    host: str  # "" when the request has none
    target: str
    headers: Pairs

    def sized(self, body: bytes | None, *, is_whole: bool) -> Pairs:
        """Return the headers that go with a body; None: none is asked for."""
        sized = (*self.headers, ("content-length", str(len(body or b""))))
        if body is None:
            return sized
        return (*sized, (_IS_PARTIAL, "false" if is_whole else "true"))


# --- outcomes ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """What an authorizer answered over HTTP; names in lower case."""

    status: int
    headers: Pairs
    body: bytes


class NoAnswer(NamedTuple):
    """An authorizer could not be asked, failed, or was late."""

    why: str


class Unfit(NamedTuple):
    """A function was not asked, or answered with what is no answer: it has not allowed anything."""

    why: str


class Unknown(NamedTuple):
    """No function is registered under the authorizer's name."""


class TooLarge(NamedTuple):
    """The body is larger than the authorizer may be shown."""


class TooSlow(NamedTuple):
    """The caller took too long to send as much of its body as the authorizer is shown."""


class Unreadable(NamedTuple):
    """The body could not be read to its end."""


Outcome = HttpAnswer | Allow | Deny | NoAnswer | Unfit | Unknown | TooLarge | TooSlow | Unreadable


class Permit(NamedTuple):
    """An authorizer has nothing against a request."""

    remove: tuple[str, ...] = ()  # of the request's headers, lower case
    add: Pairs = ()
    response: Pairs = ()


class Refusal(NamedTuple):
    """How a request is refused."""

    status: int
    body: bytes
    headers: Pairs
    reason: str | None  # Envoy's response code details; None: those of the rule
    is_theirs: bool = True  # flag UAEX


# --- asking -----------------------------------------------------------------------------------


def steps(own: InboundView, facts: Facts, asked: Question) -> tuple[Step, ...]:
    """Return whom to ask about a request, in order; (): nobody."""
    meaning = asked.meaning
    found: list[Step] = []
    for custom in own.rules.custom:
        for path in (*meaning.candidates, *meaning.partial):
            entry = custom.rules.first(facts, path)
            if entry is not None:
                authorizer = own.authorizers[custom.provider]
                verdict = Verdict(False, entry.policy, entry.rule, entry.key)
                found += (Step(authorizer, about, verdict) for about in meaning.candidates)
                break
    return tuple(found)


def check_request(asked: Question, step: Step) -> Check | Request:
    """Return what an authorizer is asked; a `Request` for a function, without its body."""
    head = asked.head
    hosts = head.headers("host")
    host = hosts[0].strip(" \t") if hosts else ""
    authorizer = step.authorizer
    if not isinstance(authorizer, HttpAuthorizer):
        shown = _shown(asked)
        return Request(
            method=head.method,
            path=step.path,
            query=_query(head),
            host=host,
            scheme=head.scheme,
            headers=Headers(shown, _names_for_functions(head, shown)),
            peer=asked.caller.peer,
            source_ip=head.source_ip,
        )
    query = _query(head)
    path = f"{step.path}?{query}" if query else step.path
    return Check(
        method=head.method,
        host=host,
        target=f"{authorizer.path_prefix}{path}",
        headers=_check_headers(asked, authorizer, host, path),
    )


def _check_headers(asked: Question, authorizer: HttpAuthorizer, host: str, path: str) -> Pairs:
    head, shown = asked.head, _shown(asked)
    names = ["authorization"]
    if authorizer.shows is not None:
        names += (name for name in _names(head) if authorizer.shows(name))
    found = {
        # One line, so that who reads the first alone reads all of it.
        # RFC 9113, 8.2.3: a cookie may come in several lines, and is joined in its own way.
        name: ("; " if name == "cookie" else ",").join(line.strip(" \t") for line in lines)
        for name in names
        if _may_show(name) and (lines := shown(name))
    }
    if asked.request_id is not None:
        found["x-request-id"] = asked.request_id
    formats = ("w3c",) if asked.snapshot is None else asked.snapshot.mesh.propagation
    found.update(carried(read_context(head.headers, formats), formats).headers)
    if authorizer.adds is not None:
        routed = replace(as_routed(asked, host), target=path)
        drop, append = edit_for(authorizer.adds, routed, of_request=False)
        found = {name: value for name, value in found.items() if name not in drop}
        found.update(append)
    return tuple(found.items())


def _shown(asked: Question) -> HeaderLookup:
    """Return the look-up of headers, XFCC being what the app gets and not what the caller says."""
    head, snapshot = asked.head, asked.snapshot

    def shown(name: str) -> tuple[str, ...]:
        if name != XFCC:
            return tuple(head.headers(name))
        if snapshot is None or snapshot.mesh.forward_cert == "SANITIZE":
            return ()
        return tuple(value for _, value in forwarded_cert(head, asked.caller, snapshot))

    return shown


def _names(head: InboundHead) -> tuple[str, ...]:
    # WSGI keeps one apart from the headers; XFCC is made here, whether or not the caller sent it.
    return tuple(dict.fromkeys((*head.names, "content-type", XFCC)))


def _names_for_functions(head: InboundHead, shown: HeaderLookup) -> Iterator[str]:
    return (name for name in _names(head) if (name == "host" or _may_show(name)) and shown(name))


def _may_show(name: str) -> bool:
    if name == XFCC:
        return True
    plain = name.replace("_", "-")
    return (
        name == plain
        and plain != "host"
        and plain not in FRAMING
        and plain not in TOKEN_HEADERS
        and not plain.startswith(OURS)
    )


def _query(head: InboundHead) -> str:
    # ASGI has it apart from its raw path.
    return (head.target or "").partition("?")[2] if head.query is None else head.query


# --- what an answer comes to ------------------------------------------------------------------


def ruling(authorizer: Authorizer, outcome: Outcome) -> Permit | Refusal:
    """Return what an answer comes to."""
    match outcome:
        case Allow(headers=headers):
            return Permit(*_settable((), headers))  # type: ignore[arg-type]
        case Deny(status=status, body=body, headers=headers):
            content = body.encode() if isinstance(body, str) else body
            return _relayed(status, content, headers, None)  # type: ignore[arg-type]
        case HttpAnswer() if isinstance(authorizer, HttpAuthorizer):
            return _of_http(authorizer, outcome)
        case TooLarge():
            return Refusal(413, b"Payload Too Large", _TEXT, "request_payload_too_large", False)
        case TooSlow():
            return Refusal(408, b"Request Timeout", _TEXT, "request_overall_timeout", False)
        case Unreadable():
            return Refusal(400, b"Bad Request", _TEXT, "bad_request{the body ends early}", False)
        case Unknown() | Unfit():
            return Refusal(403, b"RBAC: access denied", _TEXT, None, False)
        case _:
            return _error(authorizer)


_TEXT: Pairs = (("content-type", "text/plain"),)


def _error(authorizer: Authorizer) -> Permit | Refusal:
    if authorizer.fail_open:
        return Permit()
    return _refused_by_error(authorizer)


def _refused_by_error(authorizer: Authorizer) -> Refusal:
    return Refusal(authorizer.status_on_error, b"", (), "ext_authz_error")


def _of_http(authorizer: HttpAuthorizer, answer: HttpAnswer) -> Permit | Refusal:
    if 500 <= answer.status < 600:
        return _error(authorizer)
    if not 200 <= answer.status < 500:
        return _refused_by_error(authorizer)  # an answer, so that failing open is not for it
    if answer.status != 200:
        return _relayed(answer.status, answer.body, answer.headers, authorizer.to_caller_on_deny)
    remove = [
        name.strip(" \t").lower()
        for key, value in answer.headers
        if key == _TO_REMOVE
        for name in value.split(",")
    ]
    to_app = [pair for pair in answer.headers if _is_wanted(pair[0], authorizer.to_app)]
    to_caller = tuple(
        pair
        for pair in answer.headers
        if _is_wanted(pair[0], authorizer.to_caller_on_allow) and _may_relay(pair[0])
    )
    return Permit(*_settable(remove, to_app), to_caller)


def _is_wanted(name: str, patterns: Patterns | None) -> bool:
    return patterns is not None and name != _TO_REMOVE and patterns(name)


def _settable(
    remove: tuple[str, ...] | list[str], pairs: Pairs | list[tuple[str, str]]
) -> tuple[tuple[str, ...], Pairs]:
    """Return what may be removed and set of the request's headers; the last value of one counts."""
    add = {name: value for name, value in pairs if _may_change(name)}
    return tuple(name for name in remove if name and _may_change(name)), tuple(add.items())


def _may_change(name: str) -> bool:
    plain = name.replace("_", "-")
    return (
        # With an underscore it is another name to rules, and the same to CGI-style code.
        "_" not in name
        and plain not in _KEPT
        and plain not in TOKEN_HEADERS
        and not plain.startswith(_KEPT_PREFIXES)
    )


def _relayed(status: int, body: bytes, headers: Pairs, wanted: Patterns | None) -> Refusal:
    """Return an authorizer's refusal as the caller gets it."""
    kept = tuple(
        (name, value)
        for name, value in headers
        if _may_relay(name)
        and (wanted is None or name in ("www-authenticate", "location") or wanted(name))
    )
    if body and not any(name == "content-type" for name, _ in kept):
        kept = (*_TEXT, *kept)
    return Refusal(status, body, kept, "ext_authz_denied")


def _may_relay(name: str) -> bool:
    return name not in FRAMING and name not in _OF_SERVERS and name not in ("host", _TO_REMOVE)


def apply(asked: Question, permit: Permit, authorizer: str) -> None:
    """Make what an authorizer set the request that the next step sees, and the app in the end.

    Args:
        asked: the call so far.
        permit: what it answered.
        authorizer: its name.
    """
    added = dict(permit.add)
    if permit.remove or added:
        head = asked.head
        gone = {
            name
            for name in head.names
            # CGI-style code takes underscores for dashes.
            if name in permit.remove or name in added or name.replace("_", "-") in added
        }.union(permit.remove)
        asked.head = _overlaid(head, gone, added)
        asked.remove = tuple(dict.fromkeys((*asked.remove, *sorted(gone))))
        others = (pair for pair in asked.add if pair[0] not in gone and pair[0] not in added)
        asked.add = (*others, *permit.add)
    if not permit.response:
        return
    # Where one is asked about several paths, its last answer counts; what others said stays.
    again = {pair[0] for pair in permit.response}
    kept = (each for each in asked.response if each.by != authorizer or each.name not in again)
    asked.response = (*kept, *(Told(*pair, authorizer) for pair in permit.response))


def _overlaid(head: InboundHead, gone: set[str], added: dict[str, str]) -> InboundHead:
    before = head.headers

    def headers(name: str) -> tuple[str, ...]:
        if name in added:
            return (added[name],)
        return () if name in gone else tuple(before(name))

    return msgspec.structs.replace(
        head,
        headers=headers,
        names=(*(name for name in head.names if name not in gone), *added),
    )
