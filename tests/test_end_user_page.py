"""The page about end users' tokens: its policy is taken, and its code runs as it stands there."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from inbound_world import request
from user_world import bearer, jwks, token

from meshware.call import bind_call, unbind_call
from meshware.inbound.passage import Admission
from meshware.policy.load import load_text
from meshware.testing import TestMesh

PAGE = (Path(__file__).resolve().parents[1] / "docs/reference/end-user-tokens.md").read_text(
    encoding="utf-8"
)


def block(language: str) -> str:
    """The page's one block in a language."""
    [found] = re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)
    text: str = found
    return text


def test_its_policy_has_no_error():
    """As it would be typed."""
    load_text(block("yaml")).raise_for_errors()


def test_its_code_says_who_has_signed_in():
    """Over the page's own policy, with keys in place of their address."""
    loaded: dict[str, Any] = {}
    exec(compile(block("python"), "page", "exec"), loaded)
    policy = block("yaml").replace(
        "jwksUri: https://login.example.com/keys", f"jwks: '{jwks('ec')}'"
    )
    mesh = TestMesh(policy, "default/orders")
    made = token(
        iss="https://login.example.com",
        aud="https://orders.example.com",
        exp=4_000_000_000,
        roles=["reader"],
    )
    said = []
    for headers in ([], [bearer(made)]):
        passage = mesh.gate.admit(request(headers=headers))
        assert isinstance(passage, Admission)
        mark = bind_call(passage.call)
        said.append(loaded["who"]())
        unbind_call(mark)
    assert said == [
        "nobody has signed in",
        "alice, who is ['reader'], as https://login.example.com says",
    ]
