"""What the names of a request's headers say, whatever their values.

Clients send the same names again and again, so it is worked out once for each list of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from meshware.trace import TRACE_HEADERS

__all__ = ["OURS", "HeaderNames", "header_names"]

OURS = ("x-envoy-", "x-meshware-", "x-forwarded-client-cert")
"""Headers with which only the mesh speaks; from anyone else they are removed."""

_MOST_KNOWN = 1000
_MOST_NAMES = 64  # of one request, to be remembered: callers may make up any number


class HeaderNames(NamedTuple):
    """What stands out among the names of a request's headers, in their order."""

    twins: tuple[tuple[str, str], ...]  # with underscores, and what each may be taken for
    ours: tuple[str, ...]  # with which only the mesh speaks, underscores taken for dashes
    traces: tuple[str, ...]  # that say a trace context, in any format


_known: dict[tuple[str, ...], HeaderNames] = {}


def header_names(names: Sequence[str]) -> HeaderNames:
    """Return what stands out among names, in lower case."""
    key = tuple(names)
    found = _known.get(key)
    if found is None:
        found = HeaderNames(
            tuple([(name, name.replace("_", "-")) for name in key if "_" in name]),
            # Underscores too, for CGI-style code takes them for dashes.
            tuple([name for name in key if name.replace("_", "-").startswith(OURS)]),
            tuple([name for name in dict.fromkeys(key) if name in TRACE_HEADERS]),
        )
        if len(key) <= _MOST_NAMES and sum(map(len, key)) <= 16 * _MOST_NAMES:
            if len(_known) >= _MOST_KNOWN:
                _known.clear()
            _known[key] = found
    return found
