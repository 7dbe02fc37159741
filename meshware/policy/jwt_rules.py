"""Compile RequestAuthentications: whose tokens are good at a workload, and where they may stand.

The rules of all policies that select the workload count together, sorted by issuer, as in Istio.
Each place where a token may stand knows the rules that look there, so that a token is read once and
asked of those alone.

Nothing here verifies anything; that is `inbound.authn`. What is verified is remembered there by the
token and by the digest of a place, which covers its rules and their keys: a key, an issuer or an
audience that is taken away ends at the next snapshot what it had let in.

Source: Istio, RequestAuthentication; Envoy, jwt_authn.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias

from meshware.policy.document.request_authentication import JWTRule, RequestAuthenticationSpec
from meshware.policy.jwks_records import jwks_source

if TYPE_CHECKING:  # it is not light, and most workloads have no such rule
    from meshware.identity.jwks import Jwks

__all__ = [
    "ClaimHeader",
    "NamedAuthentication",
    "Place",
    "UserRule",
    "UserRules",
    "compile_user_rules",
    "output_headers",
]

Kind: TypeAlias = Literal["header", "param", "cookie"]

_AUTHORIZATION = ("header", "authorization", "Bearer ")
_ACCESS_TOKEN = ("param", "access_token", "")
_DEFAULT_PLACES = (_AUTHORIZATION, _ACCESS_TOKEN)
_ORDER: tuple[Kind, ...] = ("header", "param", "cookie")

_ALWAYS_SPACE_DELIMITED = ("scope", "permission")  # Istio's


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedAuthentication:
    """A RequestAuthentication that selects this workload."""

    namespace: str
    name: str
    spec: RequestAuthenticationSpec


class ClaimHeader(NamedTuple):
    """A claim that the app gets in a header."""

    header: str  # lower case
    claim: tuple[str, ...]  # its name, and the names within it


@dataclass(frozen=True, slots=True, kw_only=True)
class UserRule:
    """One issuer whose tokens are good. Source: Istio JWTRule."""

    policy: str  # "namespace/name"
    position: int  # in that policy's `jwtRules`
    issuer: str | None  # None: any
    audiences: frozenset[str] | None  # one of them will do; None: any
    keys: Jwks | None = field(repr=False)  # None: they were never fetched
    source: str | None  # the address of the keys; None: policy holds them
    is_forwarded: bool  # the app gets the token itself
    payload_header: str | None  # lower case; the app gets the claims in it, still encoded
    claim_headers: tuple[ClaimHeader, ...]
    space_delimited: tuple[str, ...]  # claims of which rules see a list
    digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a token may stand, and the rules that look there."""

    kind: Kind
    name: str  # of a header in lower case; of others as written
    prefix: str  # what stands before the token in a header; "": nothing
    rules: tuple[int, ...]  # positions in `UserRules.rules`, ascending
    digest: bytes  # of those rules and their keys


@dataclass(frozen=True, slots=True, kw_only=True)
class UserRules:
    """All that is said about end users at one workload."""

    rules: tuple[UserRule, ...]  # by issuer
    # The places, in the order in which they are looked into: Envoy's.
    headers: tuple[Place, ...]
    params: Mapping[str, Place]  # of the query, by name
    cookies: Mapping[str, Place]
    outputs: tuple[str, ...]  # headers that only these rules may set, in lower case
    reads_headers: frozenset[str]  # lower case

    @property
    def places(self) -> tuple[Place, ...]:
        """All of them."""
        return (*self.headers, *self.params.values(), *self.cookies.values())


def compile_user_rules(
    policies: Sequence[NamedAuthentication], jwks_of: Callable[[str], str | None]
) -> UserRules | None:
    """Compile the policies that select a workload; None: they say nothing.

    Args:
        policies: oldest first.
        jwks_of: returns the key set that was found at an address; None: there never was one.

    Raises:
        ValueError: a policy says something that cannot be carried out.
    """
    written = [
        (f"{policy.namespace}/{policy.name}", position, rule)
        for policy in policies
        for position, rule in enumerate(_rules_of(policy))
    ]
    if not written:
        return None
    written.sort(key=lambda one: one[2].issuer or "")
    rules = tuple(_compile(*one, jwks_of) for one in written)
    looking: dict[tuple[Kind, str, str], list[int]] = {}
    for position, (_, _, rule) in enumerate(written):
        for where in dict.fromkeys(_places_of(rule)):
            looking.setdefault(where, []).append(position)
    # Envoy's order: headers, parameters, cookies, each sorted, a header with its prefix.
    ordered = sorted(looking, key=lambda where: (_ORDER.index(where[0]), where[1] + where[2]))
    places = tuple(
        Place(
            kind=kind,
            name=name,
            prefix=prefix,
            rules=tuple(looking[kind, name, prefix]),
            digest=hashlib.sha256(
                "".join(rules[each].digest for each in looking[kind, name, prefix]).encode()
            ).digest(),
        )
        for kind, name, prefix in ordered
    )
    outputs = tuple(dict.fromkeys(name for *_, rule in written for name in output_headers(rule)))
    headers = {place.name for place in places if place.kind == "header"}
    if any(place.kind == "cookie" for place in places):
        headers.add("cookie")
    return UserRules(
        rules=rules,
        headers=tuple(place for place in places if place.kind == "header"),
        params={place.name: place for place in places if place.kind == "param"},
        cookies={place.name: place for place in places if place.kind == "cookie"},
        outputs=outputs,
        reads_headers=frozenset(headers.union(outputs)),
    )


def output_headers(rule: JWTRule) -> Iterator[str]:
    """Yield the headers that a rule sets, in lower case."""
    if rule.output_payload_to_header:
        yield rule.output_payload_to_header.lower()
    for output in rule.output_claim_to_headers or ():
        yield output.header.lower()


def _rules_of(policy: NamedAuthentication) -> tuple[JWTRule, ...]:
    spec = policy.spec
    if spec.target_ref is not None or spec.target_refs is not None:
        raise ValueError(
            f"RequestAuthentication {policy.namespace}/{policy.name}: targetRefs do not apply to "
            "workloads"
        )
    return spec.jwt_rules or ()


def _places_of(rule: JWTRule) -> Iterator[tuple[Kind, str, str]]:
    if not (rule.from_headers or rule.from_params or rule.from_cookies):
        yield from _DEFAULT_PLACES  # type: ignore[misc]
    for header in rule.from_headers or ():
        yield "header", header.name.lower(), header.prefix or ""
    for name in rule.from_params or ():
        yield "param", name, ""
    for name in rule.from_cookies or ():
        yield "cookie", name, ""


def _compile(
    policy: str, position: int, rule: JWTRule, jwks_of: Callable[[str], str | None]
) -> UserRule:
    found = jwks_source(rule)
    source = None if found is None else found.uri
    keys = _keys(policy, rule, source, jwks_of)
    audiences = frozenset(rule.audiences) if rule.audiences else None
    payload_header = (rule.output_payload_to_header or "").lower() or None
    claim_headers = tuple(
        ClaimHeader(output.header.lower(), tuple(output.claim.split(".")))
        for output in rule.output_claim_to_headers or ()
    )
    space_delimited = tuple(
        dict.fromkeys((*_ALWAYS_SPACE_DELIMITED, *(rule.space_delimited_claims or ())))
    )
    said = (
        rule.issuer or "",
        sorted(audiences or ()),
        None
        if keys is None
        else [(key.id, key.thumbprint, sorted(key.algorithms)) for key in keys.keys],
        source,
        payload_header,
        claim_headers,
        space_delimited,
    )
    return UserRule(
        policy=policy,
        position=position,
        issuer=rule.issuer or None,
        audiences=audiences,
        keys=keys,
        source=source,
        is_forwarded=rule.forward_original_token is True,
        payload_header=payload_header,
        claim_headers=claim_headers,
        space_delimited=space_delimited,
        digest=hashlib.sha256(json.dumps(said).encode()).hexdigest(),
    )


def _keys(
    policy: str, rule: JWTRule, source: str | None, jwks_of: Callable[[str], str | None]
) -> Jwks | None:
    """Return the keys of a rule; None: they were never fetched."""
    from meshware.errors import TokenError
    from meshware.identity.jwks import Jwks, read_jwks

    if source is None:
        if not rule.jwks:
            raise ValueError(f"RequestAuthentication {policy}: a rule has no keys and no address")
        try:
            return read_jwks(rule.jwks)
        except TokenError as error:
            raise ValueError(f"RequestAuthentication {policy}: jwks: {error}") from error
    text = jwks_of(source)
    if text is None:
        return None
    try:
        return read_jwks(text)
    except TokenError:
        # Somebody else's mistake must not stop the policy, nor may any of it be believed.
        return Jwks(())
