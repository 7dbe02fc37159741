"""Carry out what policy changes in the headers of requests and responses of urllib3."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from urllib3 import HTTPHeaderDict
from urllib3.util import SKIP_HEADER

from meshware.call import MessageEdit

__all__ = ["edit_response", "edited_request"]

_OWN = ("accept-encoding", "user-agent")  # urllib3 puts its own where there are none


def edited_request(
    headers: Mapping[str, Any], edit: MessageEdit, ours: Iterable[tuple[str, str]]
) -> Mapping[str, Any]:
    """Return a request's headers, changed; one may come several times.

    Args:
        headers: as the caller has them, without those that are set.
        edit: what policy changes.
        ours: what is set last.
    """
    edited = HTTPHeaderDict()
    for name, value in headers.items():
        if name.lower() not in edit.drop:
            edited.add(name, value)
    for name, value in (*edit.append, *ours):
        edited.add(name, value)
    for name in _OWN:
        if name in edit.drop and name not in edited:
            edited[name] = SKIP_HEADER
    return edited


def edit_response(raw: Any, edit: MessageEdit) -> None:
    """Change the headers of a urllib3 response, before requests makes its own of it."""
    _change(raw.headers, raw.headers.add, edit)
    message = getattr(getattr(raw, "_original_response", None), "msg", None)
    if message is not None:  # where requests looks for cookies
        _change(message, message.add_header, edit)


def _change(headers: Any, add: Any, edit: MessageEdit) -> None:
    for name in edit.drop:
        if name in headers:
            del headers[name]
    for name, value in edit.append:
        add(name, value)
