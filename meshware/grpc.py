"""How an answer of the mesh's own looks to a caller that speaks gRPC.

Source: gRPC, "HTTP to gRPC status code mapping" and "PROTOCOL-HTTP2" (Trailers-Only); Envoy,
`Utility::sendLocalReply`.
"""

from __future__ import annotations

from urllib.parse import quote

from meshware.call import HeaderLookup

__all__ = ["grpc_status", "in_grpc", "is_grpc"]

_TYPE = "application/grpc"
_STATUS = {400: 13, 401: 16, 403: 7, 404: 12, 429: 14, 502: 14, 503: 14, 504: 14}
_UNKNOWN = 2
_MOST_DIGITS = 9


def is_grpc(headers: HeaderLookup) -> bool:
    """Say whether a request is gRPC's; gRPC-Web is not. Source: Envoy, `isGrpcRequestHeaders`."""
    content_type = headers("content-type")
    if not content_type:
        return False
    return content_type[0] == _TYPE or content_type[0].startswith(f"{_TYPE}+")


def grpc_status(headers: HeaderLookup) -> int | None:
    """Return a status that came among headers; None: there is none. Trailers are not seen here."""
    values = headers("grpc-status")
    written = values[0] if values else ""
    is_number = written.isascii() and written.isdigit() and len(written) <= _MOST_DIGITS
    return int(written) if is_number else None


def in_grpc(
    status: int, content: bytes, grpc_status: int | None = None
) -> tuple[tuple[str, str], ...]:
    """Return the headers of an answer of HTTP status 200 and no body that say the same in gRPC.

    Args:
        status: of HTTP, as told to a caller of plain HTTP.
        content: of the body, likewise.
        grpc_status: where it does not follow from the HTTP status.
    """
    code = _STATUS.get(status, _UNKNOWN) if grpc_status is None else grpc_status
    headers = [("content-type", "application/grpc"), ("grpc-status", str(code))]
    if content:
        message = quote(content, safe=" !\"#$&'()*+,/:;<=>?@[\\]^_`{|}~-.")
        headers.append(("grpc-message", message))
    return tuple(headers)
