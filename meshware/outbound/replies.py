"""Envoy's local replies: what the mesh answers when an upstream did not.

Source: Envoy, response code details and `utility.cc`; the gRPC mapping is that of the gRPC
specification, "HTTP to gRPC status code mapping".
"""

from __future__ import annotations

from urllib.parse import quote

from meshware.call import Failure, FailureKind, Flag, RequestHead

__all__ = ["BODY_FLAG", "OVERFLOWED", "failure_reply", "for_protocol", "is_grpc"]

_CONNECT_ERROR = "upstream connect error or disconnect/reset before headers. "

OVERFLOWED = _CONNECT_ERROR + "reset reason: overflow"
"""The body of a call that is over a limit."""

_RESET_REASON = {
    FailureKind.CONNECT: "remote connection failure",
    FailureKind.CONNECT_TIMEOUT: "connection timeout",
    FailureKind.TLS: "remote connection failure",
    FailureKind.RESET: "connection termination",
    FailureKind.TERMINATED: "connection termination",
    FailureKind.PROTOCOL: "protocol error",
}

BODY_FLAG = {  # also for a failure after the headers
    FailureKind.CONNECT: Flag.UPSTREAM_CONNECT_FAILURE,
    FailureKind.CONNECT_TIMEOUT: Flag.UPSTREAM_CONNECT_FAILURE,
    FailureKind.TLS: Flag.UPSTREAM_CONNECT_FAILURE,
    FailureKind.RESET: Flag.UPSTREAM_TERMINATION,
    FailureKind.TERMINATED: Flag.UPSTREAM_TERMINATION,
    FailureKind.PROTOCOL: Flag.UPSTREAM_PROTOCOL,
    FailureKind.TIMEOUT: Flag.UPSTREAM_TIMEOUT,
}

_GRPC_STATUS = {400: 13, 401: 16, 403: 7, 404: 12, 429: 14, 502: 14, 503: 14, 504: 14}


def failure_reply(failure: Failure, attempts: int) -> tuple[int, str, Flag]:
    """Return status, body and flag for a failed last attempt.

    Args:
        failure: how it failed.
        attempts: how many attempts were made; from the second on the body says so.
    """
    if failure.kind is FailureKind.TIMEOUT:
        return 504, "upstream request timeout", Flag.UPSTREAM_TIMEOUT
    retried = "retried and the latest " if attempts > 1 else ""
    body = f"{_CONNECT_ERROR}{retried}reset reason: {_RESET_REASON[failure.kind]}"
    if failure.detail and failure.kind in (FailureKind.CONNECT, FailureKind.TLS):
        body += f", transport failure reason: {failure.detail}"
    status = 502 if failure.kind is FailureKind.PROTOCOL else 503
    return status, body, BODY_FLAG[failure.kind]


def is_grpc(head: RequestHead) -> bool:
    """Say whether a request is gRPC's. Source: Envoy, `isGrpcRequestHeaders`."""
    content_type = head.headers("content-type")
    return bool(content_type) and content_type[0].startswith("application/grpc")


def for_protocol(
    head: RequestHead, status: int, body: str | bytes, grpc_status: int | None = None
) -> tuple[int, bytes, tuple[tuple[str, str], ...]]:
    """Return status, body and headers of a local reply in the request's own protocol.

    A gRPC caller gets HTTP 200 with `grpc-status` and `grpc-message` in the headers.

    Args:
        head: the request.
        status: of HTTP.
        body: as told to a caller of plain HTTP.
        grpc_status: where it does not follow from the HTTP status.
    """
    content = body.encode() if isinstance(body, str) else body
    if not is_grpc(head):
        return status, content, (("content-type", "text/plain"),) if content else ()
    if grpc_status is None:
        grpc_status = _GRPC_STATUS.get(status, 2)
    headers = [("content-type", "application/grpc"), ("grpc-status", str(grpc_status))]
    if content:
        message = quote(content, safe=" !\"#$&'()*+,/:;<=>?@[\\]^_`{|}~-.")
        headers.append(("grpc-message", message))
    return 200, b"", tuple(headers)
