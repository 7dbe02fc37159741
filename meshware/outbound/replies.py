"""Envoy's local replies: what the mesh answers when an upstream did not.

Source: Envoy, response code details and `utility.cc`.
"""

from __future__ import annotations

from meshware import grpc
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
    """Say whether a request is gRPC's."""
    return grpc.is_grpc(head.headers)


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
    return 200, b"", grpc.in_grpc(status, content, grpc_status)
