"""What the app gets of end users' tokens, and what it never gets."""

from __future__ import annotations

import pytest
from user_world import (
    AT_X,
    AT_Y,
    GOOD,
    OTHERS,
    OUTPUTS,
    PLACES,
    PLAIN,
    THEIRS,
    admitted,
    bearer,
    refused,
    token,
    user_mesh,
)


def test_the_token_is_taken_away_unless_it_is_forwarded():
    """Out of headers; in the query and in cookies it stays."""
    assert "x-plain" in admitted(user_mesh(PLACES), ("x-plain", GOOD)).remove
    kept = user_mesh({**PLACES, "forwardOriginalToken": True})
    assert "x-plain" not in admitted(kept, ("x-plain", GOOD)).remove
    passage = admitted(user_mesh(PLACES), ("cookie", f"session={GOOD}"), target=f"/?token={GOOD}")
    assert "cookie" not in passage.remove
    assert passage.path is None


def test_each_token_is_taken_away_by_the_rule_that_believes_it():
    """Also those that do not say who it is."""
    mesh = user_mesh({**PLAIN, **AT_X, "forwardOriginalToken": True}, {**OTHERS, **AT_Y})
    passage = admitted(mesh, ("x-b", THEIRS), ("x-a", GOOD))
    assert "x-b" in passage.remove
    assert "x-a" not in passage.remove


def test_claims_reach_the_app_in_headers():
    """Texts, numbers and truth values as Envoy writes them; lists and objects do not."""
    made = token(
        n=2**53 + 1,
        f=1.5,
        b=True,
        neg=-3,
        deep={"er": "x"},
        list=["a"],
        e="",
        u="é",
        nl="a\r\nb: c",
    )
    added = dict(admitted(user_mesh(OUTPUTS), bearer(made)).add)
    added.pop("x-request-id")
    assert added == {
        "x-payload": made.split(".")[1],
        "x-sub": "alice",
        "x-n": "9007199254740993",
        "x-f": "1.500000",
        "x-b": "true",
        "x-neg": "-3.000000",
        "x-deep-er": "x",
        "x-u": "é".encode().decode("latin-1"),
    }


@pytest.mark.parametrize("number", [10**400, 1e300, 2**64, -(10**400)], ids=str)
def test_a_number_beyond_all_bounds_is_no_reason_to_fail(number):
    """It may be left out; the call goes on."""
    assert admitted(user_mesh(OUTPUTS), bearer(token(n=number)))


@pytest.mark.parametrize("how", ["with a token", "without", "a browser's question"])
def test_what_callers_send_in_those_headers_never_reaches_the_app(how):
    """Else anybody could say it of themselves."""
    headers = [("x-payload", "forged"), ("X-Sub", "root")]
    method = "GET"
    if how == "with a token":
        headers.append(bearer(token(sub=None)))
    elif how != "without":
        method = "OPTIONS"
        headers += [("origin", "https://a"), ("access-control-request-method", "GET")]
    passage = admitted(user_mesh(OUTPUTS), *headers, method=method)
    assert {"x-payload", "x-sub"} <= set(passage.remove)
    assert "x-sub" not in dict(passage.add)


@pytest.mark.parametrize("name", ["x_sub", "x_plain", "X_Payload"])
def test_a_twin_with_an_underscore_is_refused(name):
    """CGI-style code takes it for the header itself."""
    both = {**OUTPUTS, "fromHeaders": [{"name": "x-plain"}]}
    assert refused(user_mesh(both), (name, "x"))[0] == 400
