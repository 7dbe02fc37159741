"""Faults and CORS: what filters before the router do for a route, on the client's side."""

from __future__ import annotations

from meshware.envoy.values import Json, any_of, duration, fraction, string_match
from meshware.policy.document.common import StringMatch
from meshware.policy.document.virtual_service import (
    CorsPolicy,
    FaultAbort,
    FaultDelay,
    HTTPFaultInjection,
    Percent,
)

__all__ = ["CORS", "FAULT", "cors", "fault"]

CORS = "envoy.filters.http.cors"
FAULT = "envoy.filters.http.fault"

_FAULT_TYPE = "envoy.extensions.filters.http.fault.v3.HTTPFault"
_CORS_TYPE = "envoy.extensions.filters.http.cors.v3.CorsPolicy"

# gRPC's status codes by name.
_GRPC = (
    "OK", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND",
    "ALREADY_EXISTS", "PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "ABORTED",
    "OUT_OF_RANGE", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS", "UNAUTHENTICATED",
)  # fmt: skip


def fault(written: HTTPFaultInjection | None) -> Json | None:
    """Return the faults of a route; None when there are none."""
    if written is None:
        return None
    fields: Json = {}
    if written.delay is not None and written.delay.fixed_delay:
        fields["delay"] = _delay(written.delay)
    if written.abort is not None:
        fields["abort"] = _abort(written.abort)
    return any_of(_FAULT_TYPE, **fields) if fields else None


def _delay(delay: FaultDelay) -> Json:
    share = delay.percentage
    if share is None and delay.percent:
        share = Percent(value=float(delay.percent))  # the deprecated field, in whole percents
    return {"fixed_delay": duration(delay.fixed_delay or 0), "percentage": fraction(share)}


def _abort(abort: FaultAbort) -> Json:
    share = {"percentage": fraction(abort.percentage)}
    if abort.grpc_status is not None:
        return {"grpc_status": _GRPC.index(abort.grpc_status), **share}
    return {"http_status": abort.http_status or 200, **share}


def cors(written: CorsPolicy | None) -> Json | None:
    """Return the CORS settings of a route; None when there are none.

    Envoy carries them out here, before the call leaves; in the mesh it is the callee's answer that
    a browser asks for.
    """
    if written is None:
        return None
    origins = [string_match(StringMatch(exact=name)) for name in written.allow_origin or ()]
    origins += [string_match(match) for match in written.allow_origins or ()]
    fields: Json = {
        "allow_origin_string_match": origins,
        "forward_not_matching_preflights": written.unmatched_preflights != "IGNORE",
        "filter_enabled": {"default_value": {"numerator": 100}},
    }
    for name, values in (
        ("allow_methods", written.allow_methods),
        ("allow_headers", written.allow_headers),
        ("expose_headers", written.expose_headers),
    ):
        if values:
            fields[name] = ",".join(values)
    if written.max_age is not None:
        fields["max_age"] = str(int(written.max_age))
    if written.allow_credentials is not None:
        fields["allow_credentials"] = written.allow_credentials
    return any_of(_CORS_TYPE, **fields)
