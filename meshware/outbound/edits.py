"""Carry out what a route changes in headers, for one call."""

from __future__ import annotations

from meshware.call import MessageEdit, RequestHead
from meshware.policy.edits import HeaderEdit, edit_for

__all__ = ["edited", "request_edit", "response_edit"]


def request_edit(edit: HeaderEdit, head: RequestHead) -> MessageEdit:
    """Return an edit of the request, with the values that it has for this call."""
    return MessageEdit(*edit_for(edit, head, of_request=True))


def response_edit(edit: HeaderEdit, head: RequestHead) -> MessageEdit:
    """Return an edit of the response, with the values that it has for this call.

    Args:
        edit: the change.
        head: the request as it went out, which Envoy reads values from.
    """
    return MessageEdit(*edit_for(edit, head, of_request=False))


def edited(
    headers: tuple[tuple[str, str], ...], edit: HeaderEdit, head: RequestHead
) -> tuple[tuple[str, str], ...]:
    """Return the headers of an answer of our own, changed."""
    change = response_edit(edit, head)
    return tuple(pair for pair in headers if pair[0] not in change.drop) + change.append
