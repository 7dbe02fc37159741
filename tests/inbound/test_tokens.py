"""The two headers of token identity, as a gate meets them."""

from __future__ import annotations

import pytest
from tokens import CALLER, NOW, OWN, TokenWorld

from meshware.identity.replays import ReplayCache
from meshware.identity.wimse import KnownWorkloads
from meshware.inbound.head import InboundHead
from meshware.inbound.tokens import TOKEN_HEADERS, TokenRefusal, check_tokens

WORLD = TokenWorld()
WIT = WORLD.wit()
PROOF = WORLD.proof(WIT)
IDENTITY, PROOF_NAME = TOKEN_HEADERS


def head(*headers: tuple[str, str], method: str = "GET", target: str | None = "/a?b=1"):
    table: dict[str, list[str]] = {}
    for name, value in headers:
        table.setdefault(name, []).append(value)
    return InboundHead(
        method=method,
        scheme="http",
        version="1.1",
        target=target,
        paths=("/a",),
        query="b=1",
        headers=lambda name: table.get(name, ()),
        names=tuple(table),
        source_ip=None,
        destination_ip=None,
        port=None,
    )


def check(found: InboundHead, replays: ReplayCache | None = None, now: float = NOW):
    return check_tokens(
        found,
        WORLD.bundles,
        audience=OWN,
        now=now,
        replays=ReplayCache() if replays is None else replays,
        known=KnownWorkloads(),
    )


BOTH = ((IDENTITY, WIT), (PROOF_NAME, PROOF))


@pytest.mark.parametrize("target", ["/a?b=1", "/a", None])
def test_two_right_tokens_name_the_caller(target):
    """Whatever the server tells of the target."""
    assert check(head(*BOTH, target=target)).id == CALLER


def test_no_token_is_no_caller_and_no_refusal():
    """Then others may tell who calls, or nobody."""
    assert check(head(("authorization", "Bearer x"))) is None


REFUSED = {
    "the identity token alone": [(IDENTITY, WIT)],
    "the proof alone": [(PROOF_NAME, PROOF)],
    "an empty identity token alone": [(IDENTITY, "")],
    "an empty proof beside it": [(IDENTITY, WIT), (PROOF_NAME, "")],
    "two identity tokens": [(IDENTITY, WIT), *BOTH],
    "two proofs": [*BOTH, (PROOF_NAME, PROOF)],
    "two proofs in one line, as WSGI joins them": [
        (IDENTITY, WIT),
        (PROOF_NAME, f"{PROOF},{PROOF}"),
    ],
    "an empty one beside the right one": [*BOTH, (PROOF_NAME, "")],
    "a bearer's word before": [(IDENTITY, f"Bearer {WIT}"), (PROOF_NAME, PROOF)],
    "in each other's place": [(IDENTITY, PROOF), (PROOF_NAME, WIT)],
    "garbage": [(IDENTITY, "x"), (PROOF_NAME, "y")],
}


@pytest.mark.parametrize("headers", REFUSED.values(), ids=REFUSED)
def test_anything_else_is_refused(headers):
    """A token that is not valid is never as good as none; the caller learns little."""
    found = check(head(*headers))
    assert isinstance(found, TokenRefusal)
    assert (found.status, found.body) == (401, "Workload token is not valid")
    assert WIT not in found.reason
    assert PROOF not in found.reason


def test_another_method_is_refused():
    """The reason is for the log."""
    found = check(head(*BOTH, method="DELETE"))
    assert isinstance(found, TokenRefusal)
    assert found.reason == "the proof is for another method"


def test_blanks_around_a_value_are_no_part_of_it():
    """Some servers keep them (CVE-2019-18802)."""
    assert check(head((IDENTITY, f" {WIT}\t"), (PROOF_NAME, f"{PROOF} "))).id == CALLER


def test_a_proof_is_good_once():
    """In this process, until nobody takes it any more."""
    replays = ReplayCache()
    assert check(head(*BOTH), replays).id == CALLER
    for now in (NOW, NOW + 39):
        found = check(head(*BOTH), replays, now)
        assert isinstance(found, TokenRefusal)
        assert "used before" in found.reason
    assert (
        check(head((IDENTITY, WIT), (PROOF_NAME, WORLD.proof(WIT, jti="q"))), replays).id == CALLER
    )


def test_what_is_refused_uses_nothing_up():
    """Else whoever sees a call could spend its proof, or fill the memory without a key."""
    replays = ReplayCache()
    assert isinstance(check(head(*BOTH, method="PUT"), replays), TokenRefusal)
    assert len(replays) == 0
    assert check(head(*BOTH), replays).id == CALLER
