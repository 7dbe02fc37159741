"""The operators of access log formats: what each takes, and which of them say nothing in process.

Envoy knows more of a connection than a process that is handed requests does: bytes of headers,
the cipher, the ends of its own connections. Such operators are taken, so that a format that was
written for a sidecar can be used as it is, and stand for nothing; whoever checks policy is told.

Source: Envoy, "Substitution Formatter", supported commands.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from meshware.policy.log_time import complaint_about_time

__all__ = ["ELSEWHERE", "OPERATORS", "Operator"]

Complaint = Callable[[str], str | None]

_HEADER = re.compile(r":?[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_POINTS = frozenset({"DS_RX_BEG", "US_TX_BEG", "US_RX_BEG", "DS_TX_BEG", "DS_TX_END"})
_ENVOYS_POINTS = _POINTS | {
    "DS_RX_END", "US_CX_BEG", "US_CX_END", "US_HS_END", "US_TX_END", "US_RX_BODY_BEG", "US_RX_END",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Operator:
    """What may be written of an operator.

    Attributes:
        takes: an argument in brackets: none, one if wanted, or always one.
        has_length: `:LENGTH` may be behind it.
        complaint: returns what is wrong with an argument, and its remedy; None: nothing.
        absent: why it stands for nothing here; "": it stands for something.
    """

    takes: Literal["nothing", "may", "must"] = "nothing"
    has_length: bool = False
    complaint: Complaint | None = None
    absent: str = ""


def _about_headers(argument: str) -> str | None:
    names = argument.split("?")
    if len(names) > 2:
        return "only one alternative may be named, as in %REQ(X-A?X-B)%"
    wrong = [name for name in names if not _HEADER.fullmatch(name)]
    if wrong:
        return f"{wrong[0]!r} is no name of a header"
    return None


def _about_time(argument: str) -> str | None:
    return complaint_about_time(argument)


def _one_of(*words: str) -> Complaint:
    def complaint(argument: str) -> str | None:
        return None if argument in words else f"write one of {', '.join(filter(None, words))}"

    return complaint


def _about_choices(first: tuple[str, ...], second: tuple[str, ...]) -> Complaint:
    def complaint(argument: str) -> str | None:
        one, colon, other = argument.partition(":")
        if one and one not in first:
            return f"{one!r} is none of {', '.join(first)}"
        if colon and other not in second:
            return f"{other!r} is none of {', '.join(second)}"
        return None

    return complaint


def _about_prefix(argument: str) -> str | None:
    if not argument or (argument.isascii() and argument.isdigit() and int(argument) <= 128):
        return None
    return "write the length of a prefix, 0 to 32 or 128"


def _about_duration(argument: str) -> str | None:
    points = argument.split(":")
    if not 2 <= len(points) <= 3:
        return "write START:END or START:END:PRECISION, as DS_RX_BEG:DS_TX_END:us"
    for point in points[:2]:
        if point not in _ENVOYS_POINTS:
            return f"there is no point {point!r}; write one of {', '.join(sorted(_POINTS))}"
        if point not in _POINTS:
            return f"{point} is not seen in process; write one of {', '.join(sorted(_POINTS))}"
    if len(points) == 3 and points[2] not in ("ms", "us", "ns"):
        return f"{points[2]!r} is no precision; write ms, us or ns"
    return None


_REQUEST = Operator("must", True, _about_headers)
_TIME = Operator("may", False, _about_time)
_ADDRESS = Operator("may", False, _about_prefix)
_PLAIN = Operator()
_WIRE = "servers and clients do not say how many bytes went over the wire besides bodies"
_TLS = "servers and clients do not say it"
_OURS = "the library's own connection is not seen"
_FILTERS = "there are no Envoy filters in process that would set any"
_TRAILERS = "trailers pass by the mesh unseen"


def _absent(why: str, *names: str, like: Operator = _PLAIN) -> dict[str, Operator]:
    found = Operator(like.takes, like.has_length, like.complaint, why)
    return dict.fromkeys(names, found)


_MAY = Operator("may", True)
_MUST = Operator("must", True)

OPERATORS: dict[str, Operator] = {
    "REQ": _REQUEST,
    "REQUEST_HEADER": _REQUEST,
    "RESP": _REQUEST,
    "RESPONSE_HEADER": _REQUEST,
    "REQ_WITHOUT_QUERY": _REQUEST,
    "STREAM_INFO_REQ": _REQUEST,
    "START_TIME": _TIME,
    "START_TIME_LOCAL": _TIME,
    "EMIT_TIME": _TIME,
    "EMIT_TIME_LOCAL": _TIME,
    "PROTOCOL": _PLAIN,
    "RESPONSE_CODE": _PLAIN,
    "RESPONSE_CODE_DETAILS": Operator("may", False, _one_of("", "ALLOW_WHITESPACES")),
    # In process nothing ends a connection for reasons of its own, so it says nothing, as it
    # mostly does in Envoy; it is in the default format.
    "CONNECTION_TERMINATION_DETAILS": _PLAIN,
    "RESPONSE_FLAGS": _PLAIN,
    "RESPONSE_FLAGS_LONG": _PLAIN,
    "BYTES_RECEIVED": _PLAIN,
    "BYTES_SENT": _PLAIN,
    "DURATION": _PLAIN,
    "REQUEST_DURATION": _PLAIN,
    "RESPONSE_DURATION": _PLAIN,
    "RESPONSE_TX_DURATION": _PLAIN,
    "COMMON_DURATION": Operator("must", False, _about_duration),
    "UPSTREAM_HOST": _PLAIN,
    "UPSTREAM_HOST_NAME": _PLAIN,
    "UPSTREAM_HOST_NAME_WITHOUT_PORT": _PLAIN,
    "UPSTREAM_HOSTS_ATTEMPTED": _PLAIN,
    "UPSTREAM_HOSTS_ATTEMPTED_WITHOUT_PORT": _PLAIN,
    "UPSTREAM_HOST_NAMES_ATTEMPTED": _PLAIN,
    "UPSTREAM_HOST_NAMES_ATTEMPTED_WITHOUT_PORT": _PLAIN,
    "UPSTREAM_CLUSTER": _PLAIN,
    "UPSTREAM_CLUSTER_RAW": _PLAIN,
    "UPSTREAM_LOCAL_ADDRESS": _PLAIN,  # nothing is known of it; it is in the default format
    "UPSTREAM_REMOTE_ADDRESS": _PLAIN,
    "UPSTREAM_REMOTE_ADDRESS_WITHOUT_PORT": _ADDRESS,
    "UPSTREAM_REMOTE_PORT": _PLAIN,
    "UPSTREAM_REQUEST_ATTEMPT_COUNT": _PLAIN,
    "UPSTREAM_TRANSPORT_FAILURE_REASON": _PLAIN,
    "DOWNSTREAM_REMOTE_ADDRESS": _PLAIN,
    "DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT": _ADDRESS,
    "DOWNSTREAM_REMOTE_PORT": _PLAIN,
    "DOWNSTREAM_DIRECT_REMOTE_ADDRESS": _PLAIN,
    "DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT": _ADDRESS,
    "DOWNSTREAM_DIRECT_REMOTE_PORT": _PLAIN,
    "DOWNSTREAM_LOCAL_ADDRESS": _PLAIN,
    "DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT": _ADDRESS,
    "DOWNSTREAM_LOCAL_PORT": _PLAIN,
    "DOWNSTREAM_DIRECT_LOCAL_ADDRESS": _PLAIN,
    "DOWNSTREAM_DIRECT_LOCAL_ADDRESS_WITHOUT_PORT": _ADDRESS,
    "DOWNSTREAM_DIRECT_LOCAL_PORT": _PLAIN,
    "DOWNSTREAM_PEER_URI_SAN": _PLAIN,
    "DOWNSTREAM_PEER_SUBJECT": _PLAIN,
    "DOWNSTREAM_PEER_ISSUER": _PLAIN,
    "DOWNSTREAM_PEER_SERIAL": _PLAIN,
    "DOWNSTREAM_PEER_FINGERPRINT_256": _PLAIN,
    "DOWNSTREAM_PEER_FINGERPRINT_1": _PLAIN,
    "DOWNSTREAM_PEER_CERT_V_START": _TIME,
    "DOWNSTREAM_PEER_CERT_V_END": _TIME,
    "DOWNSTREAM_LOCAL_URI_SAN": _PLAIN,
    "REQUESTED_SERVER_NAME": Operator(
        "may",
        False,
        _about_choices(("SNI_ONLY", "SNI_FIRST", "HOST_FIRST"), ("ORIG", "HOST", "ORIG_OR_HOST")),
    ),
    "ROUTE_NAME": _PLAIN,
    "STREAM_ID": _PLAIN,
    "TRACE_ID": _PLAIN,
    "SPAN_ID": _PLAIN,
    "GRPC_STATUS": Operator("may", False, _one_of("", "CAMEL_STRING", "SNAKE_STRING", "NUMBER")),
    "GRPC_STATUS_NUMBER": _PLAIN,
    "HOSTNAME": _PLAIN,
    "ENVIRONMENT": _MUST,
    "UNIQUE_ID": _PLAIN,
    "ACCESS_LOG_TYPE": _PLAIN,
    "QUERY_PARAM": _MUST,
    "QUERY_PARAMS": Operator("may", True, _one_of("", "ORIG", "DECODED")),
    "PATH": Operator("may", True, _about_choices(("WQ", "NQ"), ("ORIG", "PATH", "ORIG_OR_PATH"))),
    **_absent(_TRAILERS, "TRAILER", "RESPONSE_TRAILER", like=_REQUEST),
    **_absent(
        _WIRE,
        *("REQUEST_HEADERS_BYTES", "RESPONSE_HEADERS_BYTES", "RESPONSE_TRAILERS_BYTES"),
        *("BYTES_RETRANSMITTED", "PACKETS_RETRANSMITTED"),
        *(
            f"{side}_{what}_{way}"
            for side in ("UPSTREAM", "DOWNSTREAM")
            for what in ("WIRE_BYTES", "HEADER_BYTES", "DECOMPRESSED_HEADER_BYTES")
            for way in ("SENT", "RECEIVED")
        ),
    ),
    **_absent(
        _OURS,
        *("UPSTREAM_LOCAL_PORT", "UPSTREAM_CONNECTION_ID", "UPSTREAM_CONNECTION_IDS_ATTEMPTED"),
        *("UPSTREAM_PROTOCOL", "UPSTREAM_SERVER_NAME", "UPSTREAM_CONNECTION_POOL_READY_DURATION"),
        *("UPSTREAM_DETECTED_CLOSE_TYPE", "UPSTREAM_LOCAL_CLOSE_REASON", "REQUEST_TX_DURATION"),
        *("UPSTREAM_REMOTE_ADDRESS_ENDPOINT_ID",),
    ),
    **_absent(_OURS, "UPSTREAM_LOCAL_ADDRESS_WITHOUT_PORT", like=_ADDRESS),
    **_absent(
        _TLS,
        *(
            f"UPSTREAM_{what}"
            for what in (
                *("PEER_SUBJECT", "PEER_ISSUER", "PEER_CERT", "PEER_URI_SAN", "PEER_DNS_SAN"),
                *("PEER_IP_SAN", "LOCAL_URI_SAN", "LOCAL_DNS_SAN", "LOCAL_IP_SAN"),
                *("TLS_SESSION_ID", "TLS_CIPHER", "TLS_GROUP", "TLS_VERSION"),
            )
        ),
        *(
            f"DOWNSTREAM_{what}"
            for what in (
                *("PEER_IP_SAN", "PEER_DNS_SAN", "PEER_EMAIL_SAN", "PEER_OTHERNAME_SAN"),
                *("LOCAL_IP_SAN", "LOCAL_DNS_SAN", "LOCAL_EMAIL_SAN", "LOCAL_OTHERNAME_SAN"),
                *("LOCAL_SUBJECT", "PEER_CERT", "TLS_SESSION_ID", "TLS_CIPHER", "TLS_GROUP"),
                *("TLS_VERSION", "PEER_CHAIN_FINGERPRINTS_256", "PEER_CHAIN_FINGERPRINTS_1"),
                *("PEER_CHAIN_SERIALS", "PEER_ISSUER_FINGERPRINT_256", "PEER_ISSUER_SERIAL"),
                *("HANDSHAKE_DURATION", "TRANSPORT_FAILURE_REASON", "LOCAL_CLOSE_REASON"),
                *("DETECTED_CLOSE_TYPE", "LOCAL_ADDRESS_ENDPOINT_ID"),
                *("DIRECT_LOCAL_ADDRESS_ENDPOINT_ID",),
            )
        ),
        *("TLS_JA3_FINGERPRINT", "TLS_JA4_FINGERPRINT", "CONNECTION_ID", "ROUNDTRIP_DURATION"),
    ),
    **_absent(_TLS, "UPSTREAM_PEER_CERT_V_START", "UPSTREAM_PEER_CERT_V_END", like=_TIME),
    **_absent(
        _FILTERS,
        *("DYNAMIC_METADATA", "CLUSTER_METADATA", "UPSTREAM_METADATA", "METADATA"),
        *("FILTER_STATE", "UPSTREAM_FILTER_STATE"),
        like=_MUST,
    ),
    **_absent(_FILTERS, "CUSTOM_FLAGS", "VIRTUAL_CLUSTER_NAME", "FILTER_CHAIN_NAME"),
    **_absent("it is for answers, and nothing in logs of Envoy's either", "LOCAL_REPLY_BODY"),
}
"""All that are taken, by their names."""

ELSEWHERE: dict[str, str] = {
    "CEL": "expressions within formats are not carried out; log the attribute by its own operator",
    "TYPED_CEL": "expressions within formats are not carried out; log the attribute by its own "
    "operator",
    "COALESCE": "it is not carried out; %REQ(X?Y)% has an alternative",
    "FILE_CONTENT": "it needs an extension that Istio does not configure; remove it",
    "SECRET": "it needs an extension that Istio does not configure, and would log a secret; "
    "remove it",
}
"""Envoy's that are refused, and why."""
