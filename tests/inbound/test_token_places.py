"""Where end users' tokens may stand, and how many at each place."""

from __future__ import annotations

import pytest
from inbound_world import request
from user_world import (
    GOOD,
    ISSUER,
    PLACES,
    PLAIN,
    answer,
    bearer,
    rule,
    user_mesh,
)

from meshware.inbound.passage import Admission, Denial

FOUND = {
    "authorization": (PLAIN, [bearer(GOOD)], "/", "alice"),
    "the default parameter": (PLAIN, [], f"/?access_token={GOOD}", "alice"),
    "a parameter with an encoded name": (PLAIN, [], f"/?a=b&access%5Ftoken={GOOD}", "alice"),
    "a parameter with an encoded dot": (
        PLAIN,
        [],
        "/?access_token=" + GOOD.replace(".", "%2E"),
        "alice",
    ),
    "a parameter in another case": (PLAIN, [], f"/?Access_Token={GOOD}", None),
    "a parameter that is empty": (PLAIN, [], "/?access_token=", 401),
    "a parameter twice": (PLAIN, [], f"/?access_token={GOOD}&access_token={GOOD}", 401),
    "a parameter twice, once encoded": (
        PLAIN,
        [],
        f"/?access_token={GOOD}&access%5ftoken={GOOD}",
        401,
    ),
    "no defaults beside others": (PLACES, [bearer(GOOD)], f"/?access_token={GOOD}", None),
    "a header with a prefix": (PLACES, [("x-token", f"Value {GOOD}")], "/", "alice"),
    "another prefix": (PLACES, [("x-token", f"Other {GOOD}")], "/", None),
    "no prefix": (PLACES, [("x-token", GOOD)], "/", None),
    "a header without a prefix": (PLACES, [("x-plain", f"  {GOOD}\t")], "/", "alice"),
    "an empty header": (PLACES, [("x-plain", "")], "/", 401),
    "a parameter": (PLACES, [], f"/?token={GOOD}", "alice"),
    "a cookie": (PLACES, [("cookie", f"a=b; session={GOOD}; c=d")], "/", "alice"),
    "a quoted cookie": (PLACES, [("cookie", f'session="{GOOD}"')], "/", "alice"),
    "a cookie in a line of its own": (
        PLACES,
        [("cookie", "a=b"), ("cookie", f"session={GOOD}")],
        "/",
        "alice",
    ),
    "a cookie twice": (PLACES, [("cookie", f"session={GOOD}; session={GOOD}")], "/", 401),
    "a cookie twice in two lines": (
        PLACES,
        [("cookie", f"session={GOOD}"), ("cookie", f"session={GOOD}")],
        "/",
        401,
    ),
    "a cookie behind a comma": (PLACES, [("cookie", f"a=b,session={GOOD}")], "/", 401),
    "another cookie with a comma": (
        PLACES,
        [("cookie", f"a=b,c; session={GOOD}")],
        "/",
        "alice",
    ),
    "two lines": (PLAIN, [bearer(GOOD), bearer(GOOD)], "/", 401),
    "two lines, one of another scheme": (
        PLAIN,
        [("authorization", "Basic YTpi"), bearer(GOOD)],
        "/",
        401,
    ),
    "two lines as WSGI joins them": (
        PLAIN,
        [("authorization", f"Basic YTpi,Bearer {GOOD}")],
        "/",
        401,
    ),
    "two lines as WSGI joins them, in lower case": (
        PLAIN,
        [("authorization", f"Basic YTpi,bearer {GOOD}")],
        "/",
        401,
    ),
    "one line with a second scheme": (
        PLAIN,
        [("authorization", f"Basic YTpi, BEARER\t{GOOD}")],
        "/",
        401,
    ),
    "a list without the scheme": (PLAIN, [("authorization", "Digest a=b, c=bearer")], "/", None),
    "two tokens as WSGI joins them": (
        PLAIN,
        [("authorization", f"Bearer {GOOD}, Bearer {GOOD}")],
        "/",
        401,
    ),
    "a comma behind the token": (PLAIN, [("authorization", f"Bearer {GOOD},")], "/", 401),
    "two lines of another scheme": (
        PLAIN,
        [("authorization", "Basic YTpi"), ("authorization", "Basic YTpi")],
        "/",
        None,
    ),
    "the scheme in lower case": (PLAIN, [("authorization", f"bearer {GOOD}")], "/", 401),
    "the scheme in capitals": (PLAIN, [("authorization", f"BEARER {GOOD}")], "/", 401),
    "a tab behind the scheme": (PLAIN, [("authorization", f"Bearer\t{GOOD}")], "/", 401),
    "a blank of Unicode before the scheme": (
        PLAIN,
        [("authorization", f"\xa0bearer {GOOD}")],
        "/",
        401,
    ),
    "two blanks behind the scheme": (PLAIN, [("authorization", f"Bearer  {GOOD}")], "/", 401),
    "the scheme further behind": (PLAIN, [("authorization", f"Basic Bearer {GOOD}")], "/", 401),
    "the scheme alone": (PLAIN, [("authorization", "Bearer")], "/", None),
    "a word that begins like the scheme": (PLAIN, [("authorization", "Bearers x")], "/", None),
}


@pytest.mark.parametrize(("one", "headers", "target", "expected"), FOUND.values(), ids=FOUND)
def test_a_token_is_found_where_policy_says(one, headers, target, expected):
    """A name: the token is good; a status: it is refused; None: there is none."""
    passage = answer(user_mesh(one), *headers, target=target)
    if isinstance(expected, int):
        assert isinstance(passage, Denial)
        assert passage.status == expected
    else:
        assert isinstance(passage, Admission), passage.reason
        assert passage.call.claims.get("sub") == expected


def test_the_query_that_the_app_sees_counts():
    """Servers hand it over apart from the path."""
    head = request("/")
    head.query = f"access_token={GOOD}"
    passage = user_mesh(rule()).gate.admit(head)
    assert isinstance(passage, Admission)
    assert passage.request_principal == f"{ISSUER}/alice"
