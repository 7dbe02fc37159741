"""The tests that rules make of the end user, by tokens that were verified.

1. Without a token, or without the claim, no value matches: `requestPrincipals` never hold and
   `notRequestPrincipals` always do, for DENY as for ALLOW (as in Istio). A DENY policy on
   `notRequestPrincipals: ["*"]` requires a token.
2. `requestPrincipals` are `issuer/subject`. A value is taken apart at its last slash, for issuers
   have some. Where the subject has one as well, a value that is the whole text of a principal means
   it too for what refuses (`requestPrincipals` of DENY, `notRequestPrincipals` of ALLOW). Differs
   from Istio: stricter, there such a value means nobody.
3. A claim is a text, or a list of which one text has to match; numbers and truth values are
   neither. `[a][b]` is a claim inside of a claim, `[a.b]` is one whose name has a dot.

Source: Istio AuthorizationPolicy, Source and "Authorization Policy Conditions".
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence

from meshware.policy.inbound_facts import EndUser, Facts
from meshware.policy.match import Patterns

__all__ = [
    "USER_KEYS",
    "claim_path",
    "claim_texts",
    "request_principal_tests",
    "user_key_tests",
]

UserTest = Callable[[EndUser], bool]
FactsTest = Callable[[Facts], bool]
TextTest = Callable[[str], bool]

_CLAIMS = re.compile(r"request\.auth\.claims((?:\[[^\[\]]+\])+)")

USER_KEYS = frozenset(
    {"request.auth.principal", "request.auth.audiences", "request.auth.presenter"}
)
"""The `when` keys that are about the end user, claims apart."""


def claim_path(key: str) -> tuple[str, ...] | None:
    """Return the names, from the outermost, of the claim of a key `request.auth.claims[a][b]`."""
    found = _CLAIMS.fullmatch(key)
    return None if found is None else tuple(found[1][1:-1].split("]["))


def request_principal_tests(
    wanted: Sequence[str] | None, unwanted: Sequence[str] | None, *, is_deny: bool
) -> list[FactsTest]:
    """Return the tests of `requestPrincipals` and of its twin; all must hold."""
    tests: list[FactsTest] = []
    if wanted:
        tests.append(_holds(_principals(wanted, refuses=is_deny), wanted=True))
    if unwanted:
        tests.append(_holds(_principals(unwanted, refuses=not is_deny), wanted=False))
    return tests


def user_key_tests(
    key: str, wanted: Sequence[str] | None, unwanted: Sequence[str] | None, *, is_deny: bool
) -> list[FactsTest] | None:
    """Return the tests of a `when` key about the end user; None: the key is about something else.

    Args:
        key: as written.
        wanted: its `values`.
        unwanted: its `notValues`.
        is_deny: whether the rule denies.
    """
    if key == "request.auth.principal":
        return request_principal_tests(wanted, unwanted, is_deny=is_deny)
    make = _maker(key)
    if make is None:
        return None
    return [
        _holds(make(Patterns(values)), wanted=is_wanted)
        for values, is_wanted in ((wanted, True), (unwanted, False))
        if values
    ]


def _maker(key: str) -> Callable[[Patterns], UserTest] | None:
    if key == "request.auth.audiences":
        return lambda patterns: lambda user: any(patterns(text) for text in user.audiences)
    if key == "request.auth.presenter":
        return lambda patterns: lambda user: user.presenter is not None and patterns(user.presenter)
    path = claim_path(key)
    if path is None:
        return None
    return lambda patterns: (
        lambda user: any(patterns(text) for text in claim_texts(user.claims, path))
    )


def claim_texts(claims: Mapping[str, object], path: Sequence[str]) -> tuple[str, ...]:
    """Return the texts of a claim; none where it is absent or something else."""
    value: object = claims
    for name in path:
        if not isinstance(value, Mapping):
            return ()
        value = value.get(name)
    if isinstance(value, str):
        return (value,)
    if isinstance(value, list | tuple):
        return tuple([each for each in value if isinstance(each, str)])
    return ()


def _holds(test: UserTest, *, wanted: bool) -> FactsTest:
    return lambda facts: (facts.user is not None and test(facts.user)) is wanted


def _principals(values: Sequence[str], *, refuses: bool) -> UserTest:
    """Return the test whether a user is meant.

    Args:
        values: as written.
        refuses: whether a call is refused when it is: what is doubtful is meant then.
    """
    pairs = frozenset(
        tuple(value.rsplit("/", 1)) for value in values if "*" not in value and "/" in value
    )
    whole = frozenset(values) if refuses else frozenset()
    is_any = "*" in values
    others = tuple(_pair_test(value) for value in values if "*" in value and value != "*")

    def test(user: EndUser) -> bool:
        principal = user.principal
        if principal is None:
            return False
        if principal in whole:
            return True
        issuer, subject = _pair(user, principal)
        return (
            (is_any and issuer != "" and subject != "")
            or (issuer, subject) in pairs
            or any(of_issuer(issuer) and of_subject(subject) for of_issuer, of_subject in others)
        )

    return test


def _pair(user: EndUser, principal: str) -> tuple[str, str]:
    issuer = user.claims.get("iss")
    if isinstance(issuer, str) and principal.startswith(f"{issuer}/"):
        return issuer, principal[len(issuer) + 1 :]
    before, _, after = principal.rpartition("/")
    return before, after


def _pair_test(value: str) -> tuple[TextTest, TextTest]:
    """Return the tests of issuer and subject of a value with `*` in it."""
    issuer, slash, subject = value.rpartition("/")
    if not slash:
        if value.startswith("*"):
            return Patterns(("*",)), Patterns((value,))
        if value.endswith("*"):
            return Patterns((value,)), Patterns(("*",))
        return _never, _never
    if value.startswith("*"):
        return Patterns((issuer,)), subject.__eq__
    if value.endswith("*"):
        return issuer.__eq__, Patterns((subject,))
    return issuer.__eq__, subject.__eq__


def _never(_: str) -> bool:
    return False
