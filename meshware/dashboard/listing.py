"""Pick from what is remembered of calls and traces: by who, by what, and what came since.

What came since is told by a cursor, a text of the daemon's own: its life and the number of what was
seen last. One of another life means nothing, and is answered with everything.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

__all__ = ["Wanted", "calls_of", "cursor", "since_of", "traces_of", "wanted"]

MOST_LISTED = 1000
_LISTED = 300
_LISTED_TRACES = 100
_MOST_WORD = 300


class Wanted(NamedTuple):
    """What a reader wants to see."""

    service: str  # a workload, or a service that was called; "" for any
    namespace: str
    reason: str  # a part of reason, policy, flags or exception, in lower case
    direction: str
    is_failed_only: bool  # of traces
    limit: int
    since: str  # a cursor; "": everything


def wanted(parameters: Mapping[str, str], *, listed: int = _LISTED) -> Wanted | str:
    """Return what a query asks for, or what is wrong with it."""
    limit = parameters.get("limit", str(listed))
    if not (limit.isascii() and limit.isdigit() and len(limit) <= 4) or not (
        1 <= int(limit) <= MOST_LISTED
    ):
        return f"limit is a number from 1 to {MOST_LISTED}"
    words = {
        name: parameters.get(name, "")
        for name in ("service", "namespace", "reason", "direction", "since")
    }
    for name, word in words.items():
        if len(word) > _MOST_WORD:
            return f"{name} is longer than {_MOST_WORD} characters"
    if words["direction"] not in ("", "inbound", "outbound"):
        return "direction is inbound or outbound"
    return Wanted(
        service=words["service"],
        namespace=words["namespace"],
        reason=words["reason"].lower(),
        direction=words["direction"],
        is_failed_only=parameters.get("errors", "") not in ("", "0", "false"),
        limit=int(limit),
        since=words["since"],
    )


def cursor(epoch: str, seen: int) -> str:
    """Return the text by which a reader asks for what came since."""
    return f"{epoch}.{seen}"


def since_of(text: str, epoch: str) -> int:
    """Return the number behind which a reader wants to see; 0: everything."""
    life, _, number = text.partition(".")
    if life != epoch or not (number.isascii() and number.isdigit() and len(number) < 16):
        return 0
    return int(number)


def calls_of(
    calls: Iterable[Mapping[str, Any]], want: Wanted, since: int
) -> list[Mapping[str, Any]]:
    """Return the calls that are wanted, in the order in which they come."""
    found = []
    for call in calls:
        if call["seen"] > since and _is_wanted_call(call, want):
            found.append(call)
            if len(found) >= want.limit:
                break
    return found


def traces_of(
    traces: Iterable[Mapping[str, Any]], want: Wanted, since: int
) -> list[Mapping[str, Any]]:
    """Return the traces that are wanted, in the order in which they come."""
    found = []
    for trace in traces:
        if trace["seen"] > since and _is_wanted_trace(trace, want):
            found.append(trace)
            if len(found) >= want.limit:
                break
    return found


def _is_wanted_call(call: Mapping[str, Any], want: Wanted) -> bool:
    if want.direction and call["direction"] != want.direction:
        return False
    if want.namespace and call["namespace"] != want.namespace:
        return False
    if want.service and want.service not in _names(call):
        return False
    if want.reason:
        said = (call[name] for name in ("reason", "policy", "flags", "exception"))
        return any(want.reason in str(word).lower() for word in said if word)
    return True


def _names(call: Mapping[str, Any]) -> set[str]:
    """Return by what names the service of a call may be asked for: who told of it, and who was
    called."""
    names = {call["workload"], f"{call['namespace']}/{call['workload']}"}
    for written in (call["service"], call["host"] if call["direction"] == "outbound" else None):
        if written:
            host = written.partition(":")[0]
            names |= {written, host, host.partition(".")[0]}
    return names


def _is_wanted_trace(trace: Mapping[str, Any], want: Wanted) -> bool:
    if want.is_failed_only and not trace["is_failed"]:
        return False
    services = trace["services"]
    if want.namespace and not any(name.startswith(f"{want.namespace}/") for name in services):
        return False
    if not want.service:
        return True
    return any(want.service in (name, name.partition("/")[2]) for name in services)
