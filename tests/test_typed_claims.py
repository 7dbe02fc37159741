"""Claims as an object of the app's own: what fits, and what an error says of what does not."""

from __future__ import annotations

import traceback
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum
from typing import Literal, TypedDict

import msgspec
import pytest
from inbound_world import request
from user_world import ISSUER, NOW, bearer, rule, token, user_mesh

from meshware.call import Call, Claims
from meshware.errors import ClaimsError, MeshError

HUSH = "hu" + "sh"  # apart, since a traceback shows lines of this file


class Role(Enum):
    READER = "reader"


@dataclass
class Team:
    name: str
    size: int = 0


@dataclass
class User:
    sub: str
    iss: str
    exp: datetime
    team: Team | None = None
    roles: tuple[Role, ...] = ()
    age: int = 0


class Person(msgspec.Struct, forbid_unknown_fields=True):
    sub: str
    kind: Literal["a", "b"] = "a"


class Named(TypedDict):
    sub: str


def call(**claims) -> Call:
    """A call whose token says this."""
    return Call(request_id="r", claims=Claims(claims))


def test_a_dataclass_of_the_apps_own():
    """From a token through the gate; what it has no field for is left out."""
    made = token(team={"name": "x", "size": "3"}, roles=["reader"], age="42", more=1)
    passage = user_mesh(rule()).gate.admit(request(headers=[bearer(made)]))
    user = passage.call.claims_as(User)
    assert user == User(
        sub="alice",
        iss=ISSUER,
        exp=datetime.fromtimestamp(NOW + 600, UTC),
        team=Team("x", 3),
        roles=(Role.READER,),
        age=42,
    )


def test_a_struct_and_a_typed_dict():
    """What msgspec takes."""
    assert call(sub="a", kind="b").claims_as(Person) == Person("a", "b")
    assert call(sub="a", kind="b").claims_as(Named) == {"sub": "a"}


def test_what_fits_as_it_is_stays_as_it_is():
    """A text is taken for a number only where it has to be one."""
    assert call(a="1").claims_as(dict[str, int | str]) == {"a": "1"}


WRONG = {
    "a claim is missing": (
        call(iss="i", exp=1),
        User,
        "the token's claims are no User: Object missing required field `sub`",
    ),
    "another type": (
        call(sub=[HUSH], iss="i", exp=1),
        User,
        "the token's claims are no User: Expected `str`, got `array` at $.sub",
    ),
    "deep inside": (
        call(sub="a", iss="i", exp=1, team={"name": "x", "size": HUSH}),
        User,
        "the token's claims are no User: Expected `int`, got `str` at $.team.size",
    ),
    "a word of an enum": (
        call(sub="a", iss="i", exp=1, roles=[HUSH]),
        User,
        "the token's claims are no User: the value at $.roles[0] is none of those that the type "
        "takes",
    ),
    "a word of a literal": (
        call(sub="a", kind=HUSH),
        Person,
        "the token's claims are no Person: the value at $.kind is none of those that the "
        "type takes",
    ),
    "one claim too many": (
        call(sub="a", **{HUSH: "x"}),
        Person,
        "the token's claims are no Person: the value at $ is none of those that the type takes",
    ),
    "no token": (
        call(),
        Named,
        "this call bears no verified token, so there are no claims to make Named of; ask whether "
        "`current_call().principal` is None first, or let policy require a token",
    ),
    "no type for claims": (
        call(sub="a"),
        Call,
        None,
    ),
}


@pytest.mark.parametrize(("one", "type_", "message"), WRONG.values(), ids=WRONG)
def test_an_error_names_the_claim_and_nothing_that_it_says(one, type_, message):
    """Not in its text, and not in what it was raised from."""
    with pytest.raises(ClaimsError) as caught:
        one.claims_as(type_)
    if message is not None:
        assert str(caught.value) == message
    assert isinstance(caught.value, MeshError)
    assert HUSH not in "".join(traceback.format_exception(caught.value))


def test_a_mistake_of_the_types_own_repeats_nothing():
    """A `__post_init__` may quote what it was given."""

    @dataclass
    class Picky:
        sub: str

        def __post_init__(self):
            raise ValueError(f"I do not take {self.sub}")

    with pytest.raises(ClaimsError) as caught:
        call(sub=HUSH).claims_as(Picky)
    assert HUSH not in "".join(traceback.format_exception(caught.value))
