"""Count the bytes of bodies as they go by, for telemetry.

What a request declares is its caller's word: it may end early, or never be read.
"""

from __future__ import annotations

from meshware.asgi.head import Message, Receive
from meshware.inbound.head import declared_length
from meshware.inbound.passage import Admission

__all__ = ["counted", "count_sent"]

_IN_HEADERS = ("1.1", "1.0")  # these say whether there is a body
_FILES = ("http.response.pathsend", "http.response.zerocopysend")


def counted(receive: Receive, admission: Admission) -> Receive:
    """Return what an app receives its request from, its bytes counted where there may be any."""
    head = admission.head
    # HTTP/2 and later need no header for a body.
    if head.version in _IN_HEADERS and not head.headers("transfer-encoding"):
        lengths = head.headers("content-length")
        if not lengths or lengths[0].strip("0") == "":
            return receive

    async def count() -> Message:
        message = await receive()
        admission.received_bytes += len(message.get("body", b""))
        return message

    return count


def count_sent(message: Message, admission: Admission) -> None:
    """Count what one message of a response's body has; of a file, what the response declares."""
    if message["type"] in _FILES:
        found = admission.response_headers
        admission.sent_bytes = (found and declared_length(found("content-length"))) or 0
    else:
        admission.sent_bytes += len(message.get("body", b""))
