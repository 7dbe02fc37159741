"""Keep secrets and tricks out of what is told of calls: callers may write anything anywhere."""

from __future__ import annotations

import re

__all__ = ["without_queries", "without_secrets", "without_tokens"]

_TOKEN = re.compile(r"eyJ[A-Za-z0-9_-]{6,}(?:\.[A-Za-z0-9_-]*){0,2}")
"""What looks like a token: a caller may write one anywhere."""

_QUERY = re.compile(r"\?[^\s'\"<>)]*")


def without_tokens(text: str) -> str:
    """Return a text without what looks like a token."""
    return _TOKEN.sub("[token]", text) if "eyJ" in text else text


def without_secrets(text: str) -> str:
    """Return a host without password and token."""
    if "@" in text:
        text = "***" + text[text.rindex("@") :]
    return without_tokens(text)


def without_queries(text: str) -> str:
    """Return what a library says of a failure, without the queries of URLs in it."""
    return without_tokens(_QUERY.sub("?...", text) if "?" in text else text)
