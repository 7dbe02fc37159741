"""Count the bytes of a request's body as the app reads them, for telemetry."""

from __future__ import annotations

from meshware.asgi.head import Message, Receive
from meshware.inbound.passage import Admission

__all__ = ["counted"]


def counted(receive: Receive, admission: Admission) -> Receive:
    """Return what an app receives its request from, with its bytes counted where there may be any.

    A length that is declared is believed: the server holds its caller to it.
    """
    headers = admission.head.headers
    declared = headers("content-length")
    if declared:
        if declared[0].isdigit():
            admission.received_bytes = int(declared[0])
        return receive
    # HTTP/2 and later need no header for a body.
    if not headers("transfer-encoding") and admission.head.version.startswith("1"):
        return receive

    async def count() -> Message:
        message = await receive()
        admission.received_bytes += len(message.get("body", b""))
        return message

    return count
