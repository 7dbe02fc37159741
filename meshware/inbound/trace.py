"""Read the headers by which one call is told from others: its request id."""

from __future__ import annotations

import re

from meshware.call import HeaderLookup

__all__ = ["read_request_id"]

_REQUEST_ID = re.compile(r"[!-~]{1,200}")


def read_request_id(headers: HeaderLookup) -> str | None:
    """Return `x-request-id` as sent; None when there is none, or not exactly one that is sound."""
    values = headers("x-request-id")
    if len(values) == 1 and _REQUEST_ID.fullmatch(values[0]):
        return values[0]
    return None
