"""What is known of one call while it is decided."""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from meshware.call import HeaderLookup, RequestHead
from meshware.inbound.authn import NO_USER, Identified
from meshware.inbound.head import InboundHead
from meshware.inbound.meaning import Meaning
from meshware.inbound.peer import NOBODY, Caller
from meshware.inbound.shadow import NO_MARKS, Marks
from meshware.policy.snapshot import Snapshot

__all__ = ["Question", "Told", "as_routed"]

_NOTHING = Meaning(())


class Told(NamedTuple):
    """A header that an authorizer adds to the response."""

    name: str
    value: str
    by: str


class Question(msgspec.Struct, eq=False):
    """One call, and what the steps so far have found out about it."""

    head: InboundHead
    started_at: float
    snapshot: Snapshot | None = None
    request_id: str | None = None
    meaning: Meaning = _NOTHING
    caller: Caller = NOBODY
    marks: Marks = NO_MARKS
    user: Identified = NO_USER
    decided_s: float = 0.0  # spent so far, waits for authorizers apart
    is_counted: bool = False  # among the calls under way
    # What only the mesh may say: headers that callers sent of it, and its own.
    cleaned: tuple[str, ...] = ()
    said: tuple[tuple[str, str], ...] = ()
    # What authorizers change: headers that the app gets no more (lower case) and gets in their
    # place, and headers of the response.
    remove: tuple[str, ...] = ()
    add: tuple[tuple[str, str], ...] = ()
    response: tuple[Told, ...] = ()

    @property
    def request_principal(self) -> str | None:
        """Return who is behind the call by its token; None: nobody, as far as is known."""
        believed = self.user.believed
        return None if believed is None else believed.user.principal

    def changed(self) -> tuple[tuple[str, ...], tuple[tuple[str, str], ...]]:
        """Return which headers the app gets no more, and which in their place.

        What tokens come to counts over what an authorizer has set, and what only the mesh may say
        over both.
        """
        user = self.user
        if not self.add and not self.remove:
            return user.remove + self.cleaned, user.add + self.said
        said = {*user.remove, *(name for name, _ in user.add)}
        kept = tuple(pair for pair in self.add if pair[0] not in said)
        return (
            (*self.remove, *user.remove, *self.cleaned),
            (*kept, *user.add, *self.said),
        )

    @property
    def generation(self) -> int:
        """Return the generation of the policy that decides; 0: there is none."""
        return 0 if self.snapshot is None else self.snapshot.generation


def as_routed(asked: Question, authority: str, headers: HeaderLookup | None = None) -> RequestHead:
    """Return a request as the routes of its service look at one; None: with its headers."""
    head = asked.head
    mark, query = ("", "") if head.target is None else head.target.partition("?")[1:]
    host, colon, port = authority.rpartition(":")
    return RequestHead(
        method=head.method,
        scheme=head.scheme,
        host=host if colon and port.isdigit() else authority,
        port=head.port or 0,
        authority=authority,
        target=f"{asked.meaning.candidates[0]}{mark}{query}",
        headers=headers or head.headers,
        replayable=False,
    )
