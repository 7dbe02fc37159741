"""Hostile tokens of end users at the gate: none is accepted, none is dear, none goes anywhere."""

from __future__ import annotations

import socket
from urllib.parse import quote

import pytest
from cheaply import cheaply
from hostile_user_tokens import RIGHT, RULES, hostile_user_tokens
from inbound_world import request
from user_world import bearer, token, user_mesh

from meshware.inbound.passage import Admission, Denial

CASES = hostile_user_tokens()
HEADERS = {name: text for name, text in CASES.items() if name != "nothing"}
# In a cookie blanks, quotes and a semicolon stand around a value and are none of it.
RIGHT_IN_COOKIES = {"a space before", "quotes around", "a semicolon"}
IN_COOKIES = {name: text for name, text in CASES.items() if name not in RIGHT_IN_COOKIES}

COOKIES = tuple({**rule, "fromCookies": ["jwt"]} for rule in RULES)
MESH, COOKIE_MESH = user_mesh(*RULES), user_mesh(*COOKIES)


@pytest.fixture(autouse=True)
def nobody_connects(monkeypatch):
    """Whatever a token says of keys elsewhere."""

    def fail(*_args, **_more):
        raise AssertionError("a token caused a connection")

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    monkeypatch.setattr(socket.socket, "connect", fail)
    monkeypatch.setattr(socket, "create_connection", fail)


def refuse(mesh, head, text: str) -> None:
    """Make sure that a request is refused, soon, and that the answer has nothing of the token."""
    passage = cheaply(lambda: mesh.gate.admit(head))
    assert isinstance(passage, Denial), passage
    assert passage.status in (400, 401, 403)
    assert "exception" not in passage.reason
    said = f"{passage.body} {passage.headers} {passage.reason} {passage!r}"
    for part in text.split(".")[:3]:
        assert len(part) < 10 or part not in said


def test_a_right_token_passes():
    """Each of these is so but for what it is named after."""
    for name in ("ec", "rsa", "ed", "p384"):
        passage = MESH.gate.admit(request(headers=[bearer(token(name, RIGHT))]))
        assert isinstance(passage, Admission), passage


def test_there_are_at_least_120():
    """And each is another one."""
    assert len(set(CASES.values())) >= 240


@pytest.mark.parametrize("text", HEADERS.values(), ids=HEADERS)
def test_none_is_accepted_in_a_header(text):
    """As servers hand headers over."""
    refuse(MESH, request(headers=[bearer(text)]), text)


@pytest.mark.parametrize("text", CASES.values(), ids=CASES)
def test_none_is_accepted_in_the_query(text):
    """However it is encoded there."""
    encoded = quote(text, safe="", errors="surrogatepass")
    refuse(MESH, request(f"/?access_token={encoded}"), text)


@pytest.mark.parametrize("text", IN_COOKIES.values(), ids=IN_COOKIES)
def test_none_is_accepted_in_a_cookie(text):
    """Where commas of other cookies may stand before it."""
    refuse(COOKIE_MESH, request(headers=[("cookie", f"a=b,c; jwt={text}")]), text)
