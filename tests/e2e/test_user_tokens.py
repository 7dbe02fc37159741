"""End users' tokens over real servers of ASGI and WSGI, byte by byte."""

from __future__ import annotations

import pytest
from hostile_user_tokens import RIGHT, RULES, hostile_user_tokens
from inbound_servers import PolicyFile, serving
from user_world import ISSUER, authentication, jwk, jwks, rule, token

SERVERS = ("gunicorn sync", "gunicorn asgi", "uvicorn h11", "uvicorn httptools", "werkzeug")
OUTPUT = {"outputClaimToHeaders": [{"header": "x-user", "claim": "sub"}]}
POLICY = authentication(*({**one, **OUTPUT} for one in RULES))

# What fits into a line of a request, and is wrong whatever the time is.
CASES = {
    name: text
    for name, text in hostile_user_tokens().items()
    if name.split()[0] not in ("exp", "nbf", "iat")
    and text.strip()
    and text.isascii()
    and text.isprintable()
    and len(text) < 6000
}


@pytest.fixture(scope="module", params=SERVERS)
def served(request, tmp_path_factory):
    """A server, and the policy file that it follows."""
    place = tmp_path_factory.mktemp("served")
    policies = PolicyFile(place / "run")
    policies.write(POLICY)
    with serving(request.param, place, policies.path) as server:
        yield server, policies


def ask(server, *lines: str, target: str = "/x") -> str:
    """What a server answers to a request with these header lines."""
    head = "\r\n".join([f"GET {target} HTTP/1.1", "Host: app", "Connection: close", *lines])
    answer: str = server.raw(f"{head}\r\n\r\n".encode("latin-1"))
    return answer


def test_no_hostile_token_reaches_a_handler(served):
    """Nor gives a 5xx; servers themselves may refuse what is no header."""
    server, _ = served
    assert len(CASES) >= 120
    wrong = {}
    for name, text in CASES.items():
        answer = ask(server, f"Authorization: Bearer {text}")
        if '"ran"' in answer or not answer.startswith(
            ("HTTP/1.1 401", "HTTP/1.1 403", "HTTP/1.1 400")
        ):
            wrong[name] = answer
    assert not wrong


def test_a_right_token_is_who_it_says(served):
    """The app finds it in its call, and the token itself nowhere."""
    server, _ = served
    said = server.get("/x", [("Authorization", f"Bearer {token('ec', RIGHT)}")]).said
    assert said["user"] == f"{ISSUER}/alice"
    assert said["claims"]["sub"] == "alice"
    assert said["authorization"] is None
    assert server.get(f"/x?access_token={token('rsa', RIGHT)}").said["user"] == f"{ISSUER}/alice"
    assert server.get("/x").said["user"] is None


def test_two_lines_are_two_tokens_on_every_server(served):
    """Servers of WSGI join them with a comma."""
    server, _ = served
    right = f"Authorization: Bearer {token('ec', RIGHT)}"
    for lines in (
        (right, right),
        ("Authorization: Basic YTpi", right),
        (right, "Authorization: x"),
    ):
        answer = ask(server, *lines)
        assert answer.startswith("HTTP/1.1 401"), answer
        assert "Found multiple Jwt tokens" in answer
    answer = ask(server, right, target=f"/x?access_token={token('ec', RIGHT)}")
    assert answer.startswith("HTTP/1.1 200"), answer


def test_the_answer_is_envoys(served):
    """With a challenge that says what was asked for, and no query."""
    server, _ = served
    answer = ask(server, "Authorization: Bearer a.b", target="/a/b?access_token=hush")
    assert answer.startswith("HTTP/1.1 401")
    assert 'bearer realm="http://app/a/b", error="invalid_token"' in answer.lower()
    assert "hush" not in answer
    assert answer.endswith("Header.Payload.Signature with two dots and 3 sections")


def test_a_twin_of_an_output_never_reaches_the_app(served):
    """It is refused, or the server drops it."""
    server, _ = served
    answer = ask(server, "X_User: root")
    assert "root" not in answer
    assert answer.startswith(("HTTP/1.1 400", "HTTP/1.1 200"))


def test_a_key_that_policy_drops_ends_its_tokens(served):
    """In a worker that runs and remembers them."""
    server, policies = served
    line = ("Authorization", f"Bearer {token('ec', RIGHT)}")
    assert server.get("/x", [line]).status == 200
    written = policies.write(authentication(rule(jwks=jwks(jwk("mallory", kid="ec")))))
    server.wait_for(lambda: server.get("/x").said["generation"] == written, "follow")
    assert server.get("/x", [line]).status == 401
    written = policies.write(POLICY)
    server.wait_for(lambda: server.get("/x").said["generation"] == written, "follow")
    assert server.get("/x", [line]).status == 200


def test_no_token_is_in_the_log(served):
    """Of the mesh or the app. What stands in a query, servers log of their own accord."""
    server, _ = served
    text = token("mallory", {**RIGHT, "jti": "unlike any other"}, {"alg": "ES256", "kid": "ec"})
    assert server.get("/x", [("Authorization", f"Bearer {text}")]).status == 401
    words = server.words()
    assert text.split(".")[2] not in words
    assert text.split(".")[1] not in words
