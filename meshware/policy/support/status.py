"""How far a field of policy is carried out, and what there is to say about it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

__all__ = ["Status", "Support", "differs", "done", "later", "never"]


class Status(StrEnum):
    """How far a field is carried out."""

    DONE = "done"
    DIFFERS = "differs"  # done, in another way than Istio: the note says how
    LATER = "not supported yet"
    NOT_APPLICABLE = "not applicable"


@dataclass(frozen=True, slots=True)
class Support:
    """The status of a field, and what there is to say about it."""

    status: Status
    note: str = ""


def done(note: str = "") -> Support:
    """Return that a field is carried out as in Istio."""
    return Support(Status.DONE, note)


def differs(note: str) -> Support:
    """Return that a field is carried out in another way; the note says how."""
    return Support(Status.DIFFERS, note)


def later(note: str = "") -> Support:
    """Return that a field is refused until it is carried out."""
    return Support(Status.LATER, note)


def never(why: str) -> Support:
    """Return that a field has no meaning in an app's process."""
    return Support(Status.NOT_APPLICABLE, why)
