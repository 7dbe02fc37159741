"""Carry out what a route changes in headers, for one call."""

from __future__ import annotations

from meshware.call import MessageEdit, RequestHead
from meshware.policy.edits import HeaderEdit

__all__ = ["edited", "for_call"]


def for_call(edit: HeaderEdit, head: RequestHead) -> MessageEdit:
    """Return an edit with the values that it has for this call."""
    return MessageEdit(edit.dropped(head), edit.values(head))


def edited(
    headers: tuple[tuple[str, str], ...], edit: HeaderEdit, head: RequestHead
) -> tuple[tuple[str, str], ...]:
    """Return the headers of an answer of our own, changed."""
    dropped = edit.dropped(head)
    kept = tuple(pair for pair in headers if pair[0] not in dropped)
    return kept + edit.values(head)
