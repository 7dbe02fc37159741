"""A token's claims as an object of an app's own type."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, TypeVar

from meshware.errors import ClaimsError

__all__ = ["claims_as"]

T = TypeVar("T")

# What msgspec says of types is about them alone; of other mistakes it repeats what it was given.
_ABOUT_TYPES = re.compile(
    r"(Expected `[^`]{1,200}`(?:, got `[^`]{1,60}`)?|Object missing required field `[^`]{1,100}`)"
    r"(?: - at `([^`]*)`)?"
)
_PLACE = re.compile(r" - at `([^`]*)`$")


def claims_as(claims: Mapping[str, Any], type_: type[T]) -> T:
    """Return claims as an object of a type.

    Raises:
        ClaimsError: there are none, or they do not fit; the text has nothing of what they say.
    """
    import msgspec  # the app asked for it

    name = getattr(type_, "__qualname__", repr(type_))
    if not claims:
        raise ClaimsError(
            f"this call bears no verified token, so there are no claims to make {name} of; ask "
            "whether `current_call().principal` is None first, or let policy require a token"
        )
    found = dict(claims)
    try:
        return msgspec.convert(found, type_)
    except msgspec.ValidationError:
        pass  # an issuer may write a number as a text; what fits as it is stays as it is
    except (TypeError, NameError) as error:  # NameError: its annotations name what is not there
        raise ClaimsError(f"{name} is no type that claims can be made into: {error}") from None
    try:
        return msgspec.convert(found, type_, strict=False)
    except msgspec.ValidationError as error:
        wrong = _without_values(str(error))
    raise ClaimsError(f"the token's claims are no {name}: {wrong}")


def _without_values(message: str) -> str:
    """Return what msgspec says, without anything that the claims say."""
    about_types = _ABOUT_TYPES.fullmatch(message)
    if about_types is not None:
        where = f" at {about_types[2]}" if about_types[2] else ""
        return f"{about_types[1]}{where}"
    place = _PLACE.search(message)
    where = place[1] if place is not None else "$"
    return f"the value at {where} is none of those that the type takes"
