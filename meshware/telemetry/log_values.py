"""What the operators of an access log stand for: functions of one call, looked up when compiled.

A value is a text, a number, or None where there is none; numbers stay numbers in JSON, as they do
in Envoy's. Source: Envoy, "Substitution Formatter".
"""

from __future__ import annotations

import hashlib
import re
import uuid
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import NamedTuple
from urllib.parse import unquote

from meshware.call import Flag
from meshware.grpc import grpc_status
from meshware.policy.log_format import Part
from meshware.policy.log_operators import OPERATORS
from meshware.telemetry import log_addresses, log_times
from meshware.telemetry.log_certificates import Certificate, certificate
from meshware.telemetry.log_entry import Entry, Maker, Value, ValueOf
from meshware.telemetry.log_times import time_maker

__all__ = ["Surroundings", "value_of"]


class Surroundings(NamedTuple):
    """What of the process a log may say."""

    environ: Mapping[str, str]
    hostname: str


def value_of(part: Part, around: Surroundings) -> ValueOf:
    """Return what an operator stands for.

    Args:
        part: of a format that was compiled without problems.
        around: what is read once, when the log is set up, as Envoy does.
    """
    if OPERATORS[part.name].absent:
        return _nothing
    if part.name == "ENVIRONMENT":
        found = around.environ.get(part.argument, "-")  # Envoy's, in JSON too
        text = found if part.length is None else found[: part.length]
        return lambda _: text
    if part.name == "HOSTNAME":
        name = around.hostname
        return lambda _: name
    made = _MAKERS.get(part.name)
    value = _PLAIN[part.name] if made is None else made(part.argument)
    length = part.length
    if length is None:
        return value

    def cut(entry: Entry) -> Value:
        whole = value(entry)
        return whole[:length] if isinstance(whole, str) else whole

    return cut


def _nothing(_: Entry) -> Value:
    return None


# --- the request --------------------------------------------------------------------------------


def _names(argument: str) -> tuple[str, str]:
    main, _, other = argument.lower().partition("?")
    return main, other


def _request_header(argument: str) -> ValueOf:
    main, other = _names(argument)

    def value(entry: Entry) -> Value:
        found = entry.header(main)
        return entry.header(other) if found is None and other else found

    return value


def _request_header_bare(argument: str) -> ValueOf:
    whole = _request_header(argument)

    def value(entry: Entry) -> Value:
        found = whole(entry)
        return found.partition("?")[0] if isinstance(found, str) else found

    return value


def _response_header(argument: str) -> ValueOf:
    main, other = _names(argument)

    def value(entry: Entry) -> Value:
        found = entry.response_header(main)
        return entry.response_header(other) if found is None and other else found

    return value


def _path(argument: str) -> ValueOf:
    shown, _, source = argument.partition(":")

    def value(entry: Entry) -> Value:
        found = None if source == "PATH" else entry.header("x-envoy-original-path")
        if found is None and source != "ORIG":
            found = entry.header(":path")
        return found.partition("?")[0] if found is not None and shown == "NQ" else found

    return value


def _query_parameter(argument: str) -> ValueOf:
    wanted = argument.encode().decode("latin-1")  # as whatever servers hand over

    def value(entry: Entry) -> Value:
        # Envoy: the first one counts, and `+` is no blank.
        for pair in (entry.query or "").split("&"):
            name, _, found = pair.partition("=")
            if unquote(name, encoding="latin-1") == wanted:
                return unquote(found, encoding="latin-1")
        return None

    return value


def _query_parameters(argument: str) -> ValueOf:
    def value(entry: Entry) -> Value:
        query = entry.query
        if query is None or argument != "DECODED":
            return query
        return unquote(query, encoding="latin-1")

    return value


def _server_name(argument: str) -> ValueOf:
    order, _, source = argument.partition(":")

    def host(entry: Entry) -> str | None:
        found = None if source == "HOST" else entry.header("x-envoy-original-host")
        return entry.header(":authority") if found is None and source != "ORIG" else found

    def value(entry: Entry) -> Value:
        if order == "HOST_FIRST":
            return host(entry) or entry.server_name
        if order == "SNI_FIRST":
            return entry.server_name or host(entry)
        return entry.server_name

    return value


# --- the response -------------------------------------------------------------------------------

_LONG_FLAGS = {
    Flag.NO_HEALTHY_UPSTREAM: "NoHealthyUpstream",
    Flag.UPSTREAM_TIMEOUT: "UpstreamRequestTimeout",
    Flag.UPSTREAM_REMOTE_RESET: "UpstreamRemoteReset",
    Flag.UPSTREAM_CONNECT_FAILURE: "UpstreamConnectionFailure",
    Flag.UPSTREAM_TERMINATION: "UpstreamConnectionTermination",
    Flag.UPSTREAM_OVERFLOW: "UpstreamOverflow",
    Flag.NO_ROUTE: "NoRouteFound",
    Flag.DELAY_INJECTED: "DelayInjected",
    Flag.FAULT_INJECTED: "FaultInjected",
    Flag.RATE_LIMITED: "RateLimited",
    Flag.EXTERNAL_AUTHORIZER: "UnauthorizedExternalService",
    Flag.DOWNSTREAM_CLOSED: "DownstreamConnectionTermination",
    Flag.RETRY_LIMIT: "UpstreamRetryLimitExceeded",
    Flag.UPSTREAM_PROTOCOL: "UpstreamProtocolError",
    Flag.NO_CLUSTER: "NoClusterFound",
}


def _long_flags(entry: Entry) -> Value:
    flags = entry.event.flags
    if flags == "-":
        return flags
    return ",".join(_LONG_FLAGS[Flag(flag)] for flag in flags.split(","))


def _details(argument: str) -> ValueOf:
    if argument == "ALLOW_WHITESPACES":
        return lambda entry: entry.details
    return lambda entry: _BLANK.sub("_", entry.details)


_BLANK = re.compile(r"\s")

_GRPC = (
    "OK", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND",
    "ALREADY_EXISTS", "PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "ABORTED",
    "OUT_OF_RANGE", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS", "UNAUTHENTICATED",
)  # fmt: skip
_GRPC_CAMEL = tuple(
    "OK" if name == "OK" else "Canceled" if name == "CANCELLED" else name.title().replace("_", "")
    for name in _GRPC
)


def _grpc_status(argument: str) -> ValueOf:
    names = _GRPC if argument == "SNAKE_STRING" else _GRPC_CAMEL

    def value(entry: Entry) -> Value:
        if not entry.is_grpc:
            return None
        number = grpc_status(entry.response_headers)
        if number is None:
            return None
        if argument == "NUMBER":
            return number
        return names[number] if number < len(names) else str(number)

    return value


# --- TLS ----------------------------------------------------------------------------------------


def _of_certificate(of: Callable[[Certificate], str]) -> ValueOf:
    def value(entry: Entry) -> Value:
        chain = entry.peer_chain
        found = certificate(chain[0]) if chain else None
        return None if found is None else of(found) or None

    return value


def _certificate_time(of: Callable[[Certificate], datetime]) -> Callable[[Entry], datetime | None]:
    def at(entry: Entry) -> datetime | None:
        chain = entry.peer_chain
        found = certificate(chain[0]) if chain else None
        return None if found is None else of(found)

    return at


def _fingerprint(algorithm: str) -> ValueOf:
    def value(entry: Entry) -> Value:
        chain = entry.peer_chain
        return hashlib.new(algorithm, chain[0]).hexdigest() if chain else None

    return value


# --- traces -------------------------------------------------------------------------------------


def _trace_id(entry: Entry) -> Value:
    return None if entry.trace is None else entry.trace.trace_id or None


def _span_id(entry: Entry) -> Value:
    return None if entry.trace is None else entry.trace.span_id or None


_MAKERS: dict[str, Maker] = {
    **log_times.MAKERS,
    **log_addresses.MAKERS,
    "REQ": _request_header,
    "REQUEST_HEADER": _request_header,
    "STREAM_INFO_REQ": _request_header,
    "REQ_WITHOUT_QUERY": _request_header_bare,
    "RESP": _response_header,
    "RESPONSE_HEADER": _response_header,
    "RESPONSE_CODE_DETAILS": _details,
    "DOWNSTREAM_PEER_CERT_V_START": time_maker(_certificate_time(lambda found: found.begins)),
    "DOWNSTREAM_PEER_CERT_V_END": time_maker(_certificate_time(lambda found: found.ends)),
    "REQUESTED_SERVER_NAME": _server_name,
    "GRPC_STATUS": _grpc_status,
    "QUERY_PARAM": _query_parameter,
    "QUERY_PARAMS": _query_parameters,
    "PATH": _path,
}

_PLAIN: dict[str, ValueOf] = {
    **log_times.PLAIN,
    **log_addresses.PLAIN,
    "PROTOCOL": lambda entry: entry.protocol,
    "RESPONSE_CODE": lambda entry: entry.event.status,
    "CONNECTION_TERMINATION_DETAILS": _nothing,
    "RESPONSE_FLAGS": lambda entry: entry.event.flags,
    "RESPONSE_FLAGS_LONG": _long_flags,
    "BYTES_RECEIVED": lambda entry: entry.received,
    "BYTES_SENT": lambda entry: entry.sent,
    "UPSTREAM_CLUSTER": lambda entry: entry.cluster,
    "UPSTREAM_CLUSTER_RAW": lambda entry: entry.cluster,
    "UPSTREAM_LOCAL_ADDRESS": _nothing,
    "UPSTREAM_REQUEST_ATTEMPT_COUNT": lambda entry: entry.attempts,
    "UPSTREAM_TRANSPORT_FAILURE_REASON": lambda entry: entry.failure,
    "DOWNSTREAM_PEER_URI_SAN": lambda entry: entry.peer_id,
    "DOWNSTREAM_PEER_SUBJECT": _of_certificate(lambda found: found.subject),
    "DOWNSTREAM_PEER_ISSUER": _of_certificate(lambda found: found.issuer),
    "DOWNSTREAM_PEER_SERIAL": _of_certificate(lambda found: found.serial),
    "DOWNSTREAM_PEER_FINGERPRINT_256": _fingerprint("sha256"),
    "DOWNSTREAM_PEER_FINGERPRINT_1": _fingerprint("sha1"),
    "DOWNSTREAM_LOCAL_URI_SAN": lambda entry: entry.own_id,
    "ROUTE_NAME": lambda entry: entry.route,
    "STREAM_ID": lambda entry: entry.request_id,
    "TRACE_ID": _trace_id,
    "SPAN_ID": _span_id,
    "GRPC_STATUS_NUMBER": _grpc_status("NUMBER"),
    "UNIQUE_ID": lambda _: str(uuid.uuid4()),
    "ACCESS_LOG_TYPE": lambda _: "DownstreamEnd",
}
