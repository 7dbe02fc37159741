"""Envoy's response code details of a call: in a word, how it ended.

Source: Envoy, `source/common/stream_info/utility.h` and `source/common/http/utility.cc`.
"""

from __future__ import annotations

from meshware.call import Flag
from meshware.events import InboundEvent, OutboundEvent

__all__ = ["OVERFLOW", "UNCONNECTED", "inbound_details", "outbound_details"]

OVERFLOW = "upstream_reset_before_response_started{overflow}"

UNCONNECTED = ("connect", "connect-timeout", "tls")
"""Failures of attempts that had no connection yet."""

_RESETS = {
    "connect": "remote_connection_failure",
    "connect-timeout": "connection_timeout",
    "tls": "remote_connection_failure",
    "reset": "connection_termination",
    "terminated": "connection_termination",
    "protocol": "protocol_error",
}
_AFTER = {  # the headers of the response
    "UC": "upstream_reset_after_response_started{connection_termination}",
    "UPE": "upstream_reset_after_response_started{protocol_error}",
    "UF": "upstream_reset_after_response_started{connection_termination}",
    "UT": "response_timeout",
}
_BEFORE = {  # any attempt; the last two behind one as well
    "NR": "route_not_found",
    "NC": "cluster_not_found",
    "UH": "no_healthy_upstream",
    "UO": OVERFLOW,
}


def inbound_details(event: InboundEvent) -> str:
    """Return the details of a call that came in."""
    if event.flag is Flag.DOWNSTREAM_CLOSED:
        return "downstream_remote_disconnect"
    if event.flag is Flag.UPSTREAM_TERMINATION:
        return "upstream_reset_after_response_started{connection_termination}"
    return event.reason


def outbound_details(event: OutboundEvent, *, has_library: bool = True) -> str:
    """Return the details of a call that went out.

    Args:
        event: of the call.
        has_library: with what the client library says of a connection that failed.
    """
    flags = event.flags.split(",")
    if "DC" in flags:
        return "downstream_remote_disconnect"
    if event.response is not None:
        return next((words for flag, words in _AFTER.items() if flag in flags), "via_upstream")
    if "FI" in flags:
        return "fault_filter_abort"
    for flag, details in _BEFORE.items():
        if flag in flags and (not event.attempts or flag in ("UH", "UO")):
            return details
    last = event.tries[-1] if event.tries else None
    if last is not None and last.failure is not None:
        if last.failure == "timeout":
            return "upstream_per_try_timeout" if last.is_over_try else "response_timeout"
        reason = _RESETS.get(last.failure, last.failure)
        told = ""
        if has_library and last.failure in UNCONNECTED and last.detail:
            told = f"|{last.detail}"
        return f"upstream_reset_before_response_started{{{reason}{told}}}"
    if "UT" in flags:
        return "response_timeout"
    if event.attempts:  # of what is passed through, nothing is known but the flags
        return "upstream_reset_before_response_started"
    return "direct_response" if event.generation else "no_policy"
