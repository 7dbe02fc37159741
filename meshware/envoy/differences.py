"""Where calls through the mesh go otherwise than through Envoy, on purpose, and why.

The conformance tests play the same calls on both sides; what differs in an aspect that is not
listed here for the case fails. The reference page of fields is made from this table as well.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

__all__ = ["DIFFERENCES", "Difference"]


@dataclass(frozen=True, slots=True)
class Difference:
    """One way in which a call goes otherwise."""

    what: str  # the mesh does, and Envoy
    why: str
    aspects: tuple[str, ...]  # as the tests name them: status, attempts, request-headers ...


DIFFERENCES: Mapping[str, Difference] = MappingProxyType(
    {
        "repeats-only-what-is-safe": Difference(
            what="A request whose method is not idempotent is sent once, unless a ServicePolicy "
            "says that it is safe to repeat; Envoy repeats it when `retryOn` matches.",
            why="`retryOn: 5xx` must not repeat payments.",
            aspects=("status", "body", "flags", "attempts", "upstream", "response-headers"),
        ),
        "tries-another-endpoint": Difference(
            what="A retry goes to an endpoint that was not tried while there is one; Envoy draws "
            "up to five times, and may meet the same.",
            why="In process the endpoints are at hand, and drawing again is no cheaper.",
            aspects=("attempts", "upstream", "status", "body", "flags", "response-headers"),
        ),
        "operations-on-failures": Difference(
            what="Operations on response headers leave the mesh's own answers for failures alone.",
            why="The app reads them as the mesh's word, not the upstream's.",
            aspects=("response-headers",),
        ),
        "steering-headers": Difference(
            what="`x-envoy-retry-on` and its like go to the upstream as the app wrote them; Envoy "
            "takes some of them out.",
            why="Policy is never taken from requests, so there is nothing to consume.",
            aspects=("request-headers",),
        ),
    }
)
"""By the name that cases give."""
